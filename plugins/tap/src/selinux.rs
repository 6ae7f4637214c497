//! The SELinux label of a tap device. It is that of the process which makes it, whatever else a process can set
//! (security/selinux/hooks.c: `selinux_tun_dev_alloc_security` takes `current_sid`, not the one for sockets). So this
//! executable runs itself under the label, as the reference runs `ip`: policies that allow the one allow the other.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use libcni::error::causes;
use libcni::netns::Netns;
use linuxnet::link::Tap;

use crate::error::TapPluginError;

/// What the executable is told to do by its first argument.
const COMMAND: &str = "create-device";
/// The kernel's file systems; SELinux has one while it is enabled.
const FILE_SYSTEMS: &str = "/proc/filesystems";
/// The label of what this thread executes next.
const EXEC_LABEL: &str = "/proc/thread-self/attr/exec";
/// An argument that stands for nothing.
const NONE: &str = "-";

/// Refuses a label on a host without SELinux.
pub(crate) fn require(context: &str) -> Result<(), TapPluginError> {
    let is_enabled = fs::read_to_string(FILE_SYSTEMS).is_ok_and(|list| list.contains("selinuxfs"));
    if is_enabled { Ok(()) } else { Err(TapPluginError::NoSelinux(context.to_owned())) }
}

/// Makes `tap` in `netns` with the label `context`, to stay.
pub(crate) fn create(tap: &Tap<'_>, netns: &Netns, context: &str) -> Result<(), TapPluginError> {
    require(context)?;
    let failed = |source| TapPluginError::Selinux { name: tap.name.to_owned(), context: context.to_owned(), source };
    // On a thread of its own: the label is the thread's, and ends with it.
    netns.run(|| labelled(Path::new(EXEC_LABEL), tap, context))?.map_err(failed)
}

fn labelled(exec_label: &Path, tap: &Tap<'_>, context: &str) -> io::Result<()> {
    File::options().write(true).open(exec_label)?.write_all(context.as_bytes())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("tap").args(arguments(tap)).env_clear().stdin(Stdio::null());
    let output = command.output()?;
    if output.status.success() { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim())) }
}

fn arguments(tap: &Tap<'_>) -> [OsString; 5] {
    let id = |id: Option<u32>| id.map_or_else(|| NONE.to_owned(), |id| id.to_string());
    let queues = if tap.multi_queue { "multi-queue" } else { "one-queue" };
    [COMMAND.into(), tap.name.into(), queues.into(), id(tap.owner).into(), id(tap.group).into()]
}

/// What the executable does when it is started by [`create`]. `None`: the arguments are others.
pub(crate) fn run(arguments: &[OsString]) -> Option<ExitCode> {
    let tap = parse(arguments)?;
    match tap.create().and_then(linuxnet::link::OpenTap::persist) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(e) => {
            // Nobody is told if the parent is gone.
            let _ = writeln!(io::stderr(), "{}", causes(Some(&e)));
            Some(ExitCode::FAILURE)
        }
    }
}

fn parse(arguments: &[OsString]) -> Option<Tap<'_>> {
    let [command, name, queues, owner, group] = arguments else { return None };
    let id = |text: &OsStr| match text.to_str()? {
        NONE => Some(None),
        number => Some(Some(number.parse::<u32>().ok()?)),
    };
    if command != COMMAND {
        return None;
    }
    Some(Tap { name: name.to_str()?, multi_queue: queues == "multi-queue", owner: id(owner)?, group: id(group)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_read_as_they_were_written() {
        for (multi_queue, owner, group) in [(true, Some(0), None), (false, None, Some(4_000_000_000))] {
            let tap = Tap { name: "eth0", multi_queue, owner, group };
            assert_eq!(parse(&arguments(&tap)), Some(tap));
        }
        assert_eq!(parse(&["create-device".into(), "eth0".into()]), None);
        assert_eq!(parse(&["daemon", "a", "b", "c", "d"].map(OsString::from)), None);
    }
}
