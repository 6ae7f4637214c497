//! The places where mappings can be: our nftables table, the chains of iptables, and the Go plugin's nftables tables.
//! ADD writes to one of the first two; DEL, GC, CHECK and the search for holders look at all.

use libcni::error::Failures;
use linuxnet::iptables::{Family, Iptables, Variant};
use linuxnet::netlink::Netlink;
use linuxnet::nft::Nfnetlink;
use linuxnet::tag::Valid;
use linuxnet::undo::Undo;

use crate::conf::{Backend, Conf};
use crate::container::Container;
use crate::error::PortmapError;
use crate::holder::{self, Settlement};
use crate::mapping::{Binding, HostPort};
use crate::{iptables, nftables, reference};

/// How often an ADD looks again when another plugin took a host port between look and change.
const ATTEMPTS: u32 = 5;

/// The firewall of this host.
#[derive(Debug)]
pub(crate) struct Firewall {
    /// `None` where the kernel has no nftables.
    nft: Option<Nfnetlink>,
    backend: Backend,
}

impl Firewall {
    /// To make mappings with this backend; `None`: nftables where the kernel has it, else iptables. An iptables that is
    /// not there is found when it is used.
    pub(crate) fn open(asked: Option<Backend>) -> Result<Self, PortmapError> {
        let nft = Nfnetlink::open().and_then(|mut nft| nftables::probe(&mut nft).map(|()| nft));
        let iptables_is_there = || Iptables::of_host().is_installed(Variant::Default, Family::V4);
        match (nft, asked) {
            (Ok(nft), asked) => Ok(Self { nft: Some(nft), backend: asked.unwrap_or(Backend::Nftables) }),
            // Without privilege iptables would not work either; this error says why.
            (Err(e), _) if e.is_denied() => Err(e.into()),
            (Err(_), Some(Backend::Iptables)) => Ok(Self { nft: None, backend: Backend::Iptables }),
            (Err(_), None) if iptables_is_there() => Ok(Self { nft: None, backend: Backend::Iptables }),
            (Err(e), None | Some(Backend::Nftables)) => Err(e.into()),
        }
    }

    /// To remove whatever is there.
    pub(crate) fn of_host() -> Result<Self, PortmapError> {
        Self::open(Some(Backend::Iptables))
    }

    /// Makes the mappings, unless a live attachment holds one of the ports. Returns what the operator should know of a
    /// success.
    pub(crate) fn publish(
        &mut self,
        bindings: &[Binding],
        container: &Container,
        conf: &Conf,
        netlink: &mut Netlink,
        undo: &mut Undo<'_>,
    ) -> Result<Vec<String>, PortmapError> {
        match self.backend {
            Backend::Nftables => self.publish_by_nftables(bindings, container, conf, netlink, undo),
            Backend::Iptables => self.publish_by_iptables(bindings, container, conf, netlink, undo),
        }
    }

    fn publish_by_nftables(
        &mut self,
        bindings: &[Binding],
        container: &Container,
        conf: &Conf,
        netlink: &mut Netlink,
        undo: &mut Undo<'_>,
    ) -> Result<Vec<String>, PortmapError> {
        for attempt in 1.. {
            let mut settlement = self.settle_nftables(bindings, container, conf, netlink)?;
            let mut notes = self.settle_iptables(bindings, container, netlink, &mut settlement)?;
            let Some(nft) = &mut self.nft else { break };
            let ours = without(bindings, &settlement.siblings);
            if attempt == 1 {
                // Before the change: that its answer is lost does not mean that it was not made.
                let (bindings, container, conf) = (ours.clone(), container.clone(), conf.clone());
                undo.push("remove the port mappings", move || {
                    nftables::remove(&mut Nfnetlink::open()?, &bindings, &container, Some(&conf))?;
                    Ok(())
                });
            }
            match nftables::publish(nft, &ours, container, conf, &settlement.gives_way) {
                Err(PortmapError::Netlink(e)) if e.is_exists() && attempt < ATTEMPTS => {}
                Err(e) => return Err(e),
                Ok(()) => {
                    undo.checkpoint()?;
                    iptables::remove_places(&settlement.gives_way)?;
                    notes.extend(settlement.siblings.iter().map(left_to_sibling));
                    return Ok(notes);
                }
            }
        }
        Ok(Vec::new())
    }

    fn publish_by_iptables(
        &mut self,
        bindings: &[Binding],
        container: &Container,
        conf: &Conf,
        netlink: &mut Netlink,
        undo: &mut Undo<'_>,
    ) -> Result<Vec<String>, PortmapError> {
        let settlement = self.settle_nftables(bindings, container, conf, netlink)?;
        if let Some(nft) = &mut self.nft {
            nftables::remove_places(nft, &settlement.gives_way)?;
        }
        let ours = without(bindings, &settlement.siblings);
        for reach in &container.reaches {
            if !ours.iter().any(|binding| binding.target.ip() == reach.ip()) {
                continue;
            }
            iptables::publish(container, reach.address, conf, &ours, |holders| {
                let exists = |name: &str| netlink.find_link(name).map(|link| link.is_some());
                holder::settle(&ours, holders, container, exists).map(|settlement| settlement.gives_way)
            })?;
            let (family, chain) =
                (Family::of(reach.ip()), iptables::chain_of(&container.network, &container.id.container_id));
            undo.push(format!("remove iptables chain {chain}"), move || Ok(iptables::take_back(family, chain)?));
            undo.checkpoint()?;
        }
        Ok(settlement.siblings.iter().map(left_to_sibling).collect())
    }

