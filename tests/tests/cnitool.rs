//! Two runtimes on one node: our cnitool and the Go one, on the same configuration, cache and plugins (the
//! reference's, so that only the runtimes differ). What one attaches, the other checks, detaches and collects. And what
//! a trace by ours of ours tells, beside what the kernel tells.
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
        self.entry_files().into_iter().map(|(_, entry)| entry).collect()
    }

    fn entry_files(&self) -> Vec<(PathBuf, Value)> {
        let files = libcni::store::files(CACHE.as_ref()).unwrap();
        let entry = |path: PathBuf| {
            let entry = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
            Some((path, entry))
        };
        files
            .into_iter()
            .filter_map(entry)
            .filter(|(_, entry): &(_, Value)| entry["networkName"] == *self.network)
            .collect()
    }

    /// Whether the published port and the address of `web` are there.
    fn is_connected(&self, before: &Snapshot) -> bool {
        let after = self.node.snapshot();
        let has = |sign: &dyn Fn(&str) -> bool| after.since(before).into_iter().any(sign);
        has(&|line| line.contains("8080")) && has(&|line| line.ends_with("/10.88.0.2"))
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
    assert!(bed.is_connected(&before));

    libcni::netns::Netns::remove(&web.netns).unwrap();
    bed.run(&bed.ours, "gc", &web, &[]).unwrap();
    bed.assert_released(&before);
}

/// The Go libcni of containerd 1.6 does not write the namespace, and results before 0.3.0 do not have it either.
#[test]
fn our_gc_leaves_the_living_in_peace_whose_namespace_is_not_in_the_cache() {
    let Some(bed) = Bed::start("old", "1.1.0") else { return };
    let before = bed.node.snapshot();
    let web = bed.web();
    bed.run(&bed.go, "add", &web, &[]).unwrap();
    let [(path, entry)] = <[(PathBuf, Value); 1]>::try_from(bed.entry_files()).unwrap();
    let mut old = entry.clone();
    old.as_object_mut().unwrap().remove("netns").unwrap();
    let mut oldest = old.clone();
    oldest["result"] = json!({"cniVersion": "1.1.0", "ips": [{"address": entry["result"]["ips"][0]["address"]}]});
    for known in [&old, &oldest] {
        write_atomic(&path, known.to_string().as_bytes(), 0o600).unwrap();
        bed.run(&bed.ours, "gc", &web, &[]).unwrap();
        assert!(bed.is_connected(&before), "{known}");
        write_atomic(&path, entry.to_string().as_bytes(), 0o600).unwrap();
        bed.run(&bed.go, "check", &web, &[]).unwrap();
    }
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

/// A trace by our tool of our plugins: what it wrote to stdout and stderr, and whether it succeeded.
fn trace(node: &Node, plugins: &Binaries, arguments: &[&str], container: &Container) -> (String, String, bool) {
    let mut command = Command::new(plugins.plugin("cnitool"));
    command.arg("trace").args(arguments).arg("traced").arg(&container.netns);
    command.env("CNI_PATH", plugins.dir()).env("NETCONFPATH", node.dir().join("net.d")).env("COLUMNS", "100");
    command.env("PATH", node.program_path()).env("CAP_ARGS", container.capabilities.to_string());
    let output = node.host.run(|| command.output()).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.success())
}

/// A node with the network "traced" by our plugins.
fn traced() -> Option<(Node, Binaries)> {
    let (node, plugins) = (Node::start()?, Binaries::ours()?);
    let mut conflist = node.network_by(fixture("bridge-portmap.conflist"), &plugins).conflist;
    conflist["name"] = "traced".into();
    let dir = node.dir().join("net.d");
    std::fs::create_dir(&dir).unwrap();
    write_atomic(&dir.join("10.conflist"), conflist.to_string().as_bytes(), 0o644).unwrap();
    Some((node, plugins))
}

/// The texts of what a call changed in a place, by kind.
fn changed<'v>(call: &'v Value, place: &str, change: &str, kind: &str) -> Vec<&'v str> {
    let all = call["changes"][place].as_array().unwrap().iter();
    let of = all.filter(|entry| entry["change"] == change && entry["kind"] == kind && entry["automatic"] == false);
    of.map(|entry| entry["text"].as_str().unwrap()).collect()
}

