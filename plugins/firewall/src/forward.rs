//! The way through iptables' chain FORWARD, which others may have given the policy DROP (Docker does): one rule that
//! accepts what our nftables table marked, in the reference's own place:
//! ```text
//! -A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
//! -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
//! -A CNI-FORWARD -m mark --mark 0x1000/0x1000 -m comment --comment "containers in inet ferrule_firewall" -j ACCEPT
//! ```
//! It serves all containers and is made once for each family. Where iptables is iptables-nft, its chains are chains of
//! nftables, which iptables itself reads back: no program is started. They are made even before anybody uses iptables,
//! so that a Docker that starts later finds them. iptables-legacy is run, where its table is there already.

use linuxnet::NetlinkError;
use linuxnet::iptables::{Batch, Family, Iptables, Table, Variant, has_legacy};
use linuxnet::nft::{
    BaseChain, ChainKind, Family as NftFamily, Hook, Nfnetlink, Policy, Rule, RuleEntry, Table as NftTable,
    Transaction, Verdict, priority,
};

use crate::container::Container;
use crate::error::FirewallError;
use crate::nftables::{self, MARK};

/// The table of iptables in which packets are filtered.
pub(crate) const FILTER: &str = "filter";
/// The kernel's chain.
pub(crate) const FORWARD: &str = "FORWARD";
/// The reference's chain, jumped to from FORWARD.
pub(crate) const CNI_FORWARD: &str = "CNI-FORWARD";

const RULES_COMMENT: &str = "CNI firewall plugin rules";
const ADMIN_COMMENT: &str = "CNI firewall plugin admin overrides";
const MARK_COMMENT: &str = "containers in inet ferrule_firewall";

/// iptables-nft's table of this family.
pub(crate) fn table_of(family: Family) -> NftTable<'static> {
    match family {
        Family::V4 => NftTable::new(NftFamily::Ipv4, FILTER),
        Family::V6 => NftTable::new(NftFamily::Ipv6, FILTER),
    }
}

/// Makes what is missing of the way for the container's families.
pub(crate) fn open(nft: &mut Nfnetlink, container: &Container, admin: &str) -> Result<(), FirewallError> {
    let iptables = Iptables::of_host();
    for family in container.families() {
        let table = table_of(family);
        let failed = |place: String, source| FirewallError::Forward { place, source: Box::new(source) };
        if nft.find_chain(table, FORWARD).map_err(FirewallError::from)?.is_some() || iptables.default_is_nft(family) {
            ensure(nft, table, admin).map_err(|e| failed(table.to_string(), e.into()))?;
        }
        if has_legacy_rules(&iptables, family) {
            iptables
                .update(Variant::Legacy, family, FILTER, |present| {
                    let mut batch = Batch::default();
                    add_jumps(&mut batch, present, admin);
                    if !present.rules_of(CNI_FORWARD).any(is_by_mark) {
                        let mark = format!("{MARK:#x}/{MARK:#x}");
                        let words = ["-m", "mark", "--mark", &mark, "-m", "comment", "--comment", MARK_COMMENT];
                        batch.append(CNI_FORWARD, words.into_iter().chain(["-j", "ACCEPT"]));
                    }
                    batch
                })
                .map_err(|e| failed("iptables-legacy".to_owned(), e.into()))?;
        }
    }
    Ok(())
}

/// Whether packets pass rules of iptables-legacy. Without its programs nobody can have made any.
pub(crate) fn has_legacy_rules(iptables: &Iptables, family: Family) -> bool {
    has_legacy(family, FILTER) && iptables.is_installed(Variant::Legacy, family)
}

fn is_by_mark(rule: &linuxnet::iptables::Rule) -> bool {
    rule.target() == Some("ACCEPT") && rule.comment() == Some(MARK_COMMENT)
}

/// Adds the reference's chains and the jumps to them, as far as the table lacks them.
pub(crate) fn add_jumps(batch: &mut Batch, table: &Table, admin: &str) {
    for chain in [CNI_FORWARD, admin].into_iter().filter(|chain| !table.has_chain(chain)) {
        batch.reset_chain(chain);
    }
    for (from, to, comment) in [(FORWARD, CNI_FORWARD, RULES_COMMENT), (CNI_FORWARD, admin, ADMIN_COMMENT)] {
        if !table.rules_of(from).any(|rule| rule.target() == Some(to)) {
            batch.insert(from, ["-m", "comment", "--comment", comment, "-j", to]);
        }
    }
}

