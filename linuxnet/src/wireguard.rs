//! WireGuard links: their key, port and peers (`wg`), by generic netlink. Links are made by
//! [`Netlink::create_wireguard`](crate::netlink::Netlink::create_wireguard).

mod message;

use std::fmt;
use std::net::SocketAddr;
use std::time::SystemTime;

use ipnet::IpNet;
use libcni::base64;
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use crate::error::{Cause, NetlinkError};
use crate::link::Dev;
use crate::netlink::{Failure, Mode, Netlink, Request};
use crate::nl::{Attributes, find};

/// The controller of generic netlink (linux/genetlink.h): its message type, its question for a family, and that one's
/// attributes.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `struct genlmsghdr`: command, version, reserved (u16).
const HEADER: usize = 4;

/// A public key (Curve25519). Its text is base64, as everywhere with WireGuard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A private key, or one that two peers share. It is not shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretKey(pub [u8; 32]);

/// Another end of a WireGuard link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is known by.
    pub public_key: PublicKey,
    /// Mixed into the encryption besides the keys of both.
    pub preshared_key: Option<SecretKey>,
    /// Where it is reached; `None`: it will say so itself.
    pub endpoint: Option<SocketAddr>,
    /// How often to send something to it, in seconds; 0: only when there is something.
    pub keepalive: u16,
    /// The addresses behind it: what is sent to it, and taken from it. An address has one peer of a link, the last that
    /// was set with it. Sorted, in lists.
    pub allowed_ips: Vec<IpNet>,
}

/// A peer, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    /// What can be set. Its endpoint follows the peer: it is where its last authentic packet came from.
    pub peer: Peer,
    /// When keys were last agreed upon; `None`: never. Those of more than 180 seconds ago are used no more.
    pub last_handshake: Option<SystemTime>,
}

/// A WireGuard link, as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its key; `None` until it has one.
    pub private_key: Option<SecretKey>,
    /// Its public key, which the kernel makes from the private one.
    pub public_key: Option<PublicKey>,
    /// Its UDP port.
    pub port: u16,
    /// Its peers.
    pub peers: Vec<PeerState>,
}

/// A blocking socket to the kernel's WireGuard in one namespace.
#[derive(Debug)]
pub struct WireGuard {
    netlink: Netlink,
    /// The number that the kernel gave to WireGuard's messages.
    family: u16,
}

impl WireGuard {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// [`NetlinkError::is_not_found`] where the kernel has no WireGuard.
    pub fn open() -> Result<Self, NetlinkError> {
        let mut netlink = Netlink::open_protocol(SockProtocol::NetlinkGeneric)?;
        let mut attributes = Attributes::new();
        attributes.string(CTRL_ATTR_FAMILY_NAME, "wireguard");
        let doing = "find the kernel's WireGuard";
        let header = [CTRL_CMD_GETFAMILY, 1, 0, 0];
        let request = Request::of_parts(doing, GENL_ID_CTRL, Mode::Change, &header, &attributes);
        let family = netlink.get(&request, |answer| {
            let id = find(answer.get(HEADER..)?, CTRL_ATTR_FAMILY_ID)?;
            id.first_chunk().map(|id| u16::from_ne_bytes(*id))
        })?;
        let family = family.ok_or_else(|| NetlinkError::new(doing, Cause::Socket(Errno::ENOENT)))?;
        Ok(Self { netlink, family })
    }

    /// What a link is set to, and its peers (`wg show DEV dump`).
    ///
    /// # Errors
    /// If it is gone, or no WireGuard link (`EOPNOTSUPP`).
    pub fn device(&mut self, dev: Dev<'_>) -> Result<Device, NetlinkError> {
        let request = message::get(self.family, dev);
        let mut device = Device::default();
        // A list that is read again, because it changed, begins again.
        let parts = self.netlink.dump(&request, |part| Some(part.to_vec()))?;
        for part in parts {
            message::parse(&part, &mut device);
        }
        for state in &mut device.peers {
            state.peer.allowed_ips.sort_unstable();
        }
        Ok(device)
    }

    /// Has a link use this key and UDP port (`wg set DEV private-key FILE listen-port PORT`).
    ///
    /// # Errors
    /// If the port is taken, or the link is gone.
    pub fn set_device(&mut self, dev: Dev<'_>, key: &SecretKey, port: u16) -> Result<(), NetlinkError> {
        self.netlink.run(message::set_device(self.family, dev, key, port))
    }

    /// Has a peer be as said, whatever was said of it (`wg set DEV peer KEY preshared-key FILE endpoint ADDR:PORT
    /// persistent-keepalive SECONDS allowed-ips LIST`). Send it by [`WireGuard::send_each`].
    #[must_use]
    pub fn set_peer(&self, dev: Dev<'_>, peer: &Peer) -> Request {
        message::set_peer(self.family, dev, peer)
    }

    /// Removes a peer; one that is not there is success (`wg set DEV peer KEY remove`).
    #[must_use]
    pub fn remove_peer(&self, dev: Dev<'_>, key: &PublicKey) -> Request {
        message::remove_peer(self.family, dev, key)
    }

    /// As [`Netlink::send_each`], for requests of this socket.
    ///
    /// # Errors
    /// As there.
    pub fn send_each(&mut self, requests: &[Request]) -> Result<Vec<Failure>, NetlinkError> {
        self.netlink.send_each(requests)
    }

    /// How many requests this socket has sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.netlink.sent()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(not shown)")
    }
}

impl SecretKey {
    /// A new private key (`wg genkey`).
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn random() -> Result<Self, NetlinkError> {
        let mut key: [u8; 32] =
            crate::link::random().map_err(|errno| NetlinkError::new("make a random key", Cause::Socket(errno)))?;
        // The form of all private keys of Curve25519 (RFC 7748, section 5).
        let [first, .., last] = &mut key;
        *first &= 0xf8;
        *last = *last & 0x7f | 0x40;
        Ok(Self(key))
    }
}
