//! A Debian machine: a root directory with a shell and what scripts of packages call, and a network of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tree::{Tree, tree};
use crate::{Node, installed};

/// What is not compared: the database of dpkg, what it needs to start, and the recorder.
const OWN: [&str; 5] = ["var/lib/dpkg", "dev", "proc", "run", "calls"];

/// A Debian machine on which packages are installed.
#[derive(Debug)]
pub struct DebianMachine {
    /// Its network; the root directory is below its directory.
    pub node: Node,
    root: PathBuf,
    before: Tree,
}

impl DebianMachine {
    /// A machine with nothing installed; `None`, with a printed SKIP, outside the sandbox or without dpkg.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new() -> Option<Self> {
        if !installed(&["dpkg", "busybox"]) {
            return None;
        }
        let node = Node::start()?;
        let root = node.dir().join("root");
        // Only programs that are there are called; what systemd would have been asked is in /calls.
        let script = r#"
            mkdir -p "$1"/dev "$1"/etc "$1"/proc "$1"/run/systemd/system "$1"/tmp "$1"/usr/bin "$1"/usr/lib "$1"/usr/sbin \
                "$1"/var/lib/dpkg/info "$1"/var/lib/dpkg/updates
            cd "$1"
            for dir in bin lib sbin; do ln -s usr/$dir $dir; done
            # dpkg removes directories that become empty.
            touch dev/null etc/hostname usr/lib/os-release
            cat >var/lib/dpkg/status <<'TEXT'
Package: init-system-helpers
Status: install ok installed
Maintainer: Nobody <nobody@example.com>
Architecture: all
Version: 1.65.2
Description: as Debian 12 has it

TEXT
            touch var/lib/dpkg/info/init-system-helpers.list
            cp "$(command -v busybox)" usr/bin/busybox
            for program in sh rm cp mkdir; do ln -s busybox usr/bin/$program; done
            ln -s ../bin/busybox usr/sbin/chroot
            for program in deb-systemd-helper deb-systemd-invoke systemctl; do
                cat >usr/bin/$program <<'TEXT'
#!/bin/sh
echo "${0##*/} $*" >>/calls
# As where no unit was ever enabled.
case "$*" in debian-installed* | *was-enabled*) exit 1 ;; esac
TEXT
                chmod 755 usr/bin/$program
            done"#;
        finish(Command::new("bash").args(["-euc", script, "machine"]).arg(&root));
        let before = tree(&root, &OWN);
        Some(Self { node, root, before })
    }

    /// A path on the machine.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Runs dpkg, in the machine's network; what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn dpkg(&self, arguments: &[&str], packages: &[&Path]) -> String {
        let mut command = self.command("dpkg");
        command.arg("--root").arg(&self.root).args(arguments).args(packages);
        self.node.host.run(|| finish(&mut command))
    }

    /// A program of this machine, not yet of its network; there is a `/proc` in the root directory meanwhile.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        let script = r#"mount --rbind /proc "$0/proc" && exec "$@""#;
        command.args(["--mount", "sh", "-euc", script]).arg(&self.root).arg(program);
        command
    }

    /// The files that were not there before.
    ///
    /// # Panics
    /// If one that was there has changed or is gone.
    #[must_use]
    pub fn installed(&self) -> Tree {
        let mut tree = tree(&self.root, &OWN);
        for (path, said) in &self.before {
            assert_eq!(tree.remove(path).as_ref(), Some(said), "{}", path.display());
        }
        tree
    }

    /// What systemd was asked since the last time.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls.lines().map(str::to_owned).collect()
    }

    /// The installed version of a package; empty if it is not installed.
    ///
    /// # Panics
    /// If there is no dpkg.
    #[must_use]
    pub fn version(&self, package: &str) -> String {
        let mut command = Command::new("dpkg-query");
        command.arg("--root").arg(&self.root).args(["-W", "-f", "${db:Status-Abbrev}${Version}", package]);
        let output = command.output().expect("dpkg-query");
        String::from_utf8_lossy(&output.stdout).strip_prefix("ii ").unwrap_or_default().to_owned()
    }
}

/// Runs a program to its end; all that it printed.
fn finish(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}
