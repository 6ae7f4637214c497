//! The messages of linux/wireguard.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use nix::libc;

use super::{Device, HEADER, Peer, PeerState, PublicKey, SecretKey};
use crate::addr::ip;
use crate::link::Dev;
use crate::netlink::{Mode, Request};
use crate::nl::{Attributes, attributes, find};

const WG_CMD_GET_DEVICE: u8 = 0;
const WG_CMD_SET_DEVICE: u8 = 1;
const VERSION: u8 = 1;
/// `WGDEVICE_A_*`.
const IFINDEX: u16 = 1;
const PRIVATE_KEY: u16 = 3;
const PUBLIC_KEY: u16 = 4;
const LISTEN_PORT: u16 = 6;
const PEERS: u16 = 8;
/// `WGPEER_A_*`, and its flags.
const PEER_KEY: u16 = 1;
const PRESHARED_KEY: u16 = 2;
const FLAGS: u16 = 3;
const ENDPOINT: u16 = 4;
const KEEPALIVE: u16 = 5;
const LAST_HANDSHAKE: u16 = 6;
const ALLOWED_IPS: u16 = 9;
const REMOVE_ME: u32 = 1;
const REPLACE_ALLOWED_IPS: u32 = 2;
/// `WGALLOWEDIP_A_*`.
const FAMILY: u16 = 1;
const ADDRESS: u16 = 2;
const CIDR_MASK: u16 = 3;
/// An element of a list; its type is not looked at.
const ELEMENT: u16 = 0;
/// The sizes of `struct sockaddr_in` and `sockaddr_in6`.
const SOCKADDR_IN: usize = 16;
const SOCKADDR_IN6: usize = 28;

fn request(doing: String, family: u16, command: u8, attributes: &Attributes) -> Request {
    Request::of_parts(doing, family, Mode::Change, &[command, VERSION, 0, 0], attributes)
}

pub(super) fn get(family: u16, dev: Dev<'_>) -> Request {
    let mut attributes = Attributes::new();
    attributes.ne32(IFINDEX, dev.index);
    request(format!("list the WireGuard peers of {}", dev.name), family, WG_CMD_GET_DEVICE, &attributes)
}

pub(super) fn set_device(family: u16, dev: Dev<'_>, key: &SecretKey, port: u16) -> Request {
    let mut attributes = Attributes::new();
    attributes.ne32(IFINDEX, dev.index).bytes(PRIVATE_KEY, &key.0).bytes(LISTEN_PORT, &port.to_ne_bytes());
    let doing = format!("set the key of {} and its UDP port {port}", dev.name);
    request(doing, family, WG_CMD_SET_DEVICE, &attributes)
}

pub(super) fn set_peer(family: u16, dev: Dev<'_>, peer: &Peer) -> Request {
    let doing = format!("set WireGuard peer {} of {}", peer.public_key, dev.name);
    change_peer(doing, family, dev, &peer.public_key, |list| {
        // All zero is none.
        list.bytes(PRESHARED_KEY, &peer.preshared_key.map_or([0; 32], |key| key.0));
        list.ne32(FLAGS, REPLACE_ALLOWED_IPS);
        if let Some(endpoint) = peer.endpoint {
            list.bytes(ENDPOINT, &sockaddr(endpoint));
        }
        list.bytes(KEEPALIVE, &peer.keepalive.to_ne_bytes());
        list.nest(ALLOWED_IPS, |list| peer.allowed_ips.iter().for_each(|net| put_allowed_ip(list, *net)));
    })
}

pub(super) fn remove_peer(family: u16, dev: Dev<'_>, key: &PublicKey) -> Request {
    let doing = format!("remove WireGuard peer {key} from {}", dev.name);
    change_peer(doing, family, dev, key, |list| {
        list.ne32(FLAGS, REMOVE_ME);
    })
}

