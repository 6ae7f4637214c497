//! Socket options that nix has no type for.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Sets an option to a value of the type that the kernel reads for it.
pub(crate) fn set<T>(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: &T) -> Result<(), Errno> {
    let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: the descriptor is open, and pointer and size are those of `value`, which outlives the call and is only
    // read.
    let answer = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), size) };
    Errno::result(answer).map(drop)
}
