//! The plugin `dhcp` and its daemon, with real servers and real packets: dnsmasq where a server is needed as people have
//! it, one of this crate where it must misbehave or give leases of seconds.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod chain;
mod daemon;
mod dnsmasq;
mod loss;
mod orphans;
mod protocol;
mod renewal;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use ferrule_tests::{Binaries, Container, Failure, Invocation, Network, Node, Place, Snapshot};
use serde_json::{Value, json};

use crate::daemon::Daemon;

/// The name of the network of a [`Bed`].
const NETWORK: &str = "lan";

/// A node whose bridge `br0` leads to a machine on which a DHCP server can run.
struct Bed {
    node: Node,
    /// The machine of the server: its `eth0` is a port of the bridge and has 10.7.0.1/24.
    server: Arc<Place>,
    network: Network,
    before: Snapshot,
}

impl Bed {
    /// `None`, with a printed SKIP, outside the sandbox.
    fn start() -> Option<Self> {
        Self::start_with(&json!({"type": "bridge", "bridge": "br0"}), &json!({}))
    }

    /// With this plugin, and these keys beside the `type` of its IPAM.
    fn start_with(plugin: &Value, ipam: &Value) -> Option<Self> {
        let node = Node::start()?;
        let server = node.container("server").place;
        node.host.sh("ip link add br0 type bridge");
        node.host.sh("ip link set br0 up addrgenmode none");
        let netns = server.netns.display();
        node.host.sh(&format!("ip link add server type veth peer name eth0 netns {netns}"));
        node.host.sh("ip link set server master br0 up addrgenmode none");
        server.sh("ip address add 10.7.0.1/24 dev eth0");
        server.sh("ip link set eth0 up");
        // The kernel adds these routes a little later; a snapshot must not see that.
        for link in ["br0", "server"] {
            let routes = format!("ip -6 route show table local dev {link}");
            ferrule_tests::eventually("multicast routes", || node.host.sh(&routes).contains("ff00::/8"));
        }
        // For broadcasts.
        server.sh("ip route add default dev eth0");
        let mut plugin = plugin.clone();
        plugin["ipam"] = json!({"type": "dhcp", "daemonSocketPath": socket(&node)});
        plugin["ipam"].as_object_mut().unwrap().extend(ipam.as_object().unwrap().clone());
        let network = node.network_of(NETWORK, &plugin);
        let before = node.snapshot();
        Some(Self { node, server, network, before })
    }

    /// The daemon, with these flags.
    fn daemon(&self, flags: &[&str]) -> Daemon {
        Daemon::start(&self.node, flags)
    }

    fn attach(&self, name: &str) -> Pod {
        self.attach_container(self.node.container(name))
    }

    fn attach_container(&self, container: Container) -> Pod {
        let result = self.network.add(&container).unwrap_or_else(|e| panic!("ADD of {}: {e:?}", container.place.name));
        Pod { container, result }
    }

    /// A container that gets no address; nothing of it is left.
    #[track_caller]
    fn refused(&self, name: &str) -> Failure {
        let container = self.node.container(name);
        let failure = self.network.add(&container).expect_err("ADD must fail");
        self.node.assert_nothing_left(&self.before, &[&container]);
        failure
    }

    /// DEL, after which nothing is left.
    #[track_caller]
    fn end(&self, pod: &Pod) {
        self.network.del(&pod.container).expect("DEL");
        self.node.assert_nothing_left(&self.before, &[&pod.container]);
    }

    /// The files in which the daemon keeps leases.
    fn records(&self) -> Vec<PathBuf> {
        let name = socket(&self.node).trim_start_matches('/').replace('/', "%2F");
        let dir = PathBuf::from("/var/lib/cni/dhcp").join(name);
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
        files.map(|file| file.path()).collect()
    }

    /// One verb of the plugin `dhcp` itself, as a main plugin calls it.
    fn call(&self, verb: &str, container: &Container) -> Result<Value, Failure> {
        let config = json!({
            "cniVersion": "1.1.0", "name": NETWORK, "type": "bridge", "ipam": self.network.plugins()[0]["ipam"],
        });
        let invocation = Invocation::new(&Binaries::ours().unwrap().plugin("dhcp"))
            .env("CNI_COMMAND", verb)
            .env("CNI_PATH", "/nowhere")
            .env("CNI_CONTAINERID", &container.id)
            .env("CNI_NETNS", &container.netns)
            .env("CNI_IFNAME", &container.ifname);
        invocation.config(&config).run(&self.node.host).reply()
    }
}

/// Where the daemon of a node listens.
fn socket(node: &Node) -> String {
    node.dir().join("dhcp.sock").display().to_string()
}

/// An attached container.
struct Pod {
    container: Container,
    result: Value,
}

impl Pod {
    fn place(&self) -> &Place {
        &self.container.place
    }

    /// Its address with the length of its prefix.
    fn address(&self) -> String {
        self.result["ips"][0]["address"].as_str().expect("an address").to_owned()
    }

    /// Its address alone.
    fn ip(&self) -> String {
        self.address().split('/').next().unwrap().to_owned()
    }

    fn eth0(&self) -> Value {
        self.place().find_link("eth0").expect("eth0")
    }

    fn mac(&self) -> String {
        self.eth0()["address"].as_str().unwrap().to_owned()
    }

    fn is_up(&self) -> bool {
        self.eth0()["flags"].as_array().unwrap().contains(&json!("UP"))
    }
}

/// All that an error says.
fn words(failure: &Failure) -> String {
    format!("{}: {}", failure.msg, failure.details)
}
