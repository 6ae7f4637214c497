//! Attachments in iptables, in the layout of the Go plugin: its CHECK and DEL understand ours, and ours its.
//!
//! In the table filter, `CNI-FORWARD`, which FORWARD jumps to first, accepts what comes from each address and what answers
//! it. `CNI-ISOLATION-STAGE-1` and `-2` drop by the policies of bridges. These rules do not say whose they are, so there
//! is a chain besides that nothing jumps to, `CNI-FERRULE-TAGS`: it has for each address the attachment, the bridge, and
//! the policy. See [`layout`].

mod isolation;
mod layout;

use std::net::IpAddr;

use linuxnet::NetlinkError;
use linuxnet::iptables::{Family, Iptables, IptablesError, Variant};
use linuxnet::nft::Load;
use linuxnet::nft::{Expression, Nfnetlink, Rule, Verdict};
use linuxnet::tag::{Tag, Valid};

use crate::container::Container;
use crate::error::FirewallError;
use crate::forward::{CNI_FORWARD, FILTER, has_legacy_rules, table_of};
use layout::TAGS;

/// Lets the container's packets pass, and isolates its bridge as wanted: one `iptables-restore` for each family.
pub(crate) fn admit(container: &Container, admin: &str) -> Result<(), IptablesError> {
    let iptables = Iptables::of_host();
    container.families().try_for_each(|family| {
        iptables.update(Variant::Default, family, FILTER, |table| layout::admission(table, family, container, admin))
    })
}

/// What iptables lacks to let the container's packets pass, in the kind of iptables that has most of it.
pub(crate) fn verify(container: &Container) -> Result<Vec<String>, IptablesError> {
    let iptables = Iptables::of_host();
    let mut differences = Vec::new();
    for family in container.families() {
        let mut lacks = layout::differences(&iptables.list(Variant::Default, family, FILTER)?, family, container);
        if !lacks.is_empty() && has_legacy_rules(&iptables, family) {
            let legacy = layout::differences(&iptables.list(Variant::Legacy, family, FILTER)?, family, container);
            if legacy.len() < lacks.len() {
                lacks = legacy;
            }
        }
        differences.extend(lacks);
    }
    Ok(differences)
}

/// Whose rules are meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// The attachment's, and those of its addresses that nobody's tag claims.
    Container(&'a Container),
    /// Those of a network's attachments that are not valid.
    Stale(&'a Valid),
}

impl Whose<'_> {
    fn is_meant(&self, tag: &Tag) -> bool {
        match self {
            Self::Container(container) => tag.is_same_attachment(&container.tag),
            Self::Stale(valid) => valid.is_stale(tag),
        }
    }

    /// The addresses that are meant without a tag.
    fn ips(&self) -> &[IpAddr] {
        match self {
            Self::Container(container) => &container.ips,
            Self::Stale(_) => &[],
        }
    }
}

/// Removes the rules that are meant, of both families, by whichever plugin and iptables they were made. No program is run
/// where there are none, but for iptables-legacy where its table is in use. Goes on after a failure.
pub(crate) fn remove(nft: Option<&mut Nfnetlink>, whose: Whose<'_>) -> Vec<FirewallError> {
    let iptables = Iptables::of_host();
    let mut failures = Vec::new();
    let mut in_nft = Vec::new();
    if let Some(nft) = nft {
        for family in Family::ALL {
            match has_any(nft, family, whose) {
                Ok(true) => in_nft.push(family),
                Ok(false) => {}
                Err(e) => failures.push(e.into()),
            }
        }
    }
    for family in Family::ALL {
        let legacy = has_legacy_rules(&iptables, family).then_some(Variant::Legacy);
        for variant in in_nft.contains(&family).then_some(Variant::Nft).into_iter().chain(legacy) {
            let plan = |table: &linuxnet::iptables::Table| layout::removal(table, family, whose);
            if let Err(e) = iptables.update(variant, family, FILTER, plan) {
                failures.push(e.into());
            }
        }
    }
    failures
}

/// Whether iptables-nft has any rule that is meant. A few looks by netlink.
fn has_any(nft: &mut Nfnetlink, family: Family, whose: Whose<'_>) -> Result<bool, NetlinkError> {
    let table = table_of(family);
    let is_tagged = |tag: String| tag.parse().is_ok_and(|tag| whose.is_meant(&tag));
    let tags = nft.rules(table, TAGS)?;
    if tags.iter().flat_map(|rule| &rule.expressions).filter_map(Expression::xt_comment).any(is_tagged) {
        return Ok(true);
    }
    let from = |ip: &IpAddr| {
        let load = if ip.is_ipv4() { Load::IpSaddr } else { Load::Ip6Saddr };
        Rule::new().equals(load, *ip).counter().verdict(Verdict::Accept)
    };
    let wanted: Vec<Rule> = whose.ips().iter().filter(|ip| Family::of(**ip) == family).map(from).collect();
    if wanted.is_empty() {
        return Ok(false);
    }
    let rules = nft.rules(table, CNI_FORWARD)?;
    Ok(rules.iter().any(|rule| wanted.iter().any(|wanted| rule.is_like(table.family, wanted))))
}

/// Whether iptables has anything of the container, of whichever kind.
pub(crate) fn has_any_of(nft: Option<&mut Nfnetlink>, container: &Container) -> Result<bool, FirewallError> {
    let iptables = Iptables::of_host();
    if let Some(nft) = nft {
        for family in container.families() {
            if has_any(nft, family, Whose::Container(container))? {
                return Ok(true);
            }
        }
    }
    for family in container.families().filter(|family| has_legacy_rules(&iptables, *family)) {
        let table = iptables.list(Variant::Legacy, family, FILTER)?;
        if !layout::removal(&table, family, Whose::Container(container)).is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether iptables can be used, for IPv4, which every host has. Runs nothing.
pub(crate) fn status() -> Result<(), IptablesError> {
    if Iptables::of_host().is_installed(Variant::Default, Family::V4) {
        return Ok(());
    }
    Err(IptablesError::Missing { program: "iptables-restore".to_owned() })
}
