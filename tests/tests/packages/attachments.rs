//! Installed plugins at work.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use ferrule_tests::{Binaries, Container, Invocation, Network, Node, Snapshot, fixture};
use serde_json::Value;

/// A container that has been attached by installed plugins, with a published port.
pub(crate) struct Attachment<'a> {
    node: &'a Node,
    before: Snapshot,
    network: Network,
    container: Container,
}

impl<'a> Attachment<'a> {
    /// By the plugins in `dir`; it answers on its port.
    pub(crate) fn make(node: &'a Node, dir: &Path) -> Self {
        let network = node.network_by(fixture("bridge-portmap.conflist"), &Binaries::at(dir));
        let before = node.snapshot();
        let container = node.container("web").publish("tcp", 8080, 80);
        network.add(&container).unwrap();
        let attachment = Self { node, before, network, container };
        attachment.assert_reached();
        attachment
    }

    pub(crate) fn assert_reached(&self) {
        let _service = self.container.place.serve_tcp(80);
        assert_eq!(self.node.outside.fetch_tcp(self.node.address(), 8080).unwrap().from, "web");
    }

    /// CHECK by what the directory has now.
    pub(crate) fn check(&self) {
        self.network.check(&self.container).unwrap();
    }

    /// DEL, after which nothing is left.
    pub(crate) fn end(self) {
        self.network.del(&self.container).unwrap();
        self.node.assert_nothing_left(&self.before, &[&self.container]);
    }
}

/// Each of these answers VERSION.
pub(crate) fn assert_answer(dir: &Path, types: &[String]) {
    assert!(types.len() > 15, "{types:?}");
    for name in types {
        let reply = Invocation::new(&dir.join(name)).env("CNI_COMMAND", "VERSION").run_here().reply().unwrap();
        assert!(reply.pointer("/supportedVersions").is_some(), "{name}: {reply}");
    }
}

/// A plugin that is being executed: it waits for its configuration.
pub(crate) struct Busy(Child);

impl Busy {
    pub(crate) fn start(plugin: &Path) -> Self {
        let mut command = Command::new(plugin);
        command.env_clear().envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "busy"), ("CNI_IFNAME", "eth0")]);
        command.envs([("CNI_NETNS", "/run/netns/busy"), ("CNI_PATH", "/nowhere")]);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// It was not disturbed: it refuses a configuration of a version that is none.
    pub(crate) fn finish(mut self) {
        self.0.stdin.take().unwrap().write_all(br#"{"cniVersion": "9.9.9", "name": "busy", "type": "busy"}"#).unwrap();
        let mut reply = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut reply).unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(1));
        let reply: Value = serde_json::from_str(&reply).unwrap();
        assert_eq!(reply.pointer("/code"), Some(&1.into()), "{reply}");
    }
}

/// Does `work` while plugins of `dir` are being executed without a pause: each execution succeeds.
pub(crate) fn under_load(dir: &Path, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let executed = std::thread::scope(|scope| {
        let load = ["bridge", "host-local"].map(|name| {
            let (done, plugin) = (&done, dir.join(name));
            scope.spawn(move || {
                let mut executed = 0;
                while !done.load(Ordering::Relaxed) {
                    Invocation::new(&plugin).env("CNI_COMMAND", "VERSION").run_here().reply().unwrap();
                    executed += 1;
                }
                executed
            })
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        let executed: usize = load.into_iter().map(|thread| thread.join().unwrap()).sum();
        worked.unwrap();
        executed
    });
    assert!(executed > 0);
}
