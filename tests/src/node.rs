//! A node of its own for each test: a host namespace, the world outside, containers, and directories for state.
//!
//! ```text
//!   outside 192.0.2.1, 2001:db8::1  ──veth──  uplink 192.0.2.2, 2001:db8::2  host  ──(the plugins)──  containers
//! ```
//! The outside has no route to the containers, so what reaches it and is answered was masqueraded.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libcni::netns::Netns;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::patience::{eventually, within};
use crate::skip::in_sandbox;
use crate::{Binaries, Container, Firewall, Network, Place, Snapshot};

/// In the sandbox this is a tmpfs that ends with it, also when the tests are killed.
const STATE: &str = "/run";

/// After this long the kernel has finished what it does later.
const SETTLED: Duration = Duration::from_secs(3);

/// A machine that runs containers, made of namespaces.
#[derive(Debug)]
pub struct Node {
    /// The machine itself: here the plugins run.
    pub host: Arc<Place>,
    /// A machine on the host's uplink.
    pub outside: Place,
    /// Where state is kept.
    dir: TempDir,
    firewall: Firewall,
    containers: AtomicUsize,
}

impl Node {
    /// A node whose firewall is nf_tables; `None`, with a printed SKIP, outside the sandbox.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(Firewall::Nftables)
    }

    /// A node on which `iptables` is the program that `firewall` means, and whose networks use this backend. `None`,
    /// with a printed SKIP, outside the sandbox or where the backend is missing.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn start_with(firewall: Firewall) -> Option<Self> {
        if !in_sandbox() || !firewall.available() {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("node-").tempdir_in(STATE).expect("directory of the node");
        let place = |name: &str| {
            let netns = Netns::create(dir.path().join("ns").join(name)).expect("namespace");
            Place { name: name.to_owned(), netns: netns.path().to_owned() }
        };
        let (host, outside) = (Arc::new(place("host")), place("outside"));
        let node = Self { host, outside, dir, firewall, containers: AtomicUsize::new(0) };
        node.wire();
        Some(node)
    }

    /// The uplink between the host and the outside.
    fn wire(&self) {
        self.host.sh("ip link set lo up");
        self.outside.sh("ip link set lo up");
        let outside = self.outside.netns.display();
        // `ip` knows only names of /run/netns, but takes any path.
        self.host.sh(&format!("ip link add uplink type veth peer name uplink netns {outside}"));
        for (place, me) in [(&*self.host, 2), (&self.outside, 1)] {
            // No link-local address: it would appear some time later, and in snapshots.
            place.sh("ip link set uplink addrgenmode none");
            place.sh(&format!("ip address add 192.0.2.{me}/24 dev uplink"));
            place.sh(&format!("ip address add 2001:db8::{me}/64 dev uplink nodad"));
            place.sh("ip link set uplink up");
        }
        self.host.sh("ip route add default via 192.0.2.1");
        self.host.sh("ip route add default via 2001:db8::1");
        // The kernel adds the routes of IPv6 addresses a little later; a snapshot must not see that.
        for (place, me) in [(&*self.host, 2), (&self.outside, 1)] {
            eventually("IPv6 address in use", || {
                !place.sh(&format!("ip -6 route show table local 2001:db8::{me}")).is_empty()
            });
        }
    }

    /// A second network card of the host, `lan`, which is up and has no address; the outside has 10.5.0.254 and
    /// fd00:5::fe on its end of it. To be called before snapshots are taken.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn plug_lan(&self) {
        let outside = self.outside.netns.display();
        self.host.sh(&format!("ip link add lan type veth peer name lan netns {outside}"));
        for place in [&*self.host, &self.outside] {
            place.sh("ip link set lan addrgenmode none");
            place.sh("ip link set lan up");
        }
        self.outside.sh("ip address add 10.5.0.254/24 dev lan");
        self.outside.sh("ip address add fd00:5::fe/64 dev lan nodad");
        // The kernel does the rest a little later.
        eventually("IPv6 address in use", || !self.outside.sh("ip -6 route show table local fd00:5::fe").is_empty());
        eventually("IPv6 on lan", || !self.host.sh("ip -6 route show table local dev lan").is_empty());
    }

    /// The host's address as the outside sees it.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, 2).into()
    }

    /// The host's IPv6 address as the outside sees it.
    #[must_use]
    pub fn address_v6(&self) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into()
    }

    /// The outside's address.
    #[must_use]
    pub fn outside_address(&self) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, 1).into()
    }

    /// The outside's IPv6 address.
    #[must_use]
    pub fn outside_address_v6(&self) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()
    }

    /// A new container; its ID has the form that real runtimes use, 64 hexadecimal digits.
    ///
    /// # Panics
    /// If its namespace cannot be made.
    #[must_use]
    pub fn container(&self, name: &str) -> Container {
        let number = self.containers.fetch_add(1, Ordering::Relaxed);
        let netns = Netns::create(self.dir.path().join("ns").join(format!("{name}-{number}"))).expect("namespace");
        let id = format!("{number:04x}{}", "c0ffee".repeat(10));
        Container::new(id, name, &netns)
    }

    /// Ends the container's namespace, as a runtime does that does not wait for DEL.
    ///
    /// # Panics
    /// If it cannot be removed.
    pub fn kill(&self, container: &Container) {
        Netns::remove(&container.place.netns).expect("remove namespace");
    }

    /// A network served by the plugins under test (by the reference, if `FERRULE_BIN_DIR` says so).
    ///
    /// # Panics
    /// If `FERRULE_BIN_DIR` is not set.
    #[must_use]
    pub fn network(&self, conflist: Value) -> Network {
        self.network_by(conflist, &Binaries::ours().expect("FERRULE_BIN_DIR"))
    }

    /// The network `name` of one plugin, served as [`Node::network`], in the newest version of the specification.
    ///
    /// # Panics
    /// If `FERRULE_BIN_DIR` is not set.
    #[must_use]
    pub fn network_of(&self, name: &str, plugin: &Value) -> Network {
        self.network(json!({"cniVersion": "1.1.0", "name": name, "plugins": [plugin]}))
    }

    /// A network served by `binaries`, with this node's firewall backend and its own `dataDir`s.
    #[must_use]
    pub fn network_by(&self, conflist: Value, binaries: &Binaries) -> Network {
        let mut conflist = self.firewall.configure(conflist);
        for plugin in conflist["plugins"].as_array_mut().into_iter().flatten() {
            self.own_directories(plugin);
        }
        Network::new(conflist, binaries.clone(), Arc::clone(&self.host), self.program_path(), self.data_dir())
    }

    /// Lets the plugin with this configuration keep its state in directories of this node.
    pub(crate) fn own_directories(&self, plugin: &mut Value) {
        let data_dir = self.data_dir();
        if plugin["ipam"]["type"] == "host-local" {
            plugin["ipam"]["dataDir"] = json!(data_dir);
        }
        if plugin["type"] == "tuning" && plugin["dataDir"].is_null() {
            plugin["dataDir"] = json!(data_dir.join("tuning"));
        }
    }

    /// Where host-local keeps addresses on this node.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("networks")
    }

    /// A directory of this node, which ends with it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `PATH` on this node.
    #[must_use]
    pub fn program_path(&self) -> String {
        let programs = self.firewall.programs(self.dir.path());
        format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default())
    }

    /// What attachments left behind since `before`, as [`Snapshot::left_since`] says. Where a namespace just ended,
    /// the kernel removes its links a little later: what is left for good is left after a while.
    #[must_use]
    pub fn left_since(&self, before: &Snapshot, gone: &[&Container]) -> Vec<String> {
        let mut left = Vec::new();
        within(SETTLED, || {
            left = self.snapshot().left_since(before, gone).into_iter().map(str::to_owned).collect();
            left.is_empty()
        });
        left
    }

    /// Asserts that [`Node::left_since`] is empty.
    ///
    /// # Panics
    /// If something is left.
    #[track_caller]
    pub fn assert_nothing_left(&self, before: &Snapshot, gone: &[&Container]) {
        let left = self.left_since(before, gone);
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    }

    /// Everything on the host that a plugin could leave behind.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.host, &self.data_dir(), self.firewall)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let names = std::fs::read_dir(self.dir.path().join("ns")).into_iter().flatten().flatten();
        for name in names {
            // The sandbox ends with the test program anyway.
            let _ = Netns::remove(name.path());
        }
    }
}
