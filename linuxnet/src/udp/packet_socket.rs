use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libcni::types::MacAddr;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, bind, recvmsg, sendmsg,
    socket,
};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr};

use super::SocketError;
use crate::link::Dev;
use crate::{bpf, sockopt};

/// `ETH_P_IP` in network order, as the kernel wants it in `sll_protocol`.
const IPV4: u16 = 0x0800_u16.to_be();
/// The length of IPv4 and UDP headers without options.
const HEADERS: usize = 20 + 8;
/// More than an Ethernet frame holds, jumbo frames aside. What is longer is cut, and then refused for its length.
const RECEIVE_BYTES: usize = 4096;
/// Time to live of what is sent: as the kernel's default.
const HOP_LIMIT: u8 = 64;
/// `struct tpacket_auxdata` begins with its `tp_status`.
const STATUS_BYTES: usize = 4;

/// A packet socket that sees the UDP datagrams to one port of this host that come by one interface, whether or not the
/// interface has their destination address; and sends with any source address. As `socat` with `PACKET-DATAGRAM`.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    index: u32,
    name: String,
    port: u16,
}

/// A UDP datagram that came by a packet socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub source: SocketAddrV4,
    /// The Ethernet address that it came from: the sender's, or its router's. `None` on other links.
    pub source_mac: Option<MacAddr>,
    /// To whom.
    pub destination: Ipv4Addr,
    /// What.
    pub payload: Vec<u8>,
}

impl PacketSocket {
    /// Opens a non-blocking socket for UDP `port` on an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// If the kernel refuses: `CAP_NET_RAW` is needed in the namespace.
    pub fn open(dev: Dev<'_>, port: u16) -> Result<Self, SocketError> {
        let open = || {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            // Without a protocol it hears nothing until it is bound, so that nothing passes before the filter is there.
            let fd = socket(AddressFamily::Packet, SockType::Datagram, flags, None)?;
            bpf::attach(fd.as_fd(), &mut bpf::udp_to(port))?;
            sockopt::set(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
            bind(fd.as_raw_fd(), &link_address(dev.index, None)?)?;
            Ok(Self { fd, index: dev.index, name: dev.name.to_owned(), port })
        };
        open().map_err(SocketError::on(format!("open a packet socket on {}", dev.name)))
    }

    /// Sends `payload` from `source` and the socket's port to `destination`, in a frame to `mac`; `None`: to all.
    ///
    /// # Errors
    /// If the interface is down or gone.
    pub fn send(
        &self,
        source: Ipv4Addr,
        destination: SocketAddrV4,
        mac: Option<MacAddr>,
        payload: &[u8],
    ) -> Result<(), SocketError> {
        let packet = emit(SocketAddrV4::new(source, self.port), destination, payload);
        let to = mac.unwrap_or(MacAddr([0xff; 6]));
        let send = || {
            let address = link_address(self.index, Some(to))?;
            sendmsg(self.fd.as_raw_fd(), &[IoSlice::new(&packet)], &[], MsgFlags::empty(), Some(&address))
        };
        send().map(drop).map_err(SocketError::on(format!("send to {destination} on {}", self.name)))
    }

    /// The next datagram; `None` if there is none now. What is no proper datagram is left out.
    ///
    /// # Errors
    /// If the interface is down or gone.
    pub fn receive(&self) -> Result<Option<Datagram>, SocketError> {
        let mut buffer = [0; RECEIVE_BYTES];
        loop {
            let received = match self.receive_packet(&mut buffer) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(SocketError::on(format!("receive on {}", self.name))(errno)),
            };
            let packet = buffer.get(..received.length).unwrap_or_default();
            if let Some(datagram) = parse(packet, received.mac, received.is_checksum_ready) {
                return Ok(Some(datagram));
            }
        }
    }

