//! `scripts/install` replaces plugins while they are being executed: nobody sees a missing or half-written one.
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrule_tests::{Binaries, Invocation};

/// The folders of plugins in the workspace.
fn plugins() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["plugins", "ipam"].map(|folder| std::fs::read_dir(root.join(folder)).expect("folder"));
    let crates = folders.into_iter().flatten().flatten().filter(|entry| entry.path().join("Cargo.toml").exists());
    crates.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name != "all").collect()
}

#[test]
fn every_plugin_is_there_by_each_of_its_names_and_all_are_one_file() {
    let Some(binaries) = Binaries::ours() else { return };
    let inode = |name: &str| std::fs::metadata(binaries.plugin(name)).expect(name).ino();
    for name in plugins().iter().map(String::as_str).chain(["flannel"]) {
        assert_eq!(inode(name), inode("bridge"), "{name}");
        let plugin = Invocation::new(&binaries.plugin(name)).env("CNI_COMMAND", "VERSION");
        let reply = plugin.run_here().reply().expect(name);
        assert!(reply.pointer("/supportedVersions").is_some(), "{name}: {reply}");
    }
}

#[test]
fn plugins_are_replaced_under_load() {
    let Some(binaries) = Binaries::ours() else { return };
    let target = tempfile::tempdir().expect("directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/install");
    let install = || {
        let mut command = Command::new(&script);
        let status = command.arg("--from").arg(binaries.dir()).arg(target.path()).status().expect("install");
        assert!(status.success());
    };
    install();
    std::fs::File::create(target.path().join("somebody-elses")).expect("file");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut runs = 0;
                    while !done.load(Ordering::Relaxed) {
                        let plugin = Invocation::new(&target.path().join("bridge")).env("CNI_COMMAND", "VERSION");
                        let reply = plugin.run_here().reply().expect("VERSION");
                        assert!(reply.pointer("/supportedVersions").is_some(), "{reply}");
                        runs += 1;
                    }
                    runs
                })
            })
            .collect();
        (0..10).for_each(|_| install());
        done.store(true, Ordering::Relaxed);
        let runs: usize = load.into_iter().map(|thread| thread.join().expect("load")).sum();
        assert!(runs > 0);
    });
    let names = |dir: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(dir).expect("directory").flatten().map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    let mut expected = names(binaries.dir());
    expected.retain(|name| name != "overlayd");
    expected.push("somebody-elses".into());
    expected.sort();
    assert_eq!(names(target.path()), expected, "nothing temporary is left, nothing foreign is gone");
}

#[test]
fn the_daemon_comes_with_its_unit_and_a_configuration_that_stays() {
    let Some(binaries) = Binaries::ours() else { return };
    let root = tempfile::tempdir().expect("directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/install");
    let install = || {
        let mut command = Command::new(&script);
        let status =
            command.arg("--from").arg(binaries.dir()).arg("--daemon").arg(root.path()).status().expect("install");
        assert!(status.success());
    };
    install();
    let (daemon, config) = (root.path().join("usr/local/sbin/overlayd"), root.path().join("etc/ferrule/overlayd.toml"));
    assert!(root.path().join("etc/systemd/system/overlayd.service").exists());
    let check = || Command::new(&daemon).arg("check-config").arg("--config").arg(&config).status().expect("overlayd");
    assert!(check().success());
    libcni::store::write_atomic(&config, b"mine = true", 0o644).expect("configuration");
    install();
    assert!(!check().success(), "it is the operator's");
}