#[test]
fn a_trace_tells_what_the_kernel_and_the_result_tell() {
    let Some((node, plugins)) = traced() else { return };
    let (before, links) = (node.snapshot(), node.host.json("ip -j link").as_array().unwrap().len());
    let web = node.container("web").publish("tcp", 8080, 80);
    let (stdout, stderr, succeeded) = trace(&node, &plugins, &["--format", "json", "add"], &web);
    assert!(succeeded, "{stderr}");
    let trace_of_add: Value = serde_json::from_str(&stdout).unwrap();
    let [bridge, portmap] = <[Value; 2]>::try_from(trace_of_add["calls"].as_array().unwrap().clone()).unwrap();
    assert_eq!((&bridge["plugin"], &portmap["plugin"]), (&"bridge".into(), &"portmap".into()));
    assert_eq!(portmap["stdin"]["prevResult"], bridge["result"]);
    assert_eq!(portmap["stdin"]["runtimeConfig"], web.capabilities);
    assert_eq!(bridge["ipam"]["plugin"], "host-local");
    assert!(bridge["milliseconds"].as_f64().unwrap() > 0.0);
    assert!(trace_of_add["milliseconds"].as_f64() > bridge["milliseconds"].as_f64());

    // What `ip` shows is what appeared.
    let address = bridge["result"]["ips"][0]["address"].as_str().unwrap();
    let [eth0] = changed(&bridge, "container", "added", "address")[..] else { panic!("{bridge:#}") };
    assert!(eth0.starts_with(&format!("eth0 {address} ")), "{eth0}");
    assert_eq!(
        changed(&bridge, "host", "added", "link").len(),
        node.host.json("ip -j link").as_array().unwrap().len() - links
    );
    let lines = |text: String| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let mut routes = lines(web.place.sh("ip route"));
    let mut seen = changed(&bridge, "container", "added", "route");
    routes.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, routes);
    // What `nft` shows is what appeared.
    let ruleset = node.host.sh("nft list table inet ferrule_portmap");
    let elements = changed(&portmap, "host", "added", "nft-element");
    let published = elements.iter().find(|line| line.contains("hostports4 {")).unwrap();
    let body = published.split_once("{ ").unwrap().1.trim_end_matches(" }");
    assert!(body.starts_with("tcp . 8080") && ruleset.contains(body), "{body}: {ruleset}");

    let (stdout, stderr, succeeded) = trace(&node, &plugins, &["check", "--format", "json"], &web);
    assert!(succeeded, "{stderr}");
    let trace_of_check: Value = serde_json::from_str(&stdout).unwrap();
    for call in trace_of_check["calls"].as_array().unwrap() {
        assert!(call["changes"]["host"].as_array().unwrap().iter().all(|entry| entry["automatic"] == true), "{call:#}");
    }

    let (stdout, stderr, succeeded) = trace(&node, &plugins, &["del"], &web);
    assert!(succeeded, "{stderr}");
    for part in [
        "1. portmap DEL succeeded after ",
        "2. bridge DEL succeeded after ",
        &format!("     - address eth0 {address} brd 10.88.255.255 scope global"),
        "     - nft-element inet ferrule_portmap hostports4 { tcp . 8080 comment",
        "prevResult: as that of portmap DEL above",
        "ipam: host-local, called by bridge in its own process",
        "\n  portmap DEL ",
        "\n  total ",
    ] {
        assert!(stdout.contains(part), "no {part:?} in {stdout}");
    }
    assert!(stdout.lines().all(|line| line.chars().count() <= 100), "{stdout}");
    assert_eq!(node.snapshot().left_since(&before, &[&web]), Vec::<&str>::new());
}

#[test]
fn a_trace_of_a_failure_shows_who_failed_and_the_roll_back() {
    let Some((node, plugins)) = traced() else { return };
    let (web, other) =
        (node.container("web").publish("tcp", 8080, 80), node.container("other").publish("tcp", 8080, 80));
    assert!(trace(&node, &plugins, &["add"], &web).2);
    let before = node.snapshot();
    let (stdout, stderr, succeeded) = trace(&node, &plugins, &["add"], &other);
    assert!(!succeeded);
    for part in
        ["1. bridge ADD succeeded", "2. portmap ADD failed", "3. bridge DEL (roll-back) succeeded", "error:", "8080"]
    {
        assert!(stdout.contains(part), "no {part:?} in {stdout}");
    }
    assert!(stderr.contains("plugin type=\"portmap\" failed (add)"), "{stderr}");
    let (stdout, _, _) = trace(&node, &plugins, &["add", "--format", "json"], &other);
    let trace_of_add: Value = serde_json::from_str(&stdout).unwrap();
    let [bridge, portmap, undone] = <[Value; 3]>::try_from(trace_of_add["calls"].as_array().unwrap().clone()).unwrap();
    assert_eq!(
        (&bridge["rollBack"], &portmap["rollBack"], &undone["rollBack"]),
        (&false.into(), &false.into(), &true.into())
    );
    assert_eq!((&portmap["error"]["code"], &portmap["result"]), (&100.into(), &Value::Null));
    assert!(trace_of_add["error"].as_str().unwrap().contains("portmap"));
    let veth = changed(&bridge, "host", "added", "link");
    assert_eq!(changed(&undone, "host", "removed", "link"), veth);
    assert_eq!(node.snapshot().left_since(&before, &[&other]), Vec::<&str>::new());
    assert!(trace(&node, &plugins, &["del"], &web).2);
}
