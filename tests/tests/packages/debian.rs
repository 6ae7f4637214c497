//! The package of the plugins on a Debian machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use ferrule_tests::{Binaries, DebianMachine, Packages, installed};

use crate::attachments::{Attachment, Busy, assert_answer, under_load};
use crate::{run, types};

const PLUGINS: &str = "usr/lib/cni";
const UNITS: [&str; 2] = ["cni-dhcp.service", "cni-dhcp.socket"];

/// The same plugins, as another file.
fn changed(binaries: &Binaries, dir: &Path) -> Binaries {
    for name in ["cnitool", "overlayd"] {
        fs::hard_link(binaries.plugin(name), dir.join(name)).unwrap();
    }
    let mut bytes = fs::read(binaries.plugin("bridge")).unwrap();
    // The kernel does not look there.
    bytes.extend(b"changed");
    libcni::store::write_atomic(&dir.join("bridge"), &bytes, 0o755).unwrap();
    Binaries::at(dir)
}

#[test]
fn installed_it_works_and_purged_it_is_gone() {
    let Some(binaries) = Packages::contents() else { return };
    let (Some(packages), Some(machine)) = (Packages::debs(&binaries, "1"), DebianMachine::new()) else { return };
    machine.dpkg(&["-i"], &[&packages.named("ferrule-cni_")]);

    let files = machine.installed();
    let types = types(&binaries);
    for name in &types {
        assert_eq!(
            files[&Path::new(PLUGINS).join(name)],
            if name == "bridge" { "file 755" } else { "-> bridge" },
            "{name}"
        );
    }
    let is_plugin = |path: &&std::path::PathBuf| path.parent() == Some(Path::new(PLUGINS));
    assert_eq!(files.keys().filter(is_plugin).count(), types.len());
    let shares = ["man/man1/cnitool.1.gz", "man/man1/cnitool-add.1.gz", "bash-completion/completions/cnitool"];
    for share in shares.iter().chain(&["zsh/vendor-completions/_cnitool", "fish/vendor_completions.d/cnitool.fish"]) {
        let path = Path::new("usr/share").join(share);
        assert_eq!(files[&path], "file 644", "{share}");
        assert!(fs::metadata(machine.path(path.to_str().unwrap())).unwrap().len() > 100, "{share}");
    }
    assert_answer(&machine.path(PLUGINS), &types);
    assert!(run(Command::new(machine.path("usr/bin/cnitool")).arg("--version")).starts_with("cnitool "));
    Attachment::make(&machine.node, &machine.path(PLUGINS)).end();
    let calls = machine.calls();
    let acts = |call: &String| ["enable ", " start ", "restart "].iter().any(|act| call.contains(act));
    assert!(!calls.is_empty() && !calls.iter().any(acts), "nothing is enabled or started: {calls:#?}");

    assert_eq!(machine.dpkg(&["-V"], &[]), "");
    libcni::store::write_atomic(&machine.path("usr/lib/cni/bridge"), b"other", 0o755).unwrap();
    assert!(machine.dpkg(&["-V"], &[]).contains("/usr/lib/cni/bridge"), "what is not the package's is told");

    machine.dpkg(&["-r", "ferrule-cni"], &[]);
    assert!(machine.calls().contains(&"deb-systemd-invoke stop cni-dhcp.service cni-dhcp.socket".to_owned()));
    machine.dpkg(&["-P", "ferrule-cni"], &[]);
    assert_eq!(machine.installed(), ferrule_tests::tree::Tree::new());
}