fn change_peer(
    doing: String,
    family: u16,
    dev: Dev<'_>,
    key: &PublicKey,
    change: impl FnOnce(&mut Attributes),
) -> Request {
    let mut attributes = Attributes::new();
    attributes.ne32(IFINDEX, dev.index).nest(PEERS, |peers| {
        peers.nest(ELEMENT, |peer| {
            peer.bytes(PEER_KEY, &key.0);
            change(peer);
        });
    });
    request(doing, family, WG_CMD_SET_DEVICE, &attributes)
}

fn put_allowed_ip(list: &mut Attributes, net: IpNet) {
    let family = if net.addr().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    list.nest(ELEMENT, |entry| {
        entry.bytes(FAMILY, &u16::try_from(family).unwrap_or_default().to_ne_bytes());
        entry.ip(ADDRESS, net.network()).u8(CIDR_MASK, net.prefix_len());
    });
}

/// `struct sockaddr_in`: family, port (network order), address, 8 bytes pad; `struct sockaddr_in6`: family, port, flow
/// information, address, scope.
fn sockaddr(address: SocketAddr) -> Vec<u8> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut bytes = u16::try_from(family).unwrap_or_default().to_ne_bytes().to_vec();
    bytes.extend_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            bytes.extend_from_slice(&ip.octets());
            bytes.resize(SOCKADDR_IN, 0);
        }
        IpAddr::V6(ip) => {
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&ip.octets());
            bytes.resize(SOCKADDR_IN6, 0);
        }
    }
    bytes
}