    /// Settles with holders in iptables. That it cannot be asked does not hinder nftables; it is noted.
    fn settle_iptables(
        &mut self,
        bindings: &[Binding],
        container: &Container,
        netlink: &mut Netlink,
        settlement: &mut Settlement,
    ) -> Result<Vec<String>, PortmapError> {
        let Some(nft) = &mut self.nft else { return Ok(Vec::new()) };
        let holders = match iptables::holders(nft, bindings) {
            Ok(holders) => holders,
            Err(PortmapError::Iptables(e)) => return Ok(vec![format!("cannot tell who has ports by iptables: {e}")]),
            Err(e) => return Err(e),
        };
        let exists = |name: &str| netlink.find_link(name).map(|link| link.is_some());
        settlement.extend(holder::settle(bindings, holders, container, exists)?);
        Ok(Vec::new())
    }

    /// Settles with holders in nftables, ours and the Go plugin's.
    fn settle_nftables(
        &mut self,
        bindings: &[Binding],
        container: &Container,
        conf: &Conf,
        netlink: &mut Netlink,
    ) -> Result<Settlement, PortmapError> {
        let Some(nft) = &mut self.nft else { return Ok(Settlement::default()) };
        let mut holders = nftables::holders(nft, bindings, &conf.conditions)?;
        holders.extend(reference::holders(nft, bindings)?);
        let exists = |name: &str| netlink.find_link(name).map(|link| link.is_some());
        holder::settle(bindings, holders, container, exists)
    }

    /// Removes all mappings of the attachment, wherever they are. Returns them, and what could not be done.
    pub(crate) fn remove(
        &mut self,
        bindings: &[Binding],
        container: &Container,
        conf: Option<&Conf>,
    ) -> (Vec<Binding>, Result<(), PortmapError>) {
        let mut removal = Removal::default();
        if let Some(nft) = &mut self.nft {
            removal.note(nftables::remove(nft, bindings, container, conf));
            removal.note(reference::remove(nft, container));
        }
        removal.note(iptables::remove(self.nft.as_mut(), container));
        removal.end()
    }

    /// Removes the mappings of this network's attachments that are not valid. Returns them, and what could not be done.
    ///
    /// The rules of the Go plugin's nftables backend do not name their network, so they stay: another network's could
    /// be among them. DEL removes them.
    pub(crate) fn collect_garbage(&mut self, valid: &Valid) -> (Vec<Binding>, Result<(), PortmapError>) {
        let mut removal = Removal::default();
        if let Some(nft) = &mut self.nft {
            removal.note(nftables::collect_garbage(nft, valid));
        }
        removal.note(iptables::collect_garbage(self.nft.as_mut(), valid));
        removal.end()
    }

    /// What differs from what ADD made, in the place where the attachment has mappings: an earlier setting, or the Go
    /// plugin, may have chosen another than now.
    pub(crate) fn verify(
        &mut self,
        bindings: &[Binding],
        container: &Container,
        conf: &Conf,
    ) -> Result<Vec<String>, PortmapError> {
        if let Some(nft) = &mut self.nft {
            if nftables::has_any(nft, bindings, container, conf)? {
                return Ok(nftables::verify(nft, bindings, container, conf)?);
            }
            if reference::has_any(nft, container)? {
                return Ok(reference::verify(nft, bindings, container, conf)?);
            }
        }
        let in_iptables = iptables::has_any(self.nft.as_mut(), container)?;
        match &mut self.nft {
            Some(nft) if self.backend == Backend::Nftables && !in_iptables => {
                Ok(nftables::verify(nft, bindings, container, conf)?)
            }
            Some(_) | None => iptables::verify(bindings, container, conf),
        }
    }

    /// Whether mappings can be made.
    pub(crate) fn status(&mut self, conf: &Conf) -> Result<(), PortmapError> {
        match self.backend {
            Backend::Nftables => nftables::status(&conf.conditions),
            Backend::Iptables => Ok(iptables::status()?),
        }
    }
}

fn left_to_sibling(host: &HostPort) -> String {
    format!("host port {host} leads to this container already, through another of its networks")
}

fn without(bindings: &[Binding], siblings: &[HostPort]) -> Vec<Binding> {
    bindings.iter().filter(|binding| !siblings.contains(&binding.host)).copied().collect()
}

/// What was removed, and what could not be.
#[derive(Debug, Default)]
struct Removal {
    bindings: Vec<Binding>,
    failures: Failures<PortmapError>,
}

impl Removal {
    fn note<E: Into<PortmapError>>(&mut self, outcome: Result<Vec<Binding>, E>) {
        match outcome {
            Ok(bindings) => self.bindings.extend(bindings),
            Err(e) => self.failures.note(Err::<(), E>(e)),
        }
    }

    fn end(self) -> (Vec<Binding>, Result<(), PortmapError>) {
        (self.bindings, self.failures.into_result(PortmapError::Several))
    }
}