#[test]
fn upgraded_and_rolled_back_while_plugins_run() {
    let Some(binaries) = Packages::contents() else { return };
    let dir = tempfile::tempdir_in("/run").unwrap();
    let newer = changed(&binaries, dir.path());
    let (Some(old), Some(machine)) = (Packages::debs(&binaries, "1"), DebianMachine::new()) else { return };
    let Some(new) = Packages::debs(&newer, "2") else { return };
    let plugins = machine.path(PLUGINS);
    let content = || fs::read(plugins.join("bridge")).unwrap();
    machine.dpkg(&["-i"], &[&old.named("ferrule-cni_")]);
    let attachment = Attachment::make(&machine.node, &plugins);
    machine.calls();

    let steps = [(&new, "-2", &newer), (&old, "-1", &binaries)];
    for (packages, revision, contents) in steps {
        let busy = Busy::start(&plugins.join("bridge"));
        under_load(&plugins, || {
            machine.dpkg(&["-i"], &[&packages.named("ferrule-cni_")]);
        });
        busy.finish();
        assert!(machine.version("ferrule-cni").ends_with(revision), "{}", machine.version("ferrule-cni"));
        assert!(content() == fs::read(contents.plugin("bridge")).unwrap(), "the plugins are those of the package");
        attachment.assert_reached();
        attachment.check();
        let calls = machine.calls();
        let restart = "deb-systemd-invoke try-restart cni-dhcp.service cni-dhcp.socket".to_owned();
        assert!(calls.contains(&restart) && !calls.iter().any(|call| call.contains("stop")), "{calls:#?}");
        assert_eq!(machine.dpkg(&["-V"], &[]), "");
    }
    attachment.end();
}

/// A package that is as Debian's of the Go plugins for those that take its place.
fn package_of_go_plugins(reference: &Binaries, dir: &Path) -> std::path::PathBuf {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join(PLUGINS)).unwrap();
    fs::create_dir(tree.join("DEBIAN")).unwrap();
    for name in ["bridge", "host-local", "portmap"] {
        fs::copy(reference.plugin(name), tree.join(PLUGINS).join(name)).unwrap();
    }
    // Debian 12 has them there, and /lib is /usr/lib.
    fs::create_dir_all(tree.join("lib/systemd/system")).unwrap();
    for unit in UNITS {
        let path = tree.join("lib/systemd/system").join(unit);
        libcni::store::write_atomic(&path, b"[Unit]\nDescription=theirs\n", 0o644).unwrap();
    }
    let control = b"Package: containernetworking-plugins\nVersion: 1.1.1+ds1-3+b5\nArchitecture: all\n\
        Provides: container-network-stack (= 1)\nMaintainer: Nobody <nobody@example.com>\nDescription: Go plugins\n";
    libcni::store::write_atomic(&tree.join("DEBIAN/control"), control, 0o644).unwrap();
    let package = dir.join("containernetworking-plugins.deb");
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-Zgzip", "-z1", "--build"]).arg(&tree).arg(&package));
    package
}

#[test]
fn it_takes_the_place_of_debians_go_plugins_and_gives_it_back() {
    if !installed(&["dpkg", "dpkg-deb"]) {
        return;
    }
    let (Some(binaries), Some(reference)) = (Packages::contents(), Binaries::reference()) else { return };
    let (Some(packages), Some(machine)) = (Packages::debs(&binaries, "1"), DebianMachine::new()) else { return };
    let dir = tempfile::tempdir_in("/run").unwrap();
    let theirs = package_of_go_plugins(&reference, dir.path());
    let plugins = machine.path(PLUGINS);
    machine.dpkg(&["-i"], &[&theirs]);
    let attachment = Attachment::make(&machine.node, &plugins);

    machine.dpkg(&["-i"], &[&packages.named("ferrule-cni_")]);
    assert_eq!(machine.version("containernetworking-plugins"), "");
    assert_eq!(machine.dpkg(&["-V"], &[]), "");
    for unit in UNITS {
        let unit = fs::read_to_string(machine.path("usr/lib/systemd/system").join(unit)).unwrap();
        assert!(unit.contains("ferrule"), "{unit}");
    }
    attachment.assert_reached();
    attachment.check();
    attachment.end();

    // Of what is attached by ours, theirs would leave elements behind (docs/from-go.md).
    machine.dpkg(&["-P", "ferrule-cni"], &[]);
    machine.dpkg(&["-i"], &[&theirs]);
    Attachment::make(&machine.node, &plugins).end();
}
