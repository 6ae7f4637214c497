//! Attachments: what the cache of the runtimes says of each, and where its links are.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use libcni::json;
use libcni::names::NetworkName;
use libcni::runtime::{CachedAttachment, NetworkList, PluginConf};
use libcni::types::{AddResult, AttachmentId, CniArgs};
use libcni::{SpecVersion, convert};
use linuxnet::tag::Tag;
use serde::Serialize;
use serde_json::{Map, Value};

use super::namespace::{self, LinkAt, Namespace};

/// An interface of a container, as its ADD left it in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    /// The network.
    pub(crate) network: NetworkName,
    /// Container and interface.
    pub(crate) id: AttachmentId,
    /// What its firewall state and links are tagged with.
    pub(crate) tag: Tag,
    /// The path of its namespace; `None`: the runtime said none.
    pub(crate) netns: Option<PathBuf>,
    /// Whether its namespace is there.
    pub(crate) life: Life,
    /// The pod that the runtime named.
    pub(crate) pod: Option<Pod>,
    /// `CNI_ARGS`.
    pub(crate) args: CniArgs,
    /// What the runtime asked for.
    pub(crate) capability_args: Map<String, Value>,
    /// The result of ADD; empty where there is none that can be understood.
    pub(crate) result: AddResult,
    /// The result as it is in the cache.
    pub(crate) wire_result: Option<Value>,
    /// The list that ADD was done with; `None` if it cannot be read.
    pub(crate) list: Option<NetworkList>,
    /// Its interface in its namespace, now.
    pub(crate) link: Option<LinkAt>,
    /// The host's link that leads to it: a veth's other end, or the link that a macvlan, ipvlan or VLAN is on.
    pub(crate) host_link: Option<LinkAt>,
}

/// Whether the namespace of an attachment is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is at this place of [`Inventory::namespaces`](super::Inventory::namespaces).
    Alive(usize),
    /// It is gone.
    Gone,
    /// The cache names none, or it may not be opened.
    Unknown,
}

/// The pod that a container belongs to, as Kubernetes' runtimes say in `CNI_ARGS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pod {
    /// `K8S_POD_NAMESPACE`.
    pub(crate) namespace: Option<String>,
    /// `K8S_POD_NAME`.
    pub(crate) name: String,
}

impl fmt::Display for Pod {
    /// `namespace/name`, as kubectl.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A published port, as the capability `portMappings` has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortMapping {
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
    /// The address of the host; `None`: all.
    #[serde(rename = "hostIP")]
    pub(crate) host_ip: Option<IpAddr>,
    /// The port of the host.
    pub(crate) host_port: u16,
    /// The port of the container.
    pub(crate) container_port: u16,
}

impl fmt::Display for PortMapping {
    /// `[192.0.2.1:]8080->80/tcp`, as container tools write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            None => {}
        }
        write!(f, "{}->{}/{}", self.host_port, self.container_port, self.protocol)
    }
}

impl Attached {
    /// What a cache entry says.
    pub(crate) fn of(entry: CachedAttachment) -> Self {
        let list = entry.list().ok();
        let version = list.as_ref().map_or(SpecVersion::DEFAULT, |list| list.cni_version);
        let result = entry.result.as_ref().and_then(|value| convert::result(value, version).ok()).unwrap_or_default();
        let attachment = entry.attachment;
        let word = |key| attachment.args.value(key).map(str::to_owned);
        let pod = word("K8S_POD_NAME").map(|name| Pod { namespace: word("K8S_POD_NAMESPACE"), name });
        Self {
            tag: Tag::new(&entry.network, &attachment.id),
            network: entry.network,
            id: attachment.id,
            netns: attachment.netns,
            life: Life::Unknown,
            pod,
            args: attachment.args,
            capability_args: attachment.capability_args,
            result,
            wire_result: entry.result,
            list,
            link: None,
            host_link: None,
        }
    }

    /// Whether a plugin of its network publishes ports.
    pub(crate) fn has_portmap(&self) -> bool {
        let publishes =
            |plugin: &PluginConf| plugin.plugin_type == "portmap" && plugin.capabilities.contains("portMappings");
        self.list.as_ref().is_some_and(|list| list.plugins.iter().any(publishes))
    }

    /// The published ports that the runtime asked for.
    pub(crate) fn asked_ports(&self) -> Vec<PortMapping> {
        let mappings = json::member(&self.capability_args, "portMappings").and_then(Value::as_array);
        mappings.into_iter().flatten().filter_map(port_mapping).collect()
    }
}

/// One of `portMappings`; as portmap, without a look at the case of its keys.
fn port_mapping(value: &Value) -> Option<PortMapping> {
    let object = value.as_object()?;
    let port = |key| json::member(object, key).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let text = |key| json::member(object, key).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(PortMapping {
        protocol: text("protocol").unwrap_or("tcp").to_ascii_lowercase(),
        host_ip: text("hostIP").and_then(|ip| ip.parse().ok()).filter(|ip: &IpAddr| !ip.is_unspecified()),
        host_port: port("hostPort").filter(|&port| port != 0)?,
        container_port: port("containerPort")?,
    })
}

/// Finds the links of the attachments that are alive.
pub(super) fn find_links(attachments: &mut [Attached], namespaces: &[Namespace]) {
    for attached in attachments {
        let Life::Alive(at) = attached.life else { continue };
        let Some(namespace) = namespaces.get(at).filter(|namespace| !namespace.is_host) else { continue };
        let Some(link) = namespace.link_called(attached.id.ifname.as_str()) else { continue };
        let inside = LinkAt { namespace: at, index: link.index };
        attached.link = Some(inside);
        attached.host_link = namespace::other_end(namespaces, inside).filter(|end| end.namespace == 0);
    }
}