/// What stands in the way of the container's packets, though ours should be there, as words for an error.
pub(crate) fn verify(nft: &mut Nfnetlink, container: &Container, admin: &str) -> Result<Vec<String>, FirewallError> {
    let iptables = Iptables::of_host();
    let mut differences = Vec::new();
    for family in container.families() {
        let table = table_of(family);
        if nft.find_chain(table, FORWARD)?.is_some() {
            let lacks = Lacks::of(nft, table, admin)?;
            differences.extend(lacks.first().map(|what| format!("{what} in table {table} of iptables is missing")));
        }
        if has_legacy_rules(&iptables, family) {
            let present = iptables.list(Variant::Legacy, family, FILTER)?;
            let leads = |from: &str, to: &str| present.rules_of(from).any(|rule| rule.target() == Some(to));
            if !leads(FORWARD, CNI_FORWARD) || !present.rules_of(CNI_FORWARD).any(is_by_mark) {
                differences.push(format!("the rule for mark {MARK:#x} in iptables-legacy is missing"));
            }
        }
    }
    Ok(differences)
}

/// What iptables-nft's table lacks of the way.
struct Lacks {
    jump: bool,
    admin: bool,
    mark: bool,
}

impl Lacks {
    fn of(nft: &mut Nfnetlink, table: NftTable<'_>, admin: &str) -> Result<Self, NetlinkError> {
        let leads = |rules: &[RuleEntry], to: &str| {
            rules.iter().any(|rule| rule.verdict() == Some(Verdict::Jump(to.to_owned())))
        };
        let forward = nft.rules(table, FORWARD)?;
        let own = nft.rules(table, CNI_FORWARD)?;
        let by_mark = by_mark();
        Ok(Self {
            jump: !leads(&forward, CNI_FORWARD),
            admin: !leads(&own, admin),
            mark: !own.iter().any(|rule| rule.is_like(table.family, &by_mark)),
        })
    }

    fn first(&self) -> Option<&'static str> {
        if self.jump {
            Some("the jump from FORWARD to CNI-FORWARD")
        } else if self.mark {
            Some("the rule of CNI-FORWARD that accepts by mark")
        } else {
            self.admin.then_some("the jump from CNI-FORWARD to the administrator's chain")
        }
    }
}

fn by_mark() -> Rule {
    Rule::new().xt_mark(MARK, MARK).xt_comment(MARK_COMMENT).counter().verdict(Verdict::Accept)
}

/// Makes what iptables-nft's table lacks, in one transaction.
fn ensure(nft: &mut Nfnetlink, table: NftTable<'static>, admin: &str) -> Result<(), NetlinkError> {
    nftables::retry(|| {
        let lacks = Lacks::of(nft, table, admin)?;
        if lacks.first().is_none() {
            return Ok(());
        }
        let mut t = Transaction::new(table);
        if nft.find_chain(table, FORWARD)?.is_none() {
            t.ensure_table().create_base_chain(&BaseChain {
                name: FORWARD,
                kind: ChainKind::Filter,
                hook: Hook::Forward,
                priority: priority::FILTER,
                policy: Policy::Accept,
            });
        }
        for chain in [CNI_FORWARD, admin] {
            if nft.find_chain(table, chain)?.is_none() {
                t.create_chain(chain);
            }
        }
        let jump = |comment: &str, to: &str| Rule::new().xt_comment(comment).counter().jump(to);
        if lacks.jump {
            t.insert_rule(FORWARD, &jump(RULES_COMMENT, CNI_FORWARD));
        }
        if lacks.admin {
            t.insert_rule(CNI_FORWARD, &jump(ADMIN_COMMENT, admin));
        }
        if lacks.mark {
            t.add_rule(CNI_FORWARD, &by_mark());
        }
        nft.commit(&t)
    })
}
