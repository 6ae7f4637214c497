//! Tap devices: Ethernet links whose other end is a program (a virtual machine's), by ioctl. Netlink cannot make them
//! ("tun/tap creation via rtnetlink is not supported").

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc;

use crate::nl::{find, ne32};

use super::{flag, tun};

/// Where tap devices come from. It belongs to the namespace of the thread that opens it.
pub(super) const DEVICE: &str = "/dev/net/tun";
/// `IFLA_TUN_OWNER`, `_GROUP`, `_TYPE`, `_PERSIST` and `_MULTI_QUEUE` of linux/if_link.h.
const IFLA_TUN_OWNER: u16 = 1;
const IFLA_TUN_GROUP: u16 = 2;
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_PERSIST: u16 = 6;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
/// `IFF_TAP`, as a type.
const TYPE_TAP: u8 = 2;

/// Why a tap device cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The kernel has no tap devices, or this process may not have any.
    #[error("cannot open {DEVICE} (hint: load the kernel's module tun)")]
    Open(#[source] io::Error),
    /// The kernel refused.
    #[error("cannot {doing}")]
    Refused {
        /// What: `create tap device eth0`.
        doing: String,
        /// Why.
        source: io::Error,
    },
}

/// A tap device to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether several queues of it can be opened. Nobody can change that later.
    pub multi_queue: bool,
    /// The user who may open it; everybody with the privilege otherwise.
    pub owner: Option<u32>,
    /// The group that may open it; everybody with the privilege otherwise.
    pub group: Option<u32>,
}

/// A tap device that ends with this handle, unless it is made to stay.
#[derive(Debug)]
pub struct OpenTap {
    file: File,
    name: String,
}

/// What a tap device is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapState {
    /// Whether several queues of it can be opened.
    pub multi_queue: bool,
    /// Whether it stays while nobody has it open.
    pub is_persistent: bool,
    /// The user who may open it.
    pub owner: Option<u32>,
    /// The group that may open it.
    pub group: Option<u32>,
}

impl Tap<'_> {
    /// Makes it in the calling thread's namespace, down (`ip tuntap add mode tap name NAME vnet_hdr [multi_queue]
    /// [user OWNER] [group GROUP]`, which also makes it stay). A link of this name is refused.
    ///
    /// # Errors
    /// [`TapError`]; nothing is left then.
    pub fn create(&self) -> Result<OpenTap, TapError> {
        let queues = if self.multi_queue { libc::IFF_MULTI_QUEUE } else { 0 };
        let flags = libc::IFF_TAP | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL | queues;
        let file = tun::open(self.name, flags, || format!("create tap device {}", self.name))?;
        let tap = OpenTap { file, name: self.name.to_owned() };
        if let Some(owner) = self.owner {
            tap.set(libc::TUNSETOWNER as _, owner, || format!("give tap device {} to user {owner}", self.name))?;
        }
        if let Some(group) = self.group {
            tap.set(libc::TUNSETGROUP as _, group, || format!("give tap device {} to group {group}", self.name))?;
        }
        Ok(tap)
    }
}

impl OpenTap {
    /// Lets the device stay when this handle is closed.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn persist(self) -> Result<(), TapError> {
        self.set(libc::TUNSETPERSIST as _, 1, || format!("make tap device {} persistent", self.name))
    }

    fn set(&self, request: libc::Ioctl, value: u32, doing: impl FnOnce() -> String) -> Result<(), TapError> {
        // SAFETY: these requests take their argument by value, and the descriptor is open.
        let answer = unsafe { libc::ioctl(self.file.as_raw_fd(), request, libc::c_ulong::from(value)) };
        tun::expect(answer, doing)
    }
}

/// Whether /dev/net/tun can be opened: without it no tap device can be made.
///
/// # Errors
/// [`TapError::Open`]
pub fn require_tap_devices() -> Result<(), TapError> {
    File::options().read(true).write(true).open(DEVICE).map(drop).map_err(TapError::Open)
}

/// Reads the `IFLA_INFO_DATA` of a link of kind `tun`; `None` if it is no tap but a tun.
pub(super) fn parse(data: &[u8]) -> Option<TapState> {
    find(data, IFLA_TUN_TYPE).filter(|kind| kind.first() == Some(&TYPE_TAP))?;
    Some(TapState {
        multi_queue: flag(data, IFLA_TUN_MULTI_QUEUE),
        is_persistent: flag(data, IFLA_TUN_PERSIST),
        owner: find(data, IFLA_TUN_OWNER).and_then(ne32),
        group: find(data, IFLA_TUN_GROUP).and_then(ne32),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        // ip tuntap add mode tap t0 multi_queue user 7, as Linux 6.18 lists it (numbers of queues left out).
        let data = [
            8, 0, 1, 0, 7, 0, 0, 0, 5, 0, 3, 0, 2, 0, 0, 0, 5, 0, 4, 0, 0, 0, 0, 0, 5, 0, 5, 0, 1, 0, 0, 0, //
            5, 0, 6, 0, 1, 0, 0, 0, 5, 0, 7, 0, 1, 0, 0, 0,
        ];
        let state = TapState { multi_queue: true, is_persistent: true, owner: Some(7), group: None };
        assert_eq!(parse(&data), Some(state));
        let mut tun = data;
        tun[12] = 1;
        assert_eq!(parse(&tun), None);
    }
}
