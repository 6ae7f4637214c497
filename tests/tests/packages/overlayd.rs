//! The package of overlayd on a Debian machine.

use std::path::Path;
use std::process::Command;

use ferrule_tests::tree::Tree;
use ferrule_tests::{DebianMachine, Packages, Process, eventually};

use crate::run;

const CONFIG: &str = "etc/ferrule/overlayd.toml";

/// What an operator writes.
const MINE: &str = "node = \"n1\"\n[network]\nNetwork = \"10.42.0.0/16\"\n[network.Backend]\nType = \"vxlan\"\n\
    [store.file]\npath = \"/var/lib/overlayd/nodes\"\npublish = true\n";

/// The machine gets the libraries of its overlayd, if that is one with libraries: what is tested need not be static.
fn complete(machine: &DebianMachine) {
    let script = r#"
        for library in $(ldd "$1/usr/sbin/overlayd" 2>/dev/null | grep -o '/[^ ]*'); do
            mkdir -p "$1${library%/*}" && cp "$library" "$1$library"
        done"#;
    run(Command::new("bash").args(["-uc", script, "libraries"]).arg(machine.path("")));
}

/// The configuration becomes the operator's, and overlayd runs.
fn start(machine: &DebianMachine) -> Process {
    complete(machine);
    std::fs::create_dir_all(machine.path("var/lib/overlayd/nodes")).unwrap();
    libcni::store::write_atomic(&machine.path(CONFIG), MINE.as_bytes(), 0o644).unwrap();
    let mut command = machine.command("chroot");
    command.arg(machine.path("")).arg("/usr/sbin/overlayd");
    let log = machine.node.dir().join("overlayd.log");
    let overlayd = machine.node.host.run(|| Process::start("overlayd", command, log));
    eventually("overlayd works", || machine.path("run/flannel/subnet.env").exists());
    overlayd
}

#[test]
fn its_configuration_stays_until_it_is_purged() {
    let Some(binaries) = Packages::contents() else { return };
    let (Some(old), Some(machine)) = (Packages::debs(&binaries, "1"), DebianMachine::new()) else { return };
    let Some(new) = Packages::debs(&binaries, "2") else { return };
    machine.dpkg(&["-i"], &[&old.named("ferrule-overlayd_")]);
    let files = machine.installed();
    for (path, said) in [("usr/sbin/overlayd", "file 755"), (CONFIG, "file 644")] {
        assert_eq!(files[Path::new(path)], said);
    }
    complete(&machine);
    let mut check = machine.command("chroot");
    run(check.arg(machine.path("")).args(["/usr/sbin/overlayd", "check-config"]));
    assert!(!machine.calls().iter().any(|call| call.contains("enable") || call.contains("start")));

    libcni::store::write_atomic(&machine.path(CONFIG), MINE.as_bytes(), 0o644).unwrap();
    let assert_mine = || assert_eq!(std::fs::read_to_string(machine.path(CONFIG)).unwrap(), MINE);
    for packages in [&new, &old] {
        machine.dpkg(&["-i"], &[&packages.named("ferrule-overlayd_")]);
        assert_mine();
        let calls = machine.calls();
        assert!(calls.contains(&"deb-systemd-invoke try-restart overlayd.service".to_owned()), "{calls:#?}");
    }
    machine.dpkg(&["-r", "ferrule-overlayd"], &[]);
    assert_mine();
    assert!(!machine.path("usr/sbin/overlayd").exists());
    machine.dpkg(&["-P", "ferrule-overlayd"], &[]);
    assert!(!machine.path("etc/ferrule").exists());
}

#[test]
fn removed_it_leaves_nothing_in_the_kernel_and_purged_no_file() {
    let Some(binaries) = Packages::contents() else { return };
    let (Some(packages), Some(machine)) = (Packages::debs(&binaries, "1"), DebianMachine::new()) else { return };
    let before = machine.node.snapshot();
    machine.dpkg(&["-i"], &[&packages.named("ferrule-overlayd_")]);
    let overlayd = start(&machine);
    assert!(machine.node.host.find_link("flannel.1").is_some());

    // What systemd does when it is asked to stop it.
    assert_eq!(overlayd.stop(), Some(0));
    assert!(machine.node.host.find_link("flannel.1").is_some(), "the kernel forwards without it");
    let said = machine.dpkg(&["-r", "ferrule-overlayd"], &[]);
    machine.node.assert_nothing_left(&before, &[]);
    assert!(!said.contains("is left"), "{said}");
    assert!(machine.path("var/lib/overlayd").exists());
    machine.dpkg(&["-P", "ferrule-overlayd"], &[]);
    let is_ours = |path: &&std::path::PathBuf| !path.to_string_lossy().contains("lib");
    let left: Vec<_> = machine.installed().into_keys().collect();
    assert!(!machine.path("var/lib/overlayd").exists() && left.iter().find(is_ours).is_none(), "{left:#?}");
}

#[test]
fn purging_a_package_that_was_never_started_is_harmless() {
    let Some(binaries) = Packages::contents() else { return };
    let (Some(packages), Some(machine)) = (Packages::debs(&binaries, "1"), DebianMachine::new()) else { return };
    machine.dpkg(&["-i"], &[&packages.named("ferrule-overlayd_")]);
    // As in the tree of an image.
    std::fs::remove_dir(machine.path("run/systemd/system")).unwrap();
    machine.dpkg(&["-P", "ferrule-overlayd"], &[]);
    assert_eq!(machine.installed(), Tree::new());
}
