//! Packets of containers in UDP, by this process (`udp`): a tun device on one side, a socket on the other. What travels is
//! the packet itself, as in flannel's backend of this name, with whose nodes it works together.

mod table;

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use ipnet::Ipv4Net;
use linuxnet::link::{TapError, Tun};
use linuxnet::udp::{self, SocketError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::table::Table;

/// More than the largest MTU of a link.
const PACKET_BYTES: usize = 65536;
/// So many packets of one side pass before the other is looked at.
const TURN: usize = 64;
/// The least of an IPv4 packet, and where in it the destination stands (RFC 791).
const HEADER: usize = 20;
const DESTINATION: usize = 16;

/// Why packets cannot be carried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error(transparent)]
    Tun(#[from] TapError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("cannot start a thread for the packets")]
    Thread(#[source] io::Error),
}

/// Carries packets, in a thread of its own, until it is dropped; its device goes with it.
#[derive(Debug)]
pub(crate) struct Relay {
    table: Arc<Table>,
    /// Its end is what the thread waits for.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    local: SocketAddrV4,
}

impl Relay {
    /// Makes the device, down, and the socket, and carries what comes.
    pub(crate) fn start(device: &str, local: SocketAddrV4) -> Result<Self, RelayError> {
        let tun = Tun::create(device)?;
        let socket = udp::bind_tunnel(local)?;
        let table = Arc::new(Table::default());
        let (end, stop) = pipe().map_err(RelayError::Thread)?;
        let carrier = Carrier { tun, socket, port: local.port(), table: Arc::clone(&table), end };
        let thread = thread::Builder::new().name("relay".to_owned()).spawn(move || carrier.carry());
        Ok(Self { table, stop: Some(stop), thread: Some(thread.map_err(RelayError::Thread)?), local })
    }

    /// Where it receives.
    pub(crate) fn local(&self) -> SocketAddrV4 {
        self.local
    }

    /// Whether packets are carried: not any more, once somebody removed the device.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Which node each subnet is at.
    pub(crate) fn subnets(&self) -> Vec<(Ipv4Net, Ipv4Addr)> {
        self.table.all()
    }

    /// Sends what is for `subnet` to the node at `endpoint`.
    pub(crate) fn set(&self, subnet: Ipv4Net, endpoint: Ipv4Addr) {
        self.table.set(subnet, endpoint);
    }

    /// Drops what is for `subnet`.
    pub(crate) fn remove(&self, subnet: Ipv4Net) {
        self.table.remove(subnet);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of its own is on stderr.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Carrier {
    tun: Tun,
    socket: UdpSocket,
    /// All nodes' UDP port.
    port: u16,
    table: Arc<Table>,
    end: PipeReader,
}

impl Carrier {
    fn carry(&self) {
        let mut buffer = vec![0; PACKET_BYTES];
        while let Some((is_out, is_in)) = self.wait() {
            if is_out && self.take_out(&mut buffer).is_err() {
                // The device is gone.
                return;
            }
            if is_in {
                self.take_in(&mut buffer);
            }
        }
    }

    /// Waits for packets of containers, or for them. `None`: it is to end.
    fn wait(&self) -> Option<(bool, bool)> {
        let mut fds = [
            PollFd::new(self.end.as_fd(), PollFlags::empty()),
            PollFd::new(self.tun.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
        let [end, out, into] = fds.map(|fd| fd.any().unwrap_or_default());
        (!end).then_some((out, into))
    }

    /// From containers here to those elsewhere. What no node has is dropped, and what the network does not take: whoever
    /// wants to be sure sends again.
    fn take_out(&self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..TURN {
            let length = match (&self.tun).read(buffer) {
                Ok(length) => length,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let packet = buffer.get(..length).unwrap_or_default();
            if let Some(endpoint) = destination(packet).and_then(|address| self.table.find(address)) {
                let _ = self.socket.send_to(packet, SocketAddrV4::new(endpoint, self.port));
            }
        }
        Ok(())
    }

    /// From elsewhere to the kernel, which knows the containers here.
    fn take_in(&self, buffer: &mut [u8]) {
        for _ in 0..TURN {
            match self.socket.recv_from(buffer) {
                Ok((length, _)) => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    if destination(packet).is_some() {
                        // A device that is down takes nothing.
                        let _ = (&self.tun).write(packet);
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Nothing more; or what a router said of an earlier packet.
                Err(_) => break,
            }
        }
    }
}

/// Whom an IPv4 packet is for; `None`: it is none.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    if packet.len() < HEADER || packet.first()? >> 4 != 4 {
        return None;
    }
    packet.get(DESTINATION..)?.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv4_packets_have_a_destination() {
        let mut packet = [0; HEADER];
        packet[0] = 0x45;
        packet[16..].copy_from_slice(&[10, 5, 2, 9]);
        assert_eq!(destination(&packet), Some(Ipv4Addr::new(10, 5, 2, 9)));
        assert_eq!(destination(&packet[..19]), None);
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[]), None);
    }
}
