//! IP masquerading (`ipMasq` of bridge and ptp): what a container sends beyond its own subnet leaves with the host's
//! address. Multicast is left alone, and so is everything between addresses of the container's subnet.
//!
//! There are two backends. Whatever either has made, and whatever the Go reference has made with either of its two,
//! is understood by CHECK, and removed by DEL and GC: plugins can be exchanged, and backends changed, under running
//! containers. Nothing but nftables is looked at by nfnetlink alone; a program is started only where iptables has
//! left a trace.

mod iptables;
mod nft;
mod reference;
mod settings;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use libcni::error::{Failures, listed};
use libcni::names::NetworkName;
use libcni::types::AttachmentId;

use crate::error::NetlinkError;
use crate::iptables::{Batch, Family, Iptables, IptablesError, Table, Variant, has_legacy_nat};
use crate::nft::{Family as NftFamily, Nfnetlink, Table as NftTable};
use crate::tag::{Tag, Valid};

pub use settings::Settings;

/// The table of iptables in which masquerading is done.
const NAT: &str = "nat";

/// How masquerading is done (`ipMasqBackend`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `"nftables"`: a table of our own, by nfnetlink.
    Nftables,
    /// `"iptables"`: the reference's chains, by the host's iptables programs.
    Iptables,
}

impl Backend {
    /// The backend for a configuration that names none: nftables where the kernel has it.
    ///
    /// The reference prefers iptables and falls back to nftables; it starts programs to find out. Both do the same
    /// to packets, and either's rules are removed by our DEL.
    ///
    /// # Errors
    /// If the kernel does not say, for lack of privilege.
    pub fn detect(nft: &mut Nfnetlink) -> Result<Self, NetlinkError> {
        Ok(if nft::is_available(nft)? { Self::Nftables } else { Self::Iptables })
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        match text {
            "nftables" => Ok(Self::Nftables),
            "iptables" => Ok(Self::Iptables),
            _ => Err(UnknownBackend(text.to_owned())),
        }
    }
}

/// An `ipMasqBackend` that is neither `nftables` nor `iptables`. (The reference's words.)
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown ipmasq backend \"{0}\"")]
pub struct UnknownBackend(pub String);

/// What went wrong with masquerading.
#[derive(Debug, thiserror::Error)]
pub enum MasqError {
    /// nftables refused.
    #[error("cannot {action} masquerading by nftables")]
    Nftables {
        /// `set up`, `check` or `remove`.
        action: &'static str,
        /// Why.
        source: NetlinkError,
    },
    /// iptables refused.
    #[error("cannot {action} masquerading by iptables")]
    Iptables {
        /// `set up`, `check` or `remove`.
        action: &'static str,
        /// Why.
        source: IptablesError,
    },
    /// CHECK: something is not there.
    #[error("{address} is not masqueraded: {missing} is missing")]
    Missing {
        /// The address, with its subnet's prefix length.
        address: IpNet,
        /// What is not there.
        missing: String,
    },
    /// Several of the above: one failure does not keep the rest from being removed.
    #[error("{}", listed(.0))]
    Several(Vec<Self>),
}

impl MasqError {
    /// For what fails before a backend is chosen: the kernel is asked by nfnetlink.
    fn of(action: &'static str) -> impl FnOnce(NetlinkError) -> Self {
        move |source| Self::Nftables { action, source }
    }
}

/// Masquerading in one network namespace: that of `nft`, which must be the calling thread's too.
#[derive(Debug)]
pub struct Masquerade<'a> {
    nft: &'a mut Nfnetlink,
    iptables: Iptables,
}

impl<'a> Masquerade<'a> {
    /// By this socket. The caller keeps it until the process ends: closing it after a removal waits for the kernel,
    /// and that wait passes while links are being deleted.
    #[must_use]
    pub fn new(nft: &'a mut Nfnetlink) -> Self {
        Self { nft, iptables: Iptables::of_host() }
    }

    /// By these iptables programs instead of the host's.
    #[must_use]
    pub fn with_iptables(self, iptables: Iptables) -> Self {
        Self { iptables, ..self }
    }

    /// ADD: makes `addresses` (with the prefix lengths of their subnets) masqueraded. It replaces what an earlier
    /// life of the attachment left, and takes an address from a former holder. Made already: nothing changes.
    ///
    /// # Errors
    /// [`MasqError`]. With iptables one family may have been set up; [`Masquerade::teardown`] undoes that.
    pub fn setup(
        &mut self,
        backend: Backend,
        network: &NetworkName,
        id: &AttachmentId,
        addresses: &[IpNet],
    ) -> Result<(), MasqError> {
        let failed = |source| MasqError::Iptables { action: "set up", source };
        match backend {
            Backend::Nftables => nft::setup(self.nft, &Tag::new(network, id), addresses)
                .map_err(|source| MasqError::Nftables { action: "set up", source }),
            Backend::Iptables => {
                let owner = iptables::Owner::new(network, id);
                by_family(addresses).try_for_each(|(family, addresses)| {
                    let plan = |table: &Table| iptables::setup(table, &owner, &addresses);
                    self.iptables.update(Variant::Default, family, NAT, plan).map_err(failed)
                })
            }
        }
    }

    /// CHECK: whether each of `addresses` is masqueraded, by either backend, ours or the reference's.
    ///
    /// # Errors
    /// [`MasqError::Missing`] for the first that is not; it names what `backend` would have made.
    pub fn verify(
        &mut self,
        backend: Backend,
        network: &NetworkName,
        id: &AttachmentId,
        addresses: &[IpNet],
    ) -> Result<(), MasqError> {
        let tag = Tag::new(network, id);
        for &address in addresses {
            let in_nft = self.missing_in_nft(&tag, network, id, address)?;
            let Some(missing_in_nft) = in_nft else { continue };
            let in_iptables = self.missing_in_iptables(network, id, address)?;
            let Some(missing_in_iptables) = in_iptables else { continue };
            let missing = match backend {
                Backend::Nftables => missing_in_nft,
                Backend::Iptables => missing_in_iptables,
            };
            return Err(MasqError::Missing { address, missing });
        }
        Ok(())
    }

