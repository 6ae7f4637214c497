//! The real firewalld, on a system bus of its own in the node's namespace.

use std::process::{Child, Command, Stdio};

use ferrule_tests::{Binaries, Container, Firewall, Network, Node, eventually, installed};
use serde_json::{Value, json};

use crate::{FIREWALL, attach, is_cut_off, network, reaches_outside, route_back, rules};

/// The bus's rules: everybody may do everything.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=SOCKET</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_requested_reply="true" send_type="*"/><allow receive_type="*"/><allow send_destination="*"/></policy></busconfig>"#;

/// A bus, and a firewalld on it while `daemon` runs.
struct Bus<'n> {
    node: &'n Node,
    bus: Child,
    daemon: Option<Child>,
}

impl<'n> Bus<'n> {
    fn start(node: &'n Node) -> Self {
        let config = node.dir().join("bus.conf");
        let text = BUS.replace("SOCKET", &Self::socket(node));
        libcni::store::write_atomic(&config, text.as_bytes(), 0o644).expect("bus.conf");
        let mut bus = Command::new("dbus-daemon");
        bus.arg(format!("--config-file={}", config.display())).args(["--nofork", "--nopidfile"]).stderr(Stdio::null());
        let bus = node.host.run(|| bus.spawn()).expect("dbus-daemon");
        let this = Self { node, bus, daemon: None };
        eventually("the bus listens", || std::path::Path::new(&Self::socket(node)).exists());
        this
    }

    fn socket(node: &Node) -> String {
        node.dir().join("bus").to_str().unwrap().to_owned()
    }

    fn address(&self) -> String {
        format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={}", Self::socket(self.node))
    }

    fn with_firewalld(mut self) -> Self {
        let config = self.node.dir().join("firewalld");
        std::fs::create_dir_all(&config).unwrap();
        let mut daemon = Command::new("env");
        daemon.args([&self.address(), "firewalld", "--nofork", "--nopid"]);
        daemon.arg("--system-config").arg(&config).arg("--log-file").arg(config.join("log"));
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.daemon = Some(self.node.host.run(|| daemon.spawn()).expect("firewalld"));
        eventually("firewalld runs", || self.try_ask("--state").is_ok());
        self
    }

    fn stop_firewalld(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("kill firewalld");
            daemon.wait().expect("firewalld");
        }
    }

    /// What `firewall-cmd` says.
    fn try_ask(&self, question: &str) -> Result<String, String> {
        self.node.host.try_sh(&format!("env {} firewall-cmd {question}", self.address()))
    }

    fn ask(&self, question: &str) -> String {
        self.try_ask(question).expect(question).trim().to_owned()
    }

    /// The sources of a zone, sorted.
    fn sources(&self, zone: &str) -> Vec<String> {
        let listed = self.ask(&format!("--zone={zone} --list-sources"));
        let mut sources: Vec<String> = listed.split_whitespace().map(str::to_owned).collect();
        sources.sort();
        sources
    }

    /// A network whose plugins know this bus.
    fn network(&self, number: u8, settings: &Value) -> Network {
        network(self.node, number, settings).wrapped_in(&["env", &self.address()])
    }

    /// One verb of `firewall` alone.
    fn run(&self, network: &Network, verb: &str, container: &Container, result: &Value) -> Result<Value, String> {
        let (name, value) = self.address().split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap();
        let invocation = network.invocation(verb, FIREWALL, Some(container), result).env(&name, value);
        invocation.run(&self.node.host).reply().map_err(|failure| format!("{}: {}", failure.msg, failure.details))
    }
}

