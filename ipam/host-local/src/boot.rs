//! When this machine was started, and whether it was since.

use std::time::{Duration, SystemTime};

use libcni::store::StoreError;
use nix::time::{ClockId, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// When this boot began, by the clock as it is now. A clock that was set since then moves it; so it is good for
/// "certainly older", not for identity.
pub(crate) fn time() -> SystemTime {
    let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    SystemTime::now().checked_sub(uptime).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The kernel's random name of this boot.
///
/// # Errors
/// [`StoreError`] where /proc is not mounted.
pub(crate) fn id() -> Result<String, StoreError> {
    let text = std::fs::read_to_string(BOOT_ID).map_err(StoreError::on("read", BOOT_ID))?;
    Ok(text.trim().to_owned())
}
