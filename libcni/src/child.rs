//! Waits for a child process, but not for ever.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// How often is looked where the kernel cannot tell: before Linux 5.3, or where a filter of system calls forbids it.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Reaps `child` as soon as it has ended. `None`: it still runs at `deadline`.
///
/// # Errors
/// Of waitpid(2) and ppoll(2).
pub fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut ended = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match ended.get_or_insert_with(|| end_of(child)) {
            Some(ended) => {
                let mut ended = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
                match ppoll(&mut ended, Some(TimeSpec::from_duration(left)), None) {
                    Ok(_) | Err(nix::Error::EINTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            None => std::thread::sleep(LOOK_EVERY.min(left)),
        }
    }
}

/// What is readable when the child has ended: pidfd_open(2), which nix lacks. The child is not reaped yet, so the pid is its
/// own.
fn end_of(child: &Child) -> Option<OwnedFd> {
    let pid = libc::pid_t::try_from(child.id()).ok()?;
    let no_flags: libc::c_uint = 0;
    // SAFETY: it reads no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, no_flags) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just made it, for us alone.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn sleep(seconds: &str) -> Child {
        Command::new("sleep").arg(seconds).spawn().unwrap()
    }

    #[test]
    fn an_end_is_seen_when_it_comes() {
        let mut child = sleep("0.05");
        let started = Instant::now();
        let status = wait_until(&mut child, started + Duration::from_secs(60)).unwrap();
        assert!(status.is_some_and(|status| status.success()));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn whoever_runs_on_is_left_running() {
        let mut child = sleep("60");
        let started = Instant::now();
        let limit = Duration::from_millis(20);
        assert_eq!(wait_until(&mut child, started + limit).unwrap(), None);
        assert!(started.elapsed() >= limit);
        child.kill().unwrap();
        let status = wait_until(&mut child, Instant::now() + Duration::from_secs(60)).unwrap();
        assert!(status.is_some_and(|status| !status.success()));
    }
}
