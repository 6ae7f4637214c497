//! `scripts/install` and `cnitool install` replace plugins while they are being executed: nobody sees a missing or half-written one,
//! and what fails changes nothing.
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrule_tests::{Binaries, Invocation, Node, script};

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
    let install = || {
        let mut command = Command::new(script("install"));
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
    let install = || {
        let mut command = Command::new(script("install"));
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

/// `cnitool` with these arguments: its exit code, and what it writes to stderr.
fn cnitool(binaries: &Binaries, arguments: &[String]) -> (Option<i32>, String) {
    let output = Command::new(binaries.plugin("cnitool")).args(arguments).output().expect("cnitool");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn write(path: &Path, content: &[u8]) {
    libcni::store::write_atomic(path, content, 0o755).expect("a file");
}

#[test]
fn a_full_disk_leaves_all_as_it_was() {
    let (Some(binaries), Some(node)) = (Binaries::ours(), Node::start()) else { return };
    let (from, to) = (node.dir().join("from"), node.dir().join("to"));
    for dir in [&from, &to] {
        std::fs::create_dir(dir).expect("directory");
    }
    node.host.sh(&format!("mount -t tmpfs -o size=256k tmpfs {}", to.display()));
    write(&to.join("bridge"), b"old");
    // The first fits.
    write(&from.join("bridge"), &[1; 100_000]);
    write(&from.join("ptp"), &[2; 200_000]);
    let (code, said) = cnitool(&binaries, &["install".into(), format!("{}={}", from.display(), to.display())]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("ptp: No space left on device") && said.contains("make room"), "{said}");
    assert_eq!(std::fs::read(to.join("bridge")).expect("bridge"), b"old");
    let names: Vec<_> = std::fs::read_dir(&to).expect("directory").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["bridge"], "nothing is left of the attempt");
}

/// A program that is being executed cannot be written to; it can be replaced, put back and removed.
#[test]
fn a_program_that_runs_is_replaced() {
    let Some(binaries) = Binaries::ours() else { return };
    let dir = tempfile::tempdir().expect("directory");
    let (program, newer) = (dir.path().join("bin/sleep"), dir.path().join("sleep"));
    let place =
        |from: &Path| cnitool(&binaries, &["install".into(), format!("{}={}", from.display(), program.display())]);
    assert_eq!(place(Path::new("/bin/sleep")), (Some(0), String::new()));
    let mut running = Command::new(&program).arg("1000").spawn().expect("sleep");
    let of = |verb: &str| cnitool(&binaries, &[verb.into(), dir.path().join("bin").display().to_string()]);
    write(&newer, b"newer");
    assert_eq!(place(&newer), (Some(0), String::new()));
    assert_eq!(std::fs::read(&program).expect("sleep"), b"newer");
    assert_eq!(of("rollback"), (Some(0), String::new()));
    assert_eq!(std::fs::read(&program).expect("sleep"), std::fs::read("/bin/sleep").expect("sleep"));
    assert_eq!(of("uninstall"), (Some(0), String::new()));
    assert_eq!(std::fs::read_dir(dir.path().join("bin")).expect("directory").count(), 0);
    assert!(running.try_wait().expect("sleep").is_none(), "it was disturbed");
    running.kill().expect("sleep");
    running.wait().expect("sleep");
}

#[test]
fn what_cannot_be_done_is_told_with_its_path() {
    let Some(binaries) = Binaries::ours() else { return };
    let dir = tempfile::tempdir().expect("directory");
    let dir = dir.path().display();
    let of = |arguments: &[&str]| cnitool(&binaries, &arguments.iter().map(|&word| word.into()).collect::<Vec<_>>());
    for (arguments, code, expected) in [
        (["install", &format!("{dir}/none={dir}/to")], 4, format!("cannot read {dir}/none: No such file or directory")),
        (["install", &format!("/bin/true={}", "/proc/none")], 4, "/proc".to_owned()),
        (["install", "/bin/true"], 2, "expected FROM=TO".to_owned()),
        (["rollback", &format!("{dir}")], 3, format!("there is nothing to roll back in {dir}")),
    ] {
        let (found, said) = of(&arguments);
        assert!(found == Some(code) && said.contains(&expected), "{arguments:?}: {found:?}: {said}");
    }
    assert_eq!(of(&["uninstall", &format!("{dir}/none")]), (Some(0), String::new()));
}
