//! What the rules know of the node. A test writes it down; else [`Host::look`] sees for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use ipnet::IpNet;
use libcni::error::causes;
use libcni::runtime::{PluginFault, Runtime};
use libcni::store;
use linuxnet::NetlinkError;
use linuxnet::netlink::Netlink;
use linuxnet::route::{Filter, MAIN};

/// The node, as far as it was looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// `None`: nobody looked for plugins.
    pub(crate) programs: Option<Programs>,
    /// `None`: nobody looked at links and routes.
    pub(crate) network: Option<HostNetwork>,
}

/// The plugins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    /// `CNI_PATH`, for messages.
    pub(crate) dirs: Vec<PathBuf>,
    /// The names of the executables there.
    pub(crate) present: BTreeSet<String>,
    /// What each plugin that is used answers to VERSION.
    pub(crate) answers: BTreeMap<String, Answer>,
}

/// What became of the question for versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The versions that the plugin supports.
    Versions(Vec<String>),
    /// There is no such plugin.
    Missing,
    /// It did not answer, and why.
    None(String),
}

/// Links and routes.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostNetwork {
    pub(crate) links: Vec<HostLink>,
    /// Of the main table, without the default routes.
    pub(crate) routes: Vec<HostRoute>,
    /// The link of the default route.
    pub(crate) uplink: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct HostLink {
    pub(crate) name: String,
    /// As the kernel calls it; empty for hardware.
    pub(crate) kind: String,
    pub(crate) mtu: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct HostRoute {
    pub(crate) dst: IpNet,
    /// The name of the link.
    pub(crate) link: String,
}

impl HostNetwork {
    pub(crate) fn link(&self, name: &str) -> Option<&HostLink> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The link of the default route.
    pub(crate) fn uplink(&self) -> Option<&HostLink> {
        self.uplink.as_deref().and_then(|name| self.link(name))
    }

    /// Reads them from the kernel.
    fn read() -> Result<Self, NetlinkError> {
        let mut netlink = Netlink::open()?;
        let links = netlink.links()?;
        let name = |index: Option<u32>| {
            let link = links.iter().find(|link| Some(link.index) == index);
            link.map(|link| link.name.clone()).unwrap_or_default()
        };
        let routes = netlink.routes(Filter { table: Some(MAIN), link: None })?;
        let routes = routes.into_iter().filter(|route| route.dst.prefix_len() > 0);
        let routes = routes.map(|route| HostRoute { dst: route.dst, link: name(route.link) }).collect();
        let uplink = netlink.default_route()?.map(|route| name(route.link));
        let of =
            |link: &linuxnet::link::Link| HostLink { name: link.name.clone(), kind: link.kind.clone(), mtu: link.mtu };
        Ok(Self { routes, uplink, links: links.iter().map(of).collect() })
    }
}

impl Host {
    /// Looks at this node: asks the plugins of these types for their versions, and the kernel for links and routes.
    /// Where the kernel cannot be asked, the reason is given.
    pub(crate) fn look(runtime: &Runtime, types: &BTreeSet<String>) -> (Self, Option<NetlinkError>) {
        let (host, fault) = Self::without_answers();
        (Self { programs: Some(Programs::ask(runtime, types)), ..host }, fault)
    }

    /// The same where somebody else asks the plugins: nothing is said of their files, versions and answers.
    pub(crate) fn without_answers() -> (Self, Option<NetlinkError>) {
        let (network, fault) = match HostNetwork::read() {
            Ok(network) => (Some(network), None),
            Err(fault) => (None, Some(fault)),
        };
        (Self { programs: Some(Programs::default()), network }, fault)
    }
}

impl Programs {
    fn ask(runtime: &Runtime, types: &BTreeSet<String>) -> Self {
        let dirs = runtime.plugin_dirs.clone();
        let files = dirs.iter().flat_map(|dir| store::files(dir).unwrap_or_default());
        let executable = |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
        let present =
            files.filter(executable).filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect();
        let answers = types.iter().map(|plugin_type| (plugin_type.clone(), Answer::of(runtime, plugin_type))).collect();
        Self { dirs, present, answers }
    }
}

impl Answer {
    fn of(runtime: &Runtime, plugin_type: &str) -> Self {
        match runtime.plugin_versions(plugin_type) {
            Ok(versions) => Self::Versions(versions.supported),
            Err(PluginFault::Find(_)) => Self::Missing,
            Err(fault) => Self::None(causes(Some(&fault)).lines().next().unwrap_or_default().to_owned()),
        }
    }
}
