//! A node with one network of one plugin, and the containers on it: what the tests of interface plugins start from.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::{Binaries, Container, Failure, Firewall, Network, Node, Place, Snapshot};

/// The name of the network of a [`Bed`].
pub const NETWORK: &str = "pods";

/// A node with one network.
#[derive(Debug)]
pub struct Bed {
    /// The node.
    pub node: Node,
    /// The network, called [`NETWORK`].
    pub network: Network,
    /// The node before anything was attached.
    pub before: Snapshot,
}

impl Bed {
    /// A node with a network of `plugin`, an object of a configuration list. `None`, with a printed SKIP, outside the
    /// sandbox.
    #[must_use]
    pub fn of(plugin: &Value) -> Option<Self> {
        Self::with(Firewall::Nftables, plugin)
    }

    /// The same, by this firewall.
    #[must_use]
    pub fn with(firewall: Firewall, plugin: &Value) -> Option<Self> {
        let node = Node::start_with(firewall)?;
        let network = node.network_of(NETWORK, plugin);
        let before = node.snapshot();
        Some(Self { node, network, before })
    }

    /// A new container on the network.
    #[must_use]
    pub fn attach(&self, name: &str) -> Pod {
        self.attach_to(&self.network, self.node.container(name))
    }

    /// `container` on another network.
    ///
    /// # Panics
    /// If ADD fails.
    #[must_use]
    pub fn attach_to(&self, network: &Network, container: Container) -> Pod {
        let result = network.add(&container).unwrap_or_else(|e| panic!("ADD of {}: {e:?}", container.place.name));
        Pod { container, result }
    }

    /// A container that the network refuses; nothing of it is left.
    ///
    /// # Panics
    /// If ADD succeeds, or leaves something.
    #[track_caller]
    #[must_use]
    pub fn refused(&self, container: &Container) -> Failure {
        let failure = self.network.add(container).expect_err("ADD must fail");
        self.node.assert_nothing_left(&self.before, &[container]);
        failure
    }

    /// What CHECK of `pod` complains about.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    #[must_use]
    pub fn complaint(&self, pod: &Pod) -> String {
        words(&self.network.check(&pod.container).expect_err("CHECK must complain"))
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Place {
        &self.node.host
    }

    /// A link of the host.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn link(&self, name: &str) -> Value {
        self.host().find_link(name).unwrap_or_else(|| panic!("the host has no link {name}"))
    }

    /// Nothing of the host is gone since `earlier` and nothing of an attachment is new. (The kernel adds link-local
    /// addresses a little later.)
    ///
    /// # Panics
    /// If it is not so.
    #[track_caller]
    pub fn assert_unchanged_since(&self, earlier: &Snapshot) {
        let now = self.node.snapshot();
        assert_eq!(earlier.since(&now), [] as [&str; 0], "lost");
        let mut new = now.since(earlier);
        new.retain(|line| !line.contains("fe80::") && !line.contains("ff00::/8"));
        assert_eq!(new, [] as [&str; 0], "new");
    }

    /// DEL of all, after which nothing is left.
    ///
    /// # Panics
    /// If DEL fails, or something is left.
    #[track_caller]
    pub fn end(&self, pods: &[&Pod]) {
        let containers: Vec<&Container> = pods.iter().map(|pod| &pod.container).collect();
        for container in &containers {
            self.network.del(container).expect("DEL");
            assert!(container.place.find_link(&container.ifname).is_none(), "the interface is still there");
        }
        self.node.assert_nothing_left(&self.before, &containers);
    }
}

/// An attached container.
#[derive(Debug)]
pub struct Pod {
    /// The container.
    pub container: Container,
    /// What ADD returned.
    pub result: Value,
}

impl Pod {
    /// The inside.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.container.place
    }

    /// Its address of this number.
    ///
    /// # Panics
    /// If it has not so many.
    #[must_use]
    pub fn ip(&self, number: usize) -> IpAddr {
        let net: ipnet::IpNet = text(&self.result, &format!("/ips/{number}/address")).parse().expect("an address");
        net.addr()
    }

    /// Its interface, as `ip` shows it.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn interface(&self) -> Value {
        self.place().find_link(&self.container.ifname).expect("the container's interface")
    }
}

/// A node whose plugins are replaced under running containers.
#[derive(Debug)]
pub struct Swap {
    /// The node.
    pub node: Node,
    /// The node before anything was attached.
    pub before: Snapshot,
    /// The network, served by the plugins under test.
    pub ours: Network,
    /// The same network and attachments, served by the Go plugins.
    pub theirs: Network,
}

impl Swap {
    /// A network of `plugin`. `None`, with a printed SKIP, outside the sandbox or without both sets of binaries.
    #[must_use]
    pub fn of(firewall: Firewall, plugin: &Value) -> Option<Self> {
        let (ours, reference) = Binaries::both()?;
        let node = Node::start_with(firewall)?;
        let list = json!({"cniVersion": "1.1.0", "name": NETWORK, "plugins": [plugin]});
        let theirs = node.network_by(list, &reference);
        let ours = theirs.served_by(&ours);
        let before = node.snapshot();
        Some(Self { node, before, ours, theirs })
    }

    /// A new container on `network`, which is one of the two.
    ///
    /// # Panics
    /// If ADD fails.
    #[must_use]
    pub fn attach(&self, network: &Network, name: &str) -> Pod {
        let container = self.node.container(name);
        let result = network.add(&container).unwrap_or_else(|e| panic!("ADD of {name}: {e:?}"));
        Pod { container, result }
    }
}

/// `host-local` with these subnets, one range set each.
#[must_use]
pub fn host_local(subnets: &[&str]) -> Value {
    let sets: Vec<Value> = subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    json!({"type": "host-local", "ranges": sets})
}

/// The plugin `tests/fixtures/plugins/scripted`, which replies to ADD with these addresses and routes.
#[must_use]
pub fn scripted(ips: &Value, routes: &Value) -> Value {
    json!({"type": "scripted", "add": {"cniVersion": "1.1.0", "ips": ips, "routes": routes}})
}

/// Puts `keys` into `object`.
///
/// # Panics
/// If either is no object.
pub fn merge(object: &mut Value, keys: &Value) {
    let object = object.as_object_mut().expect("an object");
    object.extend(keys.as_object().expect("an object").clone());
}

/// All that an error says.
#[must_use]
pub fn words(failure: &Failure) -> String {
    format!("{}: {}", failure.msg, failure.details)
}

/// The string at a JSON pointer.
///
/// # Panics
/// If there is none.
#[track_caller]
#[must_use]
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}")).to_owned()
}

/// The strings of `key` in a list of objects.
#[must_use]
pub fn all(list: &Value, key: &str) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|object| object[key].as_str().map(str::to_owned)).collect()
}
