//! Two runtimes on one node: our cnitool and the Go one, on the same configuration, cache and plugins (the
//! reference's, so that only the runtimes differ). What one attaches, the other checks, detaches and collects.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::path::PathBuf;
use std::process::Command;

use ferrule_tests::{Binaries, Container, Node, Snapshot, fixture, skip};
use libcni::store::write_atomic;
use serde_json::{Value, json};

/// Where the Go tool has its cache; in the sandbox this directory is private.
const CACHE: &str = "/var/lib/cni/results";

struct Bed {
    node: Node,
    ours: PathBuf,
    go: PathBuf,
    plugins: Binaries,
    network: String,
}

impl Bed {
    /// A node with the network of the fixture under this name; all tests share the cache.
    fn start(network: &str, version: &str) -> Option<Self> {
        let node = Node::start()?;
        let (ours, plugins) = Binaries::both()?;
        if ours == plugins {
            skip("FERRULE_BIN_DIR is the reference");
            return None;
        }
        let mut conflist = node.network_by(fixture("bridge-portmap.conflist"), &plugins).conflist;
        conflist["name"] = network.into();
        conflist["cniVersion"] = version.into();
        let dir = node.dir().join("net.d");
        std::fs::create_dir(&dir).unwrap();
        write_atomic(&dir.join("10.conflist"), conflist.to_string().as_bytes(), 0o644).unwrap();
        let (ours, go) = (ours.plugin("cnitool"), plugins.plugin("cnitool"));
        Some(Self { node, ours, go, plugins, network: network.to_owned() })
    }

    /// `TOOL VERB NETWORK NETNS`: the result, or what it wrote to stderr.
    fn run(&self, tool: &PathBuf, verb: &str, container: &Container, options: &[&str]) -> Result<Value, String> {
        let mut command = Command::new(tool);
        command.args([verb, &self.network]).arg(&container.netns).args(options);
        command.env("CNI_PATH", self.plugins.dir()).env("NETCONFPATH", self.node.dir().join("net.d"));
        command.env("PATH", self.node.program_path());
        if container.capabilities != json!({}) {
            command.env("CAP_ARGS", container.capabilities.to_string());
        }
        let output = self.node.host.run(|| command.output()).unwrap();
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The cache entries of this network.
    fn entries(&self) -> Vec<Value> {
        let files = libcni::store::files(CACHE.as_ref()).unwrap();
        let entries = files.iter().filter_map(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok());
        entries.filter(|entry: &Value| entry["networkName"] == *self.network).collect()
    }

    fn web(&self) -> Container {
        self.node.container("web").publish("tcp", 8080, 80)
    }

    /// Without a namespace the reference's bridge leaves its masquerade rule, so this looks at what the arguments of
    /// the ADD decide: the published port, and the address.
    fn assert_released(&self, before: &Snapshot) {
        let after = self.node.snapshot();
        let left: Vec<&str> = after
            .since(before)
            .into_iter()
            .filter(|line| line.contains("8080") || line.ends_with("/10.88.0.2"))
            .collect();
        assert_eq!(left, Vec::<&str>::new());
        assert_eq!(self.entries(), Vec::<Value>::new());
    }

    fn assert_nothing_left(&self, before: &Snapshot, gone: &[&Container]) {
        assert_eq!(self.node.snapshot().left_since(before, gone), Vec::<&str>::new());
        assert_eq!(self.entries(), Vec::<Value>::new());
    }
}

#[test]
fn what_one_attaches_the_other_checks_and_detaches() {
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let Some(bed) = Bed::start(&format!("both-{version}"), version) else { return };
        let before = bed.node.snapshot();
        for (attaches, detaches) in [(&bed.ours, &bed.go), (&bed.go, &bed.ours)] {
            let web = bed.web();
            let result = bed.run(attaches, "add", &web, &[]).unwrap();
            assert_eq!(result["cniVersion"], version);
            let _service = web.place.serve_tcp(80);
            assert_eq!(bed.node.outside.fetch_tcp(bed.node.address(), 8080).unwrap().from, "web");
            if version >= "0.4.0" {
                bed.run(detaches, "check", &web, &[]).unwrap();
            } else {
                let refusal = "configuration version \"0.3.1\" does not support the CHECK command";
                assert!(bed.run(detaches, "check", &web, &[]).unwrap_err().contains(refusal));
            }
            bed.run(detaches, "status", &web, &[]).unwrap();
            bed.run(detaches, "del", &web, &[]).unwrap();
            bed.assert_nothing_left(&before, &[&web]);
        }
    }
}

#[test]
fn entries_of_one_attachment_differ_only_in_what_is_random() {
    let Some(bed) = Bed::start("entries", "1.1.0") else { return };
    let web = bed.web();
    let mut seen = Vec::new();
    for tool in [&bed.ours, &bed.go] {
        bed.run(tool, "add", &web, &["-i", "net1"]).unwrap();
        let [mut entry] = <[Value; 1]>::try_from(bed.entries()).unwrap();
        for interface in entry["result"]["interfaces"].as_array_mut().unwrap() {
            interface["mac"] = Value::Null;
            if interface.get("sandbox").is_none() && interface["name"].as_str().unwrap().starts_with("veth") {
                interface["name"] = "veth".into();
            }
        }
        // The address is the next one each time.
        entry["result"]["ips"][0]["address"] = Value::Null;
        seen.push(entry);
        bed.run(tool, "del", &web, &["-i", "net1"]).unwrap();
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn either_collects_what_the_other_attached() {
    let Some(bed) = Bed::start("collected", "1.1.0") else { return };
    let before = bed.node.snapshot();
    for (attaches, collects, all) in [(&bed.ours, &bed.go, &[][..]), (&bed.go, &bed.ours, &["--all"][..])] {
        let web = bed.web();
        bed.run(attaches, "add", &web, &[]).unwrap();
        bed.run(collects, "gc", &web, all).unwrap();
        bed.assert_nothing_left(&before, &[&web]);
    }
}

#[test]
fn our_gc_leaves_the_living_in_peace_and_takes_the_dead() {
    let Some(bed) = Bed::start("living", "1.1.0") else { return };
    let before = bed.node.snapshot();
    let web = bed.web();
    bed.run(&bed.go, "add", &web, &[]).unwrap();
    bed.run(&bed.ours, "gc", &web, &[]).unwrap();
    bed.run(&bed.go, "check", &web, &[]).unwrap();
    assert_eq!(bed.entries().len(), 1);
    assert!(bed.node.snapshot().since(&before).iter().any(|line| line.contains("8080")));
    assert!(bed.node.snapshot().since(&before).iter().any(|line| line.ends_with("/10.88.0.2")));

    libcni::netns::Netns::remove(&web.netns).unwrap();
    bed.run(&bed.ours, "gc", &web, &[]).unwrap();
    bed.assert_released(&before);
}

#[test]
fn a_del_of_a_container_that_is_gone_finds_its_port_in_the_cache() {
    let Some(bed) = Bed::start("gone", "1.0.0") else { return };
    let before = bed.node.snapshot();
    let mut web = bed.web();
    bed.run(&bed.go, "add", &web, &[]).unwrap();
    libcni::netns::Netns::remove(&web.netns).unwrap();
    web.capabilities = json!({});
    bed.run(&bed.ours, "del", &web, &[]).unwrap();
    bed.assert_released(&before);
}
