//! UDP on one interface: by a socket of the kernel's stack where the interface has its address, by a packet socket
//! where it has none yet (or none any more).

mod packet_socket;

use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind as bind_socket, setsockopt, socket, sockopt,
};

use crate::link::Dev;
use crate::sockopt as raw;

pub use packet_socket::{Datagram, PacketSocket};

/// A socket that could not be opened, or did not send or receive.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub struct SocketError {
    doing: String,
    source: Errno,
}

impl SocketError {
    /// `doing` completes "cannot …".
    fn on(doing: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        move |source| Self { doing: doing.into(), source }
    }
}

/// Binds a non-blocking socket of the calling thread's namespace to an address that the interface has; or to 0.0.0.0,
/// which hears broadcasts, too. It hears and speaks through this interface alone, and shares the port with others who
/// share it.
///
/// # Errors
/// If the interface does not have the address, or the port is taken.
pub fn bind(dev: Dev<'_>, local: SocketAddrV4) -> Result<UdpSocket, SocketError> {
    let open = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        setsockopt(&fd, sockopt::Broadcast, &true)?;
        setsockopt(&fd, sockopt::BindToDevice, &dev.name.into())?;
        bind_socket(fd.as_raw_fd(), &SockaddrIn::from(local))?;
        Ok(UdpSocket::from(fd))
    };
    open().map_err(SocketError::on(format!("bind a UDP socket to {local} on {}", dev.name)))
}

/// How many bytes may wait in a tunnel's socket, each way: some milliseconds of a fast link.
const TUNNEL_BUFFER: usize = 1 << 20;

/// Binds a non-blocking socket of the calling thread's namespace for packets inside UDP. Where one of them does not fit it
/// goes in parts (`IP_PMTUDISC_DONT`): a tunnel has no other place to tell it than the packet's sender, who has been told
/// the tunnel's MTU.
///
/// # Errors
/// If this machine does not have the address, or the port is taken.
pub fn bind_tunnel(local: SocketAddrV4) -> Result<UdpSocket, SocketError> {
    let open = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        raw::set(fd.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_DONT)?;
        // As much as the administrator lets us.
        setsockopt(&fd, sockopt::RcvBuf, &TUNNEL_BUFFER)?;
        setsockopt(&fd, sockopt::SndBuf, &TUNNEL_BUFFER)?;
        bind_socket(fd.as_raw_fd(), &SockaddrIn::from(local))?;
        Ok(UdpSocket::from(fd))
    };
    open().map_err(SocketError::on(format!("bind a UDP socket to {local}")))
}
