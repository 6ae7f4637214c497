//! SIGTERM and SIGINT: a runtime that gives up (or an operator's Ctrl-C) must not leave half an attachment.
//!
//! The handler only notes the signal and passes it on to a running delegate. Whoever does a sequence of steps asks
//! [`interrupted`] between them and undoes what it did.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The process id of the running delegate; 0 if there is none.
static DELEGATE: AtomicI32 = AtomicI32::new(0);

/// The process was asked to end before the work was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by a signal; what was done so far is undone")]
pub struct Interrupted;

/// Whether the process was asked to end (SIGTERM or SIGINT).
///
/// # Errors
/// [`Interrupted`] if so.
pub fn interrupted() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
}

extern "C" fn note(_signal: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
    let pid = DELEGATE.load(Ordering::Relaxed);
    if pid > 0 {
        // An ended delegate is no fault; the handler has nobody to tell.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// From now on SIGTERM and SIGINT do not end the process but are noted for [`interrupted`]. Plugins get this from
/// [`crate::plugin::main`]; a runtime that is a short process asks for it, so that its ADD can be undone.
///
/// System calls are restarted: a half-read reply of the kernel would be worse than a wait.
pub fn catch_signals() {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        // SAFETY: `note` touches atomics and calls kill(2) only; both are async-signal-safe.
        let installed = unsafe { sigaction(signal, &action) };
        debug_assert!(installed.is_ok(), "SIGTERM and SIGINT can be caught");
    }
}

/// Says which child the next signals are for, until dropped.
pub(crate) struct Forwarding;

impl Forwarding {
    pub(crate) fn to(pid: u32) -> Self {
        DELEGATE.store(i32::try_from(pid).unwrap_or(0), Ordering::Relaxed);
        Self
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        DELEGATE.store(0, Ordering::Relaxed);
    }
}
