//! The CNI plugin `portmap`: publishes container ports on the host.

mod conf;
mod container;
mod error;
mod firewall;
mod flows;
mod holder;
mod iptables;
mod mapping;
mod nftables;
mod reference;

use ipnet::IpNet;
use libcni::plugin::{Attachment, Call, Plugin};
use libcni::types::{AddResult, AttachmentId};
use linuxnet::netlink::Netlink;
use linuxnet::sysctl;
use linuxnet::tag::Valid;
use linuxnet::undo::Undo;

use crate::conf::Conf;
use crate::container::Container;
pub use crate::error::{ConditionError, HOST_PORT_IN_USE, PortmapError};
use crate::firewall::Firewall;
use crate::mapping::Binding;

/// The plugin `portmap`.
#[derive(Clone, Copy, Debug)]
pub struct Portmap;

impl Plugin for Portmap {
    type Error = PortmapError;

    fn name(&self) -> &'static str {
        "portmap"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, PortmapError> {
        let conf = Conf::load(call)?;
        let result = call.config.prev_result.as_ref().ok_or(PortmapError::NotChained)?;
        let bindings = bindings(&conf, attachment, result);
        if bindings.is_empty() {
            return Ok(result.clone());
        }
        let mut firewall = Firewall::open(conf.backend)?;
        let mut netlink = Netlink::open()?;
        let container = Container::find(call, attachment, result, &mut netlink)?;
        let mut undo = Undo::new();
        route_localhost(&conf, &container)?;
        for note in firewall.publish(&bindings, &container, &conf, &mut netlink, &mut undo)? {
            call.warn(note);
        }
        undo.checkpoint()?;
        flows::forget_all(call, &bindings);
        undo.checkpoint()?;
        undo.commit();
        Ok(result.clone())
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), PortmapError> {
        let conf = Conf::load_lenient(call)?;
        let mut firewall = Firewall::of_host()?;
        let (container, bindings) = match &call.config.prev_result {
            Some(result) => (
                Container::without_host_link(call, attachment, result, &mut Netlink::open()?)?,
                conf.as_ref().map(|conf| bindings(conf, attachment, result)).unwrap_or_default(),
            ),
            None => (Container::without_addresses(call, attachment), Vec::new()),
        };
        let (removed, outcome) = firewall.remove(&bindings, &container, conf.as_ref());
        flows::forget_answered(call, &removed);
        outcome
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), PortmapError> {
        let conf = Conf::load(call)?;
        let result = call.config.prev_result.as_ref().ok_or(PortmapError::PrevResultMissing)?;
        let bindings = bindings(&conf, attachment, result);
        if bindings.is_empty() {
            return Ok(());
        }
        let container = Container::without_host_link(call, attachment, result, &mut Netlink::open()?)?;
        let differences = Firewall::open(conf.backend)?.verify(&bindings, &container, &conf)?;
        if differences.is_empty() { Ok(()) } else { Err(PortmapError::Differs(differences.join("; "))) }
    }

    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), PortmapError> {
        let (removed, outcome) = Firewall::of_host()?.collect_garbage(&Valid::new(&call.config.name, valid));
        flows::forget_answered(call, &removed);
        outcome
    }

    fn status(&self, call: &Call<'_>) -> Result<(), PortmapError> {
        let conf = Conf::load(call)?;
        Firewall::open(conf.backend).and_then(|mut firewall| firewall.status(&conf)).map_err(|source| {
            let backend = conf.backend.map_or("nftables", conf::Backend::as_str);
            PortmapError::Unavailable { backend, source: Box::new(source) }
        })
    }
}

/// What the mappings become for this container.
fn bindings(conf: &Conf, attachment: &Attachment, result: &AddResult) -> Vec<Binding> {
    let addresses = container::addresses(result, attachment.ifname());
    mapping::bindings(&conf.mappings, addresses.iter().map(IpNet::addr))
}

/// Lets packets from 127.0.0.1 leave by the link that leads to the container
/// (`sysctl -w net.ipv4.conf.LINK.route_localnet=1`). The setting stays: others use the link too. IPv6 has none.
fn route_localhost(conf: &Conf, container: &Container) -> Result<(), PortmapError> {
    let v4 = container.reaches.iter().find(|reach| reach.ip().is_ipv4());
    if let Some(link) = v4.filter(|_| conf.snat).and_then(|reach| reach.link.as_ref()) {
        sysctl::ensure(&format!("net/ipv4/conf/{link}/route_localnet"), "1").map_err(PortmapError::RouteLocalnet)?;
    }
    Ok(())
}
