//! The plugin `bridge`: every field and every verb, seen by packets, by the state of the kernel and by what is left.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod address;
mod check;
mod failures;
mod link;
mod mac;
mod masquerade;
mod remove;
mod route;
mod spoof;
mod swap;
mod versions;
mod vlan;

use std::net::IpAddr;

use ferrule_tests::{Container, Failure, Firewall, Network, Node, Place, Snapshot};
use serde_json::{Value, json};

/// The name of the network of a [`Bed`].
const NETWORK: &str = "pods";

/// A node with one network of the plugin `bridge`.
struct Bed {
    node: Node,
    network: Network,
    before: Snapshot,
}

impl Bed {
    /// With these keys beside `type`; `None`, with a printed SKIP, outside the sandbox.
    fn start(keys: &Value) -> Option<Self> {
        Self::start_with(Firewall::Nftables, keys)
    }

    fn start_with(firewall: Firewall, keys: &Value) -> Option<Self> {
        let node = Node::start_with(firewall)?;
        let network = node.network_of(NETWORK, &plugin(keys));
        let before = node.snapshot();
        Some(Self { node, network, before })
    }

    /// A second network on the node.
    fn network(&self, name: &str, keys: &Value) -> Network {
        self.node.network_of(name, &plugin(keys))
    }

    /// A new container on the network.
    fn attach(&self, name: &str) -> Pod {
        self.attach_to(&self.network, self.node.container(name))
    }

    fn attach_to(&self, network: &Network, container: Container) -> Pod {
        let result = network.add(&container).unwrap_or_else(|e| panic!("ADD of {}: {e:?}", container.place.name));
        Pod { container, result }
    }

    /// A container that the network refuses; nothing of it is left.
    #[track_caller]
    fn refused(&self, container: &Container) -> Failure {
        let failure = self.network.add(container).expect_err("ADD must fail");
        self.node.assert_nothing_left(&self.before, &[container]);
        failure
    }

    fn host(&self) -> &Place {
        &self.node.host
    }

    /// A link of the host.
    #[track_caller]
    fn link(&self, name: &str) -> Value {
        self.host().find_link(name).unwrap_or_else(|| panic!("the host has no link {name}"))
    }

    /// Nothing of the host is gone since `earlier` and nothing of an attachment is new. (The kernel adds link-local
    /// addresses a little later.)
    #[track_caller]
    fn assert_unchanged_since(&self, earlier: &Snapshot) {
        let now = self.node.snapshot();
        assert_eq!(earlier.since(&now), [] as [&str; 0], "lost");
        let mut new = now.since(earlier);
        new.retain(|line| !line.contains("fe80::") && !line.contains("ff00::/8"));
        assert_eq!(new, [] as [&str; 0], "new");
    }

    /// DEL of all, after which nothing is left.
    #[track_caller]
    fn end(&self, pods: &[&Pod]) {
        let containers: Vec<&Container> = pods.iter().map(|pod| &pod.container).collect();
        for container in &containers {
            self.network.del(container).expect("DEL");
            assert!(container.place.find_link(&container.ifname).is_none(), "the interface is still there");
        }
        self.node.assert_nothing_left(&self.before, &containers);
    }
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

    /// Its address of this number.
    fn ip(&self, number: usize) -> IpAddr {
        let address = text(&self.result, &format!("/ips/{number}/address"));
        address.split('/').next().unwrap().parse().unwrap()
    }

    /// Its interface as `ip` shows it.
    fn eth0(&self) -> Value {
        self.place().find_link("eth0").expect("eth0")
    }

    /// The name of the host's end.
    fn port(&self) -> String {
        text(&self.result, "/interfaces/1/name")
    }
}

/// The object of a configuration list.
fn plugin(keys: &Value) -> Value {
    let mut plugin = json!({"type": "bridge", "bridge": "br0", "capabilities": {"mac": true, "ips": true}});
    merge(&mut plugin, keys);
    plugin
}

fn merge(object: &mut Value, keys: &Value) {
    let object = object.as_object_mut().unwrap();
    object.extend(keys.as_object().unwrap().clone());
}

/// `host-local` with these subnets, one range set each.
fn host_local(subnets: &[&str]) -> Value {
    let sets: Vec<Value> = subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    json!({"type": "host-local", "ranges": sets})
}

/// The plugin `tests/fixtures/plugins/scripted`, which replies to ADD with these addresses and routes.
fn scripted(ips: &Value, routes: &Value) -> Value {
    json!({"type": "scripted", "add": {"cniVersion": "1.1.0", "ips": ips, "routes": routes}})
}

/// All that an error says.
fn words(failure: &Failure) -> String {
    format!("{}: {}", failure.msg, failure.details)
}

/// The string at a JSON pointer.
#[track_caller]
fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}")).to_owned()
}

/// The strings of `key` in a list of objects.
fn all(list: &Value, key: &str) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|object| object[key].as_str().map(str::to_owned)).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
