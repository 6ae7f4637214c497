//! The way through iptables' chain FORWARD, which others may have given the policy DROP (Docker does), as flannel's
//! `FLANNEL-FWD`:
//! ```text
//! -A FORWARD -m comment --comment "overlayd: containers" -j OVERLAYD-FWD
//! -A OVERLAYD-FWD -s 10.42.0.0/16 -m comment --comment "overlayd: containers" -j ACCEPT
//! -A OVERLAYD-FWD -d 10.42.0.0/16 -m comment --comment "overlayd: containers" -j ACCEPT
//! ```
//! The jump stands behind the rules of others, as flannel's: what network policies and administrators refuse stays
//! refused. An accept in a table of our own would say nothing: in nftables it does not keep another table from dropping.
//! So a drop in a chain of nftables that somebody made by other means than iptables is final; its owner must let the
//! cluster's networks pass.
//!
//! Where iptables is iptables-nft, its chains are chains of nftables, and no program is started; the rules come as soon as
//! somebody makes FORWARD. Of iptables-legacy nobody tells changes, and its programs must be run: its rules are made once,
//! at the start, where its table is in use then.

use ipnet::IpNet;
use linuxnet::NetlinkError;
use linuxnet::iptables::{Batch, Family, Iptables, Variant, has_legacy};
use linuxnet::nft::{Family as NftFamily, Nfnetlink, Rule, Table, Transaction, Verdict};

use super::MasqueradeError;

/// Our chain, and the kernel's that jumps to it.
pub(super) const CHAIN: &str = "OVERLAYD-FWD";
const FORWARD: &str = "FORWARD";
const FILTER: &str = "filter";
const COMMENT: &str = "overlayd: containers";

/// The networks that may be forwarded from and to.
#[derive(Debug)]
pub(super) struct Forward {
    networks: Vec<IpNet>,
    legacy_is_done: bool,
}

impl Forward {
    /// Without networks: what was made before is removed.
    pub(super) fn new(networks: Vec<IpNet>) -> Self {
        Self { networks, legacy_is_done: false }
    }

    /// Makes what is missing, removes what is too much, and tells whether there was any.
    pub(super) fn ensure(&mut self, nft: &mut Nfnetlink) -> Result<bool, MasqueradeError> {
        let mut changed = false;
        for family in Family::ALL {
            let networks: Vec<IpNet> =
                self.networks.iter().filter(|net| Family::of(net.addr()) == family).copied().collect();
            let table = table_of(family, FILTER);
            let mut t = Transaction::new(table);
            let looked = if networks.is_empty() {
                removal(nft, &mut t, table, FORWARD, CHAIN)
            } else {
                creation(nft, &mut t, table, &networks)
            };
            looked.map_err(MasqueradeError::of("check"))?;
            changed |= !t.is_empty();
            nft.commit(&t).map_err(MasqueradeError::of("write"))?;
            if !self.legacy_is_done {
                ensure_legacy(&Iptables::of_host(), family, &networks)?;
            }
        }
        self.legacy_is_done = true;
        Ok(changed)
    }
}

/// iptables-nft's table of this name.
pub(super) fn table_of(family: Family, name: &'static str) -> Table<'static> {
    match family {
        Family::V4 => Table::new(NftFamily::Ipv4, name),
        Family::V6 => Table::new(NftFamily::Ipv6, name),
    }
}

/// Whether packets pass rules of iptables-legacy. Without its programs nobody can have made any.
pub(super) fn has_legacy_rules(iptables: &Iptables, family: Family, table: &str) -> bool {
    has_legacy(family, table) && iptables.is_installed(Variant::Legacy, family)
}

fn rules(networks: &[IpNet]) -> impl Iterator<Item = Rule> {
    let both = |net: &IpNet| [Rule::new().source_in(*net), Rule::new().destination_in(*net)];
    let accept = |rule: Rule| rule.xt_comment(COMMENT).counter().verdict(Verdict::Accept);
    networks.iter().flat_map(both).map(accept)
}

/// Adds to `t` what FORWARD lacks, if there is a FORWARD.
fn creation(
    nft: &mut Nfnetlink,
    t: &mut Transaction<'_>,
    table: Table<'_>,
    networks: &[IpNet],
) -> Result<(), NetlinkError> {
    if nft.find_chain(table, FORWARD)?.is_none() {
        return Ok(());
    }
    let wanted: Vec<Rule> = rules(networks).collect();
    let there = nft.rules(table, CHAIN)?;
    let is_right =
        there.len() == wanted.len() && there.iter().zip(&wanted).all(|(is, rule)| is.is_like(table.family, rule));
    if !is_right {
        if nft.find_chain(table, CHAIN)?.is_none() {
            t.create_chain(CHAIN);
        } else {
            t.flush_chain(CHAIN);
        }
        for rule in &wanted {
            t.add_rule(CHAIN, rule);
        }
    }
    let jump = Verdict::Jump(CHAIN.to_owned());
    if !nft.rules(table, FORWARD)?.iter().any(|rule| rule.verdict().as_ref() == Some(&jump)) {
        t.add_rule(FORWARD, &Rule::new().xt_comment(COMMENT).counter().verdict(jump));
    }
    Ok(())
}

/// Adds to `t` the removal of `chain`, and of the jumps to it from `from`.
pub(super) fn removal(
    nft: &mut Nfnetlink,
    t: &mut Transaction<'_>,
    table: Table<'_>,
    from: &str,
    chain: &str,
) -> Result<(), NetlinkError> {
    if nft.find_chain(table, chain)?.is_none() {
        return Ok(());
    }
    let jump = Verdict::Jump(chain.to_owned());
    for rule in nft.rules(table, from)?.iter().filter(|rule| rule.verdict().as_ref() == Some(&jump)) {
        t.remove_rule(from, rule.handle);
    }
    t.remove_chain(chain);
    Ok(())
}

fn ensure_legacy(iptables: &Iptables, family: Family, networks: &[IpNet]) -> Result<(), MasqueradeError> {
    if !has_legacy_rules(iptables, family, FILTER) {
        return Ok(());
    }
    if networks.is_empty() {
        return remove_legacy(iptables, family, FILTER, FORWARD, CHAIN).map(drop);
    }
    let done = iptables.update(Variant::Legacy, family, FILTER, |present| {
        let mut batch = Batch::default();
        batch.reset_chain(CHAIN);
        for net in networks.iter().map(ToString::to_string) {
            for side in ["-s", "-d"] {
                batch.append(CHAIN, [side, &net, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"]);
            }
        }
        if !present.rules_of(FORWARD).any(|rule| rule.target() == Some(CHAIN)) {
            batch.append(FORWARD, ["-m", "comment", "--comment", COMMENT, "-j", CHAIN]);
        }
        batch
    });
    done.map_err(|source| MasqueradeError::Legacy { action: "write", source })
}

/// Removes `chain` and the jumps to it from `from`; whether there was one.
pub(super) fn remove_legacy(
    iptables: &Iptables,
    family: Family,
    table: &str,
    from: &str,
    chain: &str,
) -> Result<bool, MasqueradeError> {
    let mut found = false;
    let done = iptables.update(Variant::Legacy, family, table, |present| {
        let mut batch = Batch::default();
        if present.has_chain(chain) {
            found = true;
            present.rules_of(from).filter(|rule| rule.target() == Some(chain)).for_each(|rule| batch.delete(rule));
            batch.remove_chain(chain);
        }
        batch
    });
    done.map_err(|source| MasqueradeError::Legacy { action: "remove", source })?;
    Ok(found)
}