fn parse_sockaddr(bytes: &[u8]) -> Option<SocketAddr> {
    let port = bytes.get(2..4).and_then(crate::nl::be16)?;
    let address = match bytes.len() {
        SOCKADDR_IN => IpAddr::from(Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?)),
        SOCKADDR_IN6 => IpAddr::from(Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// Adds what one message of a list says to `device`. A peer whose addresses do not fit goes on in the next message.
pub(super) fn parse(message: &[u8], device: &mut Device) {
    for (kind, value) in attributes(message.get(HEADER..).unwrap_or_default()) {
        match kind {
            PRIVATE_KEY => device.private_key = key(value).map(SecretKey),
            PUBLIC_KEY => device.public_key = key(value).map(PublicKey),
            LISTEN_PORT => device.port = ne16(value).unwrap_or_default(),
            PEERS => attributes(value).filter_map(|(_, peer)| parse_peer(peer)).for_each(|state| add(device, state)),
            _ => {}
        }
    }
}

fn add(device: &mut Device, state: PeerState) {
    match device.peers.last_mut() {
        Some(last) if last.peer.public_key == state.peer.public_key => {
            last.peer.allowed_ips.extend(state.peer.allowed_ips);
        }
        _ => device.peers.push(state),
    }
}

fn parse_peer(list: &[u8]) -> Option<PeerState> {
    let allowed_ip = |entry: &[u8]| {
        let address = find(entry, ADDRESS).and_then(ip)?;
        IpNet::new(address, *find(entry, CIDR_MASK)?.first()?).ok()
    };
    let allowed_ips = find(list, ALLOWED_IPS).unwrap_or_default();
    let peer = Peer {
        public_key: find(list, PEER_KEY).and_then(key).map(PublicKey)?,
        preshared_key: find(list, PRESHARED_KEY).and_then(key).map(SecretKey),
        endpoint: find(list, ENDPOINT).and_then(parse_sockaddr),
        keepalive: find(list, KEEPALIVE).and_then(ne16).unwrap_or_default(),
        allowed_ips: attributes(allowed_ips).filter_map(|(_, entry)| allowed_ip(entry)).collect(),
    };
    Some(PeerState { peer, last_handshake: find(list, LAST_HANDSHAKE).and_then(time) })
}

/// A key; `None` if it is all zero, which is none.
fn key(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok().filter(|key| *key != [0; 32])
}

/// `struct __kernel_timespec`: seconds and nanoseconds since 1970; 0 is never.
fn time(bytes: &[u8]) -> Option<SystemTime> {
    let seconds = i64::from_ne_bytes(*bytes.first_chunk()?);
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn ne16(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WG0: Dev<'static> = Dev { index: 12, name: "wg0" };
    const FAMILY_ID: u16 = 28;

    fn peer() -> Peer {
        Peer {
            public_key: PublicKey([5; 32]),
            preshared_key: Some(SecretKey([6; 32])),
            endpoint: "192.0.2.7:51820".parse().ok(),
            keepalive: 25,
            allowed_ips: vec!["10.5.1.0/24".parse().unwrap(), "fd07::/64".parse().unwrap()],
        }
    }

    /// What wg 1.0.20210914 sends, by strace (which names the link by its name; with the attributes in this order).
    fn set_by_wg() -> Vec<u8> {
        let mut bytes = vec![1, 1, 0, 0, 8, 0, 1, 0, 12, 0, 0, 0, 188, 0, 8, 0x80, 184, 0, 0, 0x80];
        bytes.extend_from_slice(&[36, 0, 1, 0]);
        bytes.extend_from_slice(&[5; 32]);
        bytes.extend_from_slice(&[36, 0, 2, 0]);
        bytes.extend_from_slice(&[6; 32]);
        bytes.extend_from_slice(&[
            8, 0, 3, 0, 2, 0, 0, 0, // WGPEER_A_FLAGS
            20, 0, 4, 0, 2, 0, 0xca, 0x6c, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, // WGPEER_A_ENDPOINT
            6, 0, 5, 0, 25, 0, 0, 0, // WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL
            72, 0, 9, 0x80, 28, 0, 0, 0x80, // WGPEER_A_ALLOWEDIPS
            6, 0, 1, 0, 2, 0, 0, 0, 8, 0, 2, 0, 10, 5, 1, 0, 5, 0, 3, 0, 24, 0, 0, 0, //
            40, 0, 0, 0x80, 6, 0, 1, 0, 10, 0, 0, 0, 20, 0, 2, 0, 0xfd, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, //
            5, 0, 3, 0, 64, 0, 0, 0,
        ]);
        bytes
    }

    #[test]
    fn says_what_wg_says() {
        let request = set_peer(FAMILY_ID, WG0, &peer());
        assert_eq!(request.doing(), "set WireGuard peer BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU= of wg0");
        assert_eq!(request.body(), set_by_wg());
        let removal = remove_peer(FAMILY_ID, WG0, &PublicKey([5; 32]));
        let head = [1, 1, 0, 0, 8, 0, 1, 0, 12, 0, 0, 0, 52, 0, 8, 0x80, 48, 0, 0, 0x80, 36, 0, 1, 0];
        assert_eq!(removal.body().get(..24).unwrap(), head);
        assert_eq!(removal.body().get(56..).unwrap(), [8, 0, 3, 0, 1, 0, 0, 0]);
        let key = set_device(FAMILY_ID, WG0, &SecretKey([9; 32]), 51820);
        assert_eq!(key.body().get(12..16).unwrap(), [36, 0, 3, 0]);
        assert_eq!(key.body().get(48..).unwrap(), [6, 0, 6, 0, 0x6c, 0xca, 0, 0]);
    }

    #[test]
    fn reads_a_peer_that_goes_on_in_the_next_message() {
        let mut device = Device::default();
        parse(&set_by_wg(), &mut device);
        assert_eq!(device.peers, [PeerState { peer: peer(), last_handshake: None }]);
        parse(set_peer(FAMILY_ID, WG0, &peer()).body(), &mut device);
        assert_eq!(device.peers.len(), 1);
        assert_eq!(device.peers[0].peer.allowed_ips.len(), 4);
        let other = Peer { public_key: PublicKey([7; 32]), endpoint: "[fd00::7]:51821".parse().ok(), ..peer() };
        parse(set_peer(FAMILY_ID, WG0, &other).body(), &mut device);
        assert_eq!(device.peers[1].peer, other);
        parse(&[0, 1], &mut device);
        assert_eq!(device.peers.len(), 2);
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", peer()).contains("[6, 6"), "{:?}", peer());
    }

    #[test]
    fn a_handshake_that_never_was_has_no_time() {
        assert_eq!(time(&[0; 16]), None);
        let read = time(&[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
    }
}
