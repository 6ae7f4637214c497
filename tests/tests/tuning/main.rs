//! The plugin `tuning`: every field and every verb, seen in the state of the container, by packets, and by what is left.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod allowlist;
mod chain;
mod check;
mod failures;
mod interface;
mod remove;
mod swap;
mod sysctl;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ferrule_tests::{Container, Failure, Network, Node};
use serde_json::{Value, json};

/// The name of the network of a [`Bed`].
const NETWORK: &str = "pods";

/// A container with an interface that no plugin made: what `tuning` does to it, and whether it is undone, can be seen.
struct Bed {
    node: Node,
    container: Container,
}

impl Bed {
    /// With the interface eth0; `None`, with a printed SKIP, outside the sandbox.
    fn start() -> Option<Self> {
        Self::start_on("eth0")
    }

    fn start_on(ifname: &str) -> Option<Self> {
        let node = Node::start()?;
        let container = node.container("web").on(ifname);
        let bed = Self { node, container };
        bed.make_interface();
        Some(bed)
    }

    fn make_interface(&self) {
        let name = &self.container.ifname;
        self.container.place.sh(&format!("ip link add {name} type veth peer name other"));
        self.container.place.sh(&format!("ip link set {name} up"));
        self.container.place.sh("ip link set other up");
    }

    fn dir(&self) -> PathBuf {
        self.node.dir().join("tuning")
    }

    /// What is written down of the container's attachment.
    fn backup(&self) -> Option<Value> {
        let path = self.dir().join(format!("{}_{}.json", self.container.id, self.container.ifname));
        let text = std::fs::read(path).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// The files in the data directory.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir()).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect()
    }

    /// The network with these keys beside `type`.
    fn network(&self, keys: &Value) -> Network {
        self.network_of(NETWORK, &[keys])
    }

    /// A network of several entries of `tuning`.
    fn network_of(&self, name: &str, entries: &[&Value]) -> Network {
        let plugins: Vec<Value> = entries.iter().map(|keys| self.plugin(keys)).collect();
        self.node.network(json!({"cniVersion": "1.1.0", "name": name, "plugins": plugins}))
    }

    fn plugin(&self, keys: &Value) -> Value {
        let mut plugin = json!({"type": "tuning", "dataDir": self.dir(), "capabilities": {"mac": true}});
        plugin.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        plugin
    }

    /// What the plugin before `tuning` returned: the container's interface, and one of the host with the same name.
    fn prev_result(&self) -> Value {
        let name = &self.container.ifname;
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": name, "mac": "0a:00:00:00:00:01", "mtu": 1500},
                {"name": name, "mac": "0a:00:00:00:00:02", "mtu": 1500, "sandbox": self.container.netns},
            ],
            "ips": [{"address": "10.1.0.5/24", "interface": 1}],
        })
    }

    /// ADD of each entry; the last result.
    fn add(&self, network: &Network) -> Result<Value, Failure> {
        self.add_of(network, &self.container)
    }

    fn add_of(&self, network: &Network, container: &Container) -> Result<Value, Failure> {
        let mut result = self.prev_result();
        for index in 0..network.plugins().len() {
            result = network.run(network.invocation("ADD", index, Some(container), &result)).reply()?;
        }
        network.remember(container, Some(result.clone()));
        Ok(result)
    }

    /// ADD of a network with these keys, which CHECK finds as it should be.
    #[track_caller]
    fn tune(&self, keys: &Value) -> Network {
        let network = self.network(keys);
        self.add(&network).unwrap_or_else(|e| panic!("ADD: {e:?}"));
        network.check(&self.container).unwrap_or_else(|e| panic!("CHECK: {e:?}"));
        network
    }

    /// ADD of a network with these keys, which fails; nothing is changed, and nothing is left.
    #[track_caller]
    fn refused(&self, keys: &Value) -> Failure {
        let before = self.state();
        let failure = self.add(&self.network(keys)).expect_err("ADD must fail");
        self.assert_untouched_since(&before, &format!("{failure:?}"));
        failure
    }

    fn sysctl(&self, key: &str) -> String {
        self.container.place.sysctl(key)
    }

    /// What the interface is set to: MAC address, MTU, queue, promiscuous, all-multicast.
    fn interface(&self) -> Settings {
        let link = self.container.place.find_link(&self.container.ifname).expect("the interface");
        let has = |flag: &str| link["flags"].as_array().unwrap().iter().any(|f| f == flag);
        Settings {
            mac: link["address"].as_str().unwrap().to_owned(),
            mtu: link["mtu"].as_u64().unwrap(),
            // `ip` says nothing of a queue of 0.
            queue: link["txqlen"].as_u64().unwrap_or(0),
            promiscuous: has("PROMISC"),
            all_multicast: has("ALLMULTI"),
        }
    }

    /// The interface, and every sysctl of the container's namespace that can be read.
    fn state(&self) -> State {
        let mut sysctls = BTreeMap::new();
        self.container.place.run(|| read_all(Path::new("/proc/sys/net"), &mut sysctls));
        State { interface: self.interface(), sysctls }
    }

    /// Everything is as it was, and nothing is written down.
    #[track_caller]
    fn assert_untouched_since(&self, before: &State, when: &str) {
        let is = self.state();
        let changed: Vec<_> = before.sysctls.iter().filter(|(key, was)| is.sysctls.get(*key) != Some(*was)).collect();
        assert!(changed.is_empty(), "{when}: of these sysctls the values were {changed:?}");
        assert_eq!(is.interface, before.interface, "{when}");
        assert_eq!(self.files(), [] as [&str; 0], "{when}");
    }
}

fn read_all(dir: &Path, into: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            read_all(&path, into);
        } else if let Ok(value) = std::fs::read_to_string(&path) {
            into.insert(path, value);
        }
    }
}

/// What `tuning` can change.
struct State {
    interface: Settings,
    sysctls: BTreeMap<PathBuf, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    mac: String,
    mtu: u64,
    queue: u64,
    promiscuous: bool,
    all_multicast: bool,
}

/// All that an error says.
fn words(failure: &Failure) -> String {
    format!("{}: {}", failure.msg, failure.details)
}

#[track_caller]
fn assert_says(failure: &Failure, code: u64, all: &[&str]) {
    let said = words(failure);
    assert_eq!(failure.code, code, "{said}");
    for part in all {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}
