//! Tun devices: links without Ethernet, whose other end is a program that reads and writes IP packets.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::tap::{DEVICE, TapError};

/// A tun device that ends with this handle. What is read from it are the IP packets that the kernel sends by it, one at a
/// time; what is written to it the kernel receives by it.
#[derive(Debug)]
pub struct Tun {
    file: File,
}

impl Tun {
    /// Makes it in the calling thread's namespace, down; reading and writing do not wait (`ip tuntap add mode tun name
    /// NAME`, which also makes it stay). A link of this name is refused.
    ///
    /// # Errors
    /// [`TapError`]; nothing is left then.
    pub fn create(name: &str) -> Result<Self, TapError> {
        let doing = || format!("create tun device {name}");
        let file = open(name, libc::IFF_TUN | libc::IFF_TUN_EXCL, doing)?;
        // SAFETY: the descriptor is open, and the request changes nothing but its flags.
        let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        expect(answer, doing)?;
        Ok(Self { file })
    }
}

impl Read for &Tun {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }
}

impl Write for &Tun {
    fn write(&mut self, packet: &[u8]) -> io::Result<usize> {
        (&self.file).write(packet)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// `struct ifreq` with `ifr_flags`.
#[repr(C)]
struct IfReq {
    name: [u8; libc::IFNAMSIZ],
    flags: u16,
    rest: [u8; 22],
}

/// Makes a tun or tap device without packet information, by `TUNSETIFF`.
pub(super) fn open(name: &str, flags: libc::c_int, doing: impl FnOnce() -> String) -> Result<File, TapError> {
    let file = File::options().read(true).write(true).open(DEVICE).map_err(TapError::Open)?;
    let flags = u16::try_from(flags | libc::IFF_NO_PI).unwrap_or_default();
    let mut request = IfReq { name: [0; libc::IFNAMSIZ], flags, rest: [0; 22] };
    for (to, from) in request.name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from;
    }
    // SAFETY: TUNSETIFF reads and writes a struct ifreq, which `request` is, and the descriptor is open.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    expect(answer, doing)?;
    Ok(file)
}

pub(super) fn expect(answer: libc::c_int, doing: impl FnOnce() -> String) -> Result<(), TapError> {
    let refused = |errno: Errno| TapError::Refused { doing: doing(), source: errno.into() };
    Errno::result(answer).map(drop).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_kernels_size() {
        assert_eq!(size_of::<IfReq>(), size_of::<libc::ifreq>());
    }
}