impl Drop for Bus<'_> {
    fn drop(&mut self) {
        for child in self.daemon.iter_mut().chain([&mut self.bus]) {
            // One that has ended already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn can_run() -> bool {
    installed(&["firewalld", "firewall-cmd", "dbus-daemon"])
}

#[test]
fn containers_become_sources_of_a_zone_and_pass() {
    if !can_run() {
        return;
    }
    let Some(node) = Node::start_with(Firewall::IptablesNft) else { return };
    route_back(&node);
    let bus = Bus::start(&node).with_firewalld();
    // Docker besides.
    node.host.sh("iptables-nft -P FORWARD DROP");
    node.host.sh("ip6tables-nft -P FORWARD DROP");
    let network = bus.network(1, &json!({"backend": "", "ingressPolicy": "isolated"}));
    let before = node.snapshot();
    let (web, other) = (node.container("web"), node.container("other"));
    let stranger = node.container("stranger");
    network.invocation("ADD", 0, Some(&stranger), &Value::Null).run(&node.host).reply().expect("bridge");
    assert!(is_cut_off(&node, &stranger), "firewalld drops what it was not told of");
    let ips = attach(&node, &network, &web);
    assert_eq!(reaches_outside(&node, &web), [true; 2]);
    assert_eq!(bus.sources("trusted"), [format!("{}/32", ips[0]), format!("{}/128", ips[1])]);
    network.check(&web).expect("CHECK");
    let others = attach(&node, &network, &other);
    assert!(web.place.is_unreachable(others[0]) && web.place.is_unreachable(others[1]), "isolated");

    network.del(&web).expect("DEL");
    assert_eq!(bus.sources("trusted"), [format!("{}/32", others[0]), format!("{}/128", others[1])]);
    node.kill(&other);
    network.gc(&[]).expect("GC");
    assert_eq!(bus.sources("trusted"), [""; 0]);
    network.del(&stranger).expect("DEL");
    network.del(&other.clone().without_netns()).expect("DEL");
    let mut left = node.left_since(&before, &[&web, &other, &stranger]);
    left.retain(|line| !line.contains("inet firewalld"));
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_reload_is_told_by_check_and_repaired_by_add() {
    if !can_run() {
        return;
    }
    let Some(node) = Node::start() else { return };
    let mut bus = Bus::start(&node).with_firewalld();
    let network = bus.network(1, &json!({"backend": "firewalld", "firewalldZone": "work"}));
    let web = node.container("web");
    let result = network.add(&web).expect("ADD");
    network.check(&web).expect("CHECK");
    assert_eq!(bus.sources("work"), ["10.81.0.2/32", "fd81::2/128"]);
    bus.run(&network, "ADD", &web, &result).expect("ADD again");
    bus.ask("--reload");
    let failure = network.check(&web).expect_err("reloaded");
    assert!(failure.msg.contains("10.81.0.2 is no source of zone work of firewalld"), "{failure:?}");
    bus.run(&network, "ADD", &web, &result).expect("ADD repairs");
    network.check(&web).expect("CHECK");
    // The zone of the configuration is another by now, and the result is lost.
    let moved = bus.network(1, &json!({"backend": "firewalld"}));
    bus.run(&moved, "DEL", &web, &Value::Null).expect("DEL");
    assert_eq!(bus.sources("work"), [""; 0]);
    bus.run(&network, "ADD", &web, &result).expect("ADD");
    // Without firewalld its sources are gone; the record of them goes too.
    bus.stop_firewalld();
    network.status().expect_err("STATUS");
    bus.run(&network, "DEL", &web, &result).expect("DEL without firewalld");
    eventually("no record", || !rules(&node).iter().any(|line| line.contains(&web.id)));
    let failure = bus.run(&network, "ADD", &web, &result).expect_err("ADD without firewalld");
    assert!(failure.starts_with("firewalld is not running"), "{failure}");
    assert!(!rules(&node).iter().any(|line| line.contains(&web.id)));
    // A bus without firewalld is no reason to choose it.
    let auto = bus.network(1, &json!({"backend": ""}));
    bus.run(&auto, "ADD", &web, &result).expect("ADD by nftables");
    bus.run(&auto, "CHECK", &web, &result).expect("CHECK");
}

#[test]
fn what_firewalld_refuses_is_told_and_undone() {
    if !can_run() {
        return;
    }
    let Some(node) = Node::start() else { return };
    let bus = Bus::start(&node).with_firewalld();
    let network = bus.network(1, &json!({"backend": "firewalld", "firewalldZone": "nowhere"}));
    let web = node.container("web");
    let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
    let failure = bus.run(&network, "ADD", &web, &result).expect_err("no such zone");
    assert!(failure.starts_with("cannot add source 10.81.0.2 to zone nowhere: firewalld says "), "{failure}");
    assert!(failure.contains("INVALID_ZONE"), "{failure}");
    eventually("undone", || !rules(&node).iter().any(|line| line.contains(&web.id)));
}

#[test]
fn what_the_go_plugin_told_firewalld_is_checked_and_taken_back() {
    let Some((ours, go)) = Binaries::both() else { return };
    if !can_run() {
        return;
    }
    let Some(node) = Node::start() else { return };
    let bus = Bus::start(&node).with_firewalld();
    let network = bus.network(1, &json!({"backend": "firewalld"}));
    let web = node.container("web");
    let result = network.invocation("ADD", 0, Some(&web), &Value::Null).run(&node.host).reply().expect("bridge");
    bus.run(&network.served_by(&go), "ADD", &web, &result).expect("ADD by Go");
    assert_eq!(bus.sources("trusted"), ["10.81.0.2/32", "fd81::2/128"]);
    bus.run(&network.served_by(&ours), "CHECK", &web, &result).expect("CHECK by ours");
    bus.run(&network.served_by(&ours), "DEL", &web, &result).expect("DEL by ours");
    assert_eq!(bus.sources("trusted"), [""; 0]);
    bus.run(&network, "ADD", &web, &result).expect("ADD by ours");
    bus.run(&network.served_by(&go), "CHECK", &web, &result).expect("CHECK by Go");
    bus.run(&network.served_by(&go), "DEL", &web, &result).expect("DEL by Go");
    assert_eq!(bus.sources("trusted"), [""; 0]);
}
