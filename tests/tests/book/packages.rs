//! docs/packages.md: its commands are run, on a machine with empty `/etc`, `/opt` and `/usr/local/sbin` and a dpkg of its own.

use ferrule_tests::{DebianMachine, Packages};

use crate::console;
use crate::page::Page;

#[test]
fn packages_are_installed_as_their_page_shows_it() {
    let Some(packages) = Packages::contents().and_then(|binaries| Packages::all(&binaries)) else { return };
    let Some(machine) = DebianMachine::new() else { return };
    let preparation = format!(
        "for dir in /etc /opt /usr/local/sbin; do mount -t tmpfs tmpfs $dir; done
         dpkg() {{ command dpkg --root={} \"$@\"; }}
         cp {}/* .",
        machine.path("").display(),
        packages.dir().display()
    );
    console::run(&Page::read("docs/packages.md"), &machine.node, &preparation);
    assert!(machine.installed().is_empty(), "all that is installed on the page is removed there");
}
