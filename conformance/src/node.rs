//! The node that a case runs on: this process's own network namespace, the world outside, and containers.
//!
//! ```text
//!   outside 192.0.2.1, 2001:db8::1  ──veth──  uplink 192.0.2.2, 2001:db8::2  host  ──(the plugins)──  containers
//! ```
//! The outside has no route to the containers, so what reaches it and is answered was masqueraded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use libcni::netns::{Netns, NetnsError};
use linuxnet::NetlinkError;
use linuxnet::addr::{self, Dad};
use linuxnet::link::{self, Dev, LinkError, Veth};
use linuxnet::netlink::Netlink;
use linuxnet::route::{self, Route};
use serde_json::Value;

use crate::sandbox;

/// Name of the link between host and outside, on both.
const UPLINK: &str = "uplink";

/// Where the namespaces of containers are, by name.
pub(crate) const NETNS_DIR: &str = "/run/netns";

/// How long the kernel may take for what it does later.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the node cannot be made or changed: no fault of a plugin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Sysctl(#[from] linuxnet::sysctl::SysctlError),
    #[error("cannot use \"{0}\" as {1}")]
    Value(String, &'static str),
    #[error("there is no link {1} in {0}")]
    NoLink(String, String),
    #[error("cannot use {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    #[error("cannot start {}", .0.display())]
    Start(PathBuf, #[source] std::io::Error),
    #[error("{0} did not happen within {n} s", n = PATIENCE.as_secs())]
    Late(&'static str),
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
}

/// A container: a namespace, and what its runtime knows of its attachment.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// `CNI_CONTAINERID`, of the form that real runtimes use.
    pub(crate) id: String,
    /// `CNI_NETNS`.
    pub(crate) netns: PathBuf,
    /// `CNI_ARGS`.
    pub(crate) args: String,
    /// What becomes `runtimeConfig`.
    pub(crate) capabilities: Value,
    /// The result of its last ADD, as a runtime remembers it until DEL; before the first, that of [`crate::wire`], if any.
    pub(crate) result: Option<Value>,
    /// What a plugin before a chained one would have given.
    pub(crate) wired: Option<Value>,
    /// Its number: 0, 1, 2, …
    pub(crate) number: usize,
}

/// The node.
#[derive(Debug)]
pub(crate) struct Node {
    outside: PathBuf,
    pub(crate) containers: BTreeMap<String, Container>,
}

impl Node {
    /// Wires the fresh namespace that this process is in.
    pub(crate) fn start() -> Result<Self, NodeError> {
        let outside = Netns::create(Path::new(sandbox::DIR).join("outside"))?;
        let node = Self { outside: outside.path().to_owned(), containers: BTreeMap::new() };
        node.wire(&outside)?;
        Ok(node)
    }

    /// The machine starts anew: all namespaces end, /run is empty. Files elsewhere stay, and so does what runtimes know
    /// of containers.
    pub(crate) fn reboot(&mut self) -> Result<(), NodeError> {
        for container in self.containers.values() {
            Netns::remove(&container.netns)?;
        }
        Netns::remove(&self.outside)?;
        sandbox::reboot()?;
        let outside = Netns::create(&self.outside)?;
        self.wire(&outside)
    }

    fn wire(&self, outside: &Netns) -> Result<(), NodeError> {
        let (mut here, mut there) = (Netlink::open()?, Netlink::open_in(outside)?);
        for netlink in [&mut here, &mut there] {
            netlink.run(link::set_up(Dev::LOOPBACK))?;
        }
        let veth = Veth { host_name: Some(UPLINK), queues: Some(1), ..Veth::new(UPLINK, outside) };
        here.create_veth(&veth)?;
        for (netlink, me) in [(&mut here, 2), (&mut there, 1)] {
            let link = find(netlink, "the node", UPLINK)?;
            let dev = Dev::from(&link);
            if link.ipv6.is_some() {
                // It would appear some time later, when a case has noted already what is there.
                netlink.run(link::set_link_local(dev, false))?;
                netlink.run(addr::add(dev, net(&format!("2001:db8::{me}/64"))?, Dad::Skip))?;
            }
            netlink.run(addr::add(dev, net(&format!("192.0.2.{me}/24"))?, Dad::Skip))?;
            netlink.run(link::set_up(dev))?;
        }
        let link = find(&mut here, "the node", UPLINK)?;
        let mut gateways = vec![("0.0.0.0/0", "192.0.2.1")];
        if link.ipv6.is_some() {
            gateways.push(("::/0", "2001:db8::1"));
        }
        for (to, via) in gateways {
            let gw = via.parse().map_err(|_invalid| NodeError::Value(via.to_owned(), "an address"))?;
            here.run(route::add(Dev::from(&link), &Route { gw: Some(gw), ..Route::to(net(to)?) }))?;
        }
        // The kernel brings links up, and the routes of IPv6 addresses, a little later.
        eventually("an uplink that is up", || Ok(find(&mut here, "the node", UPLINK)?.is_running))?;
        eventually("an IPv6 address in use", || {
            let routes = here.routes(route::Filter { table: Some(route::MAIN), ..Default::default() })?;
            let is_own = |route: &Route| route.dst.addr().is_ipv6() && route.dst.prefix_len() == 64;
            Ok(link.ipv6.is_none() || routes.iter().any(is_own))
        })
    }

    /// Makes a container with this name, unless it is there.
    pub(crate) fn container(&mut self, name: &str, args: &str, capabilities: &Value) -> Result<(), NodeError> {
        if self.containers.contains_key(name) {
            return Ok(());
        }
        let number = self.containers.len();
        let netns = Netns::create(format!("{NETNS_DIR}/{name}"))?;
        // Runtimes do this by the plugin loopback.
        Netlink::open_in(&netns)?.run(link::set_up(Dev::LOOPBACK))?;
        let container = Container {
            id: format!("{number:04x}{}", "c0ffee".repeat(10)),
            netns: netns.path().to_owned(),
            args: args.to_owned(),
            capabilities: capabilities.clone(),
            result: None,
            wired: None,
            number,
        };
        self.containers.insert(name.to_owned(), container);
        Ok(())
    }

    /// The namespace of a place: `host`, `outside`, or a container.
    pub(crate) fn netns(&self, place: &str) -> Result<Netns, NodeError> {
        match place {
            "host" => Ok(Netns::current()?),
            "outside" => Ok(Netns::open(&self.outside)?),
            name => match self.containers.get(name) {
                Some(container) => Ok(Netns::open(&container.netns)?),
                None => Err(NodeError::Value(name.to_owned(), "a place")),
            },
        }
    }

    /// Ends the namespace of a container, as a runtime does that does not wait for DEL.
    pub(crate) fn end_netns(&self, name: &str) -> Result<(), NodeError> {
        match self.containers.get(name) {
            Some(container) => Ok(Netns::remove(&container.netns)?),
            None => Err(NodeError::Value(name.to_owned(), "a container")),
        }
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(
    what: &'static str,
    mut condition: impl FnMut() -> Result<bool, NodeError>,
) -> Result<(), NodeError> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() >= deadline {
            return Err(NodeError::Late(what));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The link `name`, which must be there.
pub(crate) fn find(netlink: &mut Netlink, place: &str, name: &str) -> Result<link::Link, NodeError> {
    netlink.find_link(name)?.ok_or_else(|| NodeError::NoLink(place.to_owned(), name.to_owned()))
}

/// An address with its prefix length.
pub(crate) fn net(text: &str) -> Result<IpNet, NodeError> {
    text.parse().map_err(|_invalid| NodeError::Value(text.to_owned(), "an address with a prefix length"))
}
