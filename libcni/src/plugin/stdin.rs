use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long VERSION waits for input, in milliseconds. Runtimes have written it before the plugin looks.
const VERSION_INPUT_MS: u16 = 200;

/// Whether there is something to read, or the end. VERSION is asked by people and scripts, too, who send nothing and
/// leave stdin open: a plugin that waited for them would hang.
pub(super) fn has_input() -> bool {
    let stdin = io::stdin();
    let mut wanted = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    !stdin.is_terminal() && poll(&mut wanted, PollTimeout::from(VERSION_INPUT_MS)).is_ok_and(|ready| ready > 0)
}
