//! `scripts/install` replaces plugins while they are being executed: nobody sees a missing or half-written one.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrule_tests::{Binaries, Invocation};

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
    expected.push("somebody-elses".into());
    expected.sort();
    assert_eq!(names(target.path()), expected, "nothing temporary is left, nothing foreign is gone");
}