    fn receive_packet(&self, buffer: &mut [u8]) -> Result<Received, Errno> {
        let mut control = nix::cmsg_space!([u8; size_of::<libc::tpacket_auxdata>()]);
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<LinkAddr>(self.fd.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
        let from = message.address.filter(|address| address.halen() == 6);
        let status = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Unknown(message) => status(&message.data_bytes),
            _ => None,
        });
        // On the same machine the checksum is often left to a device that never sees the packet.
        let is_checksum_ready = status.is_none_or(|status| status & libc::TP_STATUS_CSUMNOTREADY == 0);
        Ok(Received { length: message.bytes, mac: from.and_then(|from| from.addr()).map(MacAddr), is_checksum_ready })
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

struct Received {
    length: usize,
    mac: Option<MacAddr>,
    is_checksum_ready: bool,
}

fn status(auxdata: &[u8]) -> Option<u32> {
    auxdata.get(..STATUS_BYTES)?.try_into().ok().map(u32::from_ne_bytes)
}

/// An IPv4 packet with a UDP datagram.
fn emit(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let mut bytes = vec![0; HEADERS + payload.len()];
    let mut packet = Ipv4Packet::new_unchecked(bytes.as_mut_slice());
    let header = Ipv4Repr {
        src_addr: *source.ip(),
        dst_addr: *destination.ip(),
        next_header: IpProtocol::Udp,
        payload_len: HEADERS - 20 + payload.len(),
        hop_limit: HOP_LIMIT,
    };
    header.emit(&mut packet, &checksums);
    UdpRepr { src_port: source.port(), dst_port: destination.port() }.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::Ipv4(*source.ip()),
        &IpAddress::Ipv4(*destination.ip()),
        payload.len(),
        |place| place.copy_from_slice(payload),
        &checksums,
    );
    bytes
}

/// The datagram in an IPv4 packet; `None` if its lengths or checksums are wrong, or it is a fragment.
fn parse(packet: &[u8], source_mac: Option<MacAddr>, verify: bool) -> Option<Datagram> {
    let ip = Ipv4Packet::new_checked(packet).ok()?;
    if ip.version() != 4 || ip.more_frags() || ip.frag_offset() != 0 || ip.next_header() != IpProtocol::Udp {
        return None;
    }
    let (from, to) = (ip.src_addr(), ip.dst_addr());
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    if verify && !(ip.verify_checksum() && udp.verify_checksum(&IpAddress::Ipv4(from), &IpAddress::Ipv4(to))) {
        return None;
    }
    let source = SocketAddrV4::new(from, udp.src_port());
    Some(Datagram { source, source_mac, destination: to, payload: udp.payload().to_vec() })
}

/// The address of an interface, and of a station on its link.
fn link_address(index: u32, mac: Option<MacAddr>) -> Result<LinkAddr, Errno> {
    let mut bytes = [0; 8];
    if let Some(MacAddr(mac)) = mac {
        bytes.iter_mut().zip(mac).for_each(|(byte, of_mac)| *byte = of_mac);
    }
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: IPV4,
        sll_ifindex: i32::try_from(index).map_err(|_out_of_range| Errno::ENODEV)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: if mac.is_some() { 6 } else { 0 },
        sll_addr: bytes,
    };
    let size = libc::socklen_t::try_from(size_of_val(&address)).ok();
    // SAFETY: the pointer is to a sockaddr_ll that outlives the call, which copies it, and `size` is its size.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), size) }.ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Vec<u8> {
        emit("10.1.0.5:68".parse().unwrap(), "10.1.0.1:67".parse().unwrap(), b"hello")
    }

    #[test]
    fn a_datagram_is_read_as_it_was_written() {
        let datagram = parse(&packet(), None, true).unwrap();
        assert_eq!(datagram.source, "10.1.0.5:68".parse().unwrap());
        assert_eq!((datagram.destination, datagram.payload.as_slice()), ([10, 1, 0, 1].into(), &b"hello"[..]));
        // Padding behind the packet, as short frames have, is not part of it.
        let padded = [packet(), vec![0; 13]].concat();
        assert_eq!(parse(&padded, None, true).unwrap().payload, b"hello");
    }

    #[test]
    fn what_is_damaged_is_refused() {
        for at in 0..packet().len() {
            let mut damaged = packet();
            damaged[at] ^= 0x41;
            assert_eq!(parse(&damaged, None, true), None, "byte {at}");
        }
        for length in 0..packet().len() {
            assert_eq!(parse(&packet()[..length], None, false), None, "cut to {length}");
        }
        let mut last = packet();
        last[32] ^= 1;
        assert!(parse(&last, None, false).is_some(), "the checksum is not there yet");
    }
}