    fn missing_in_nft(
        &mut self,
        tag: &Tag,
        network: &NetworkName,
        id: &AttachmentId,
        address: IpNet,
    ) -> Result<Option<String>, MasqError> {
        let mut look = || {
            if !nft::is_available(self.nft)? {
                return Ok(Some("nf_tables of the kernel".to_owned()));
            }
            let missing = nft::verify(self.nft, tag, address)?;
            if missing.is_some() && reference::has_rule(self.nft, network, id, address)? {
                return Ok(None);
            }
            Ok(missing)
        };
        look().map_err(|source| MasqError::Nftables { action: "check", source })
    }

    fn missing_in_iptables(
        &mut self,
        network: &NetworkName,
        id: &AttachmentId,
        address: IpNet,
    ) -> Result<Option<String>, MasqError> {
        let owner = iptables::Owner::new(network, id);
        let family = Family::of(address.addr());
        let mut missing = format!("the chain {} of table {NAT}", owner.chain);
        let traces = self
            .traces(family, Some(&owner.chain))
            .map_err(|source| MasqError::Nftables { action: "check", source })?;
        for variant in traces {
            let table = self
                .iptables
                .list(variant, family, NAT)
                .map_err(|source| MasqError::Iptables { action: "check", source })?;
            match iptables::verify(&table, &owner, &[address]) {
                None => return Ok(None),
                Some(lack) => missing = lack,
            }
        }
        Ok(Some(missing))
    }

    /// DEL: removes all that masquerades the attachment, whoever made it. Nothing there is success, and costs a few
    /// questions to the kernel. `hint`: the addresses it probably has, from the previous result; without them, or
    /// if they are wrong, all addresses are looked through.
    ///
    /// # Errors
    /// What could not be removed, after trying all of it.
    pub fn teardown(&mut self, network: &NetworkName, id: &AttachmentId, hint: &[IpAddr]) -> Result<(), MasqError> {
        let tag = Tag::new(network, id);
        let owner = iptables::Owner::new(network, id);
        self.remove_from_all(
            Some(&owner.chain),
            |nft| {
                nft::teardown(nft, &tag, hint)?;
                reference::teardown(nft, network, id)
            },
            |table| iptables::teardown(table, &owner),
        )
    }

    /// GC: removes all that masquerades attachments of the network of `valid` other than the valid ones.
    ///
    /// # Errors
    /// What could not be removed, after trying all of it.
    pub fn gc(&mut self, valid: &Valid) -> Result<(), MasqError> {
        self.remove_from_all(
            None,
            |nft| {
                nft::gc(nft, valid)?;
                reference::gc(nft, valid)
            },
            |table| iptables::gc(table, valid),
        )
    }

    /// Removes from nftables, then from each iptables that has a trace of `chain` (`None`: of anything); goes on
    /// after an error.
    fn remove_from_all(
        &mut self,
        chain: Option<&str>,
        from_nft: impl FnOnce(&mut Nfnetlink) -> Result<(), NetlinkError>,
        plan: impl Fn(&Table) -> Batch,
    ) -> Result<(), MasqError> {
        let mut failures = Failures::new();
        let by_nft = |source| MasqError::Nftables { action: "remove", source };
        // Who may not even look cannot remove anything.
        if nft::is_available(self.nft).map_err(by_nft)? {
            failures.note(from_nft(self.nft).map_err(by_nft));
        }
        for family in Family::ALL {
            match self.traces(family, chain) {
                Ok(variants) => {
                    for variant in variants {
                        let done = self.iptables.update(variant, family, NAT, &plan);
                        failures.note(done.map_err(|source| MasqError::Iptables { action: "remove", source }));
                    }
                }
                Err(e) => failures.note(Err::<(), _>(by_nft(e))),
            }
        }
        failures.into_result(MasqError::Several)
    }

    /// The kinds of iptables that may hold `chain` (`None`: any chain of ours). Runs nothing.
    fn traces(&mut self, family: Family, chain: Option<&str>) -> Result<Vec<Variant>, NetlinkError> {
        let table = NftTable::new(
            match family {
                Family::V4 => NftFamily::Ipv4,
                Family::V6 => NftFamily::Ipv6,
            },
            NAT,
        );
        let mut variants = Vec::new();
        if nft::is_available(self.nft)? && self.nft.find_chain(table, chain.unwrap_or("POSTROUTING"))?.is_some() {
            variants.push(Variant::Nft);
        }
        // Without the program nobody can have put anything there.
        if has_legacy_nat(family) && self.iptables.is_installed(Variant::Legacy, family) {
            variants.push(Variant::Legacy);
        }
        Ok(variants)
    }
}

/// The multicast addresses of the family of `like`.
fn multicast(like: IpNet) -> IpNet {
    match like {
        IpNet::V4(_) => Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4).into(),
        IpNet::V6(_) => Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8).into(),
    }
}

/// The addresses of each family that has any.
fn by_family(addresses: &[IpNet]) -> impl Iterator<Item = (Family, Vec<IpNet>)> {
    let of = |family| addresses.iter().copied().filter(|a| Family::of(a.addr()) == family).collect::<Vec<_>>();
    Family::ALL.map(|family| (family, of(family))).into_iter().filter(|(_, addresses)| !addresses.is_empty())
}
