//! The archives.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use ferrule_tests::tree::tree;
use ferrule_tests::{Binaries, Node, Packages, script};

use crate::attachments::{Attachment, Busy, assert_answer};
use crate::{run, types, words};

/// `sha256sum -c` in the directory of the packages.
fn sums(dir: &Path) -> std::process::Output {
    Command::new("sha256sum").args(["--strict", "-c", "SHA256SUMS"]).current_dir(dir).output().unwrap()
}

/// The libraries in the executables are named with their licences and the texts of these; no others are.
fn assert_licences(dir: &Path, libraries: &[&str], other: &str) {
    let text = fs::read_to_string(dir.join("THIRD-PARTY-LICENSES")).unwrap();
    let (named, texts) = text.split_once("\n=====").unwrap();
    let is_named = |library: &str| named.lines().any(|line| line.split([' ', ':']).next() == Some(library));
    assert!(libraries.iter().all(|library| is_named(library)) && !is_named(other), "{named}");
    assert!(libraries.iter().all(|library| texts.contains(library)) && texts.contains("WITHOUT WARRANTY OF ANY KIND"));
}

#[test]
fn checksums_are_those_of_the_files() {
    let Some(packages) = Packages::contents().and_then(|binaries| Packages::archives(&binaries)) else { return };
    let output = sums(packages.dir());
    assert!(output.status.success(), "{}", words(&output));
    let broken = tempfile::tempdir_in("/run").unwrap();
    for file in fs::read_dir(packages.dir()).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), broken.path().join(file.file_name())).unwrap();
    }
    let archive = broken.path().join(packages.named("ferrule-0").file_name().unwrap());
    let mut bytes = fs::read(&archive).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    libcni::store::write_atomic(&archive, &bytes, 0o644).unwrap();
    let output = sums(broken.path());
    assert!(!output.status.success() && words(&output).contains(".tar.gz: FAILED"), "{}", words(&output));
}

#[test]
fn unpacked_over_go_plugins_while_they_run() {
    let (Some(node), Some(binaries)) = (Node::start(), Packages::contents()) else { return };
    let (Some(packages), Some(reference)) = (Packages::archives(&binaries), Binaries::reference()) else { return };
    let dir = node.dir().join("opt/cni/bin");
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    for name in ["bridge", "host-local", "portmap", "dhcp"] {
        fs::copy(reference.plugin(name), dir.join(name)).unwrap();
    }
    let stranger = dir.join("somebody-elses");
    fs::copy(reference.plugin("static"), &stranger).unwrap();
    let attachment = Attachment::make(&node, &dir);
    let busy = Busy::start(&dir.join("bridge"));

    run(Command::new("tar").arg("-C").arg(&dir).arg("-xzf").arg(packages.named("ferrule-0")));

    busy.finish();
    attachment.assert_reached();
    attachment.check();
    attachment.end();
    let types = types(&binaries);
    assert_answer(&dir, &types);
    let inode = |name: &str| fs::metadata(dir.join(name)).unwrap().ino();
    assert!(types.iter().all(|name| inode(name) == inode("bridge")), "one file");
    assert!(stranger.exists());
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o750, "the directory is not the archive's");
    assert!(run(Command::new(dir.join("cnitool")).arg("--version")).starts_with("cnitool "));
    assert!(!dir.join("overlayd").exists(), "a daemon is no plugin");
    assert_licences(&dir, &["musl", "nix", "serde_json"], "kube");
    Attachment::make(&node, &dir).end();
}

#[test]
fn the_daemons_archive_is_a_directory_with_all_that_it_needs() {
    let Some(packages) = Packages::contents().and_then(|binaries| Packages::archives(&binaries)) else { return };
    let archive = packages.named("ferrule-overlayd-");
    let place = tempfile::tempdir_in("/run").unwrap();
    run(Command::new("tar").arg("-C").arg(place.path()).arg("-xzf").arg(&archive));
    let name = archive.file_name().unwrap().to_str().unwrap();
    let dir = place.path().join(name.strip_suffix(".tar.gz").unwrap());
    let files: Vec<_> = tree(&dir, &[]).into_iter().map(|(path, said)| format!("{} {said}", path.display())).collect();
    let expected = [
        "LICENSE file 644",
        "README.md file 644",
        "THIRD-PARTY-LICENSES file 644",
        "overlayd file 755",
        "overlayd.service file 644",
        "overlayd.toml file 644",
    ];
    assert_eq!(files, expected);
    assert_licences(&dir, &["kube", "musl", "nix"], "rustix");
    let mut check = Command::new(dir.join("overlayd"));
    run(check.args(["check-config", "--config"]).arg(dir.join("overlayd.toml")));
}

#[test]
fn what_cannot_be_packed_is_told() {
    let Some(binaries) = Packages::contents() else { return };
    let dir = tempfile::tempdir_in("/run").unwrap();
    let (from, out) = (dir.path().join("from"), dir.path().join("out"));
    fs::create_dir(&from).unwrap();
    let refused = |arguments: &[&str], reason: &str| {
        let mut command = Command::new(script("package"));
        let output = command.arg("--from").arg(&from).args(arguments).arg(&out).output().unwrap();
        assert!(!output.status.success() && words(&output).contains(reason), "{}", words(&output));
        assert!(!out.join("SHA256SUMS").exists());
    };
    refused(&["--tar"], "there is no cnitool (hint: scripts/build-dist");
    for name in ["bridge", "overlayd"] {
        fs::hard_link(binaries.plugin(name), from.join(name)).unwrap();
    }
    libcni::store::write_atomic(&from.join("cnitool"), b"#!/bin/sh\necho cnitool 9.9.9\n", 0o755).unwrap();
    refused(&["--tar"], "cnitool 9.9.9 is not of version ");
    refused(&["--deb", "--revision", "1_2"], "--revision 1_2: expected a Debian revision");
}
