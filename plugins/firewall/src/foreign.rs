//! Who else may drop the container's packets: chains of nftables that others made. Their drop is final; a table of ours
//! cannot undo it. All that can be done is to say so, and how the owner of such a chain can let containers pass.

use linuxnet::NetlinkError;
use linuxnet::nft::{BaseChainEntry, Family, Hook, Nfnetlink, Policy, RuleEntry};

use crate::firewalld;
use crate::forward::{self, FORWARD};
use crate::nftables::{MARK, TABLE};

/// A line for the operator about each chain that drops forwarded packets and knows no exception for our mark. `zoned`:
/// whether firewalld was told about the container.
pub(crate) fn warnings(nft: &mut Nfnetlink, zoned: bool) -> Result<Vec<String>, NetlinkError> {
    let mut warnings = Vec::new();
    for family in [Family::Inet, Family::Ipv4, Family::Ipv6] {
        for chain in nft.base_chains(family)? {
            if chain.is_at(Hook::Forward) && !is_provided_for(&chain, zoned) && drops(nft, &chain)? {
                warnings.push(warning(&chain));
            }
        }
    }
    Ok(warnings)
}

/// Whether containers pass it anyway: ours, that of iptables, that of a firewalld which knows them.
fn is_provided_for(chain: &BaseChainEntry, zoned: bool) -> bool {
    let is_of_iptables = || {
        let tables = linuxnet::iptables::Family::ALL.map(forward::table_of);
        tables.contains(&chain.table()) && chain.name == FORWARD
    };
    chain.table() == TABLE || is_of_iptables() || (zoned && chain.table() == firewalld::TABLE)
}

/// Whether whatever no rule accepts is dropped, and no rule looks for our mark.
fn drops(nft: &mut Nfnetlink, chain: &BaseChainEntry) -> Result<bool, NetlinkError> {
    let rules = nft.rules(chain.table(), &chain.name)?;
    let drops = chain.policy == Some(Policy::Drop) || rules.last().is_some_and(RuleEntry::drops_all);
    Ok(drops && !rules.iter().any(|rule| rule.compares_with(&MARK.to_ne_bytes())))
}

fn warning(chain: &BaseChainEntry) -> String {
    let BaseChainEntry { name, .. } = chain;
    let table = chain.table();
    format!(
        "chain {name} of table {table} drops what it does not accept, and no other table can prevent that (hint: nft \
         insert rule {table} {name} meta mark and {MARK:#x} == {MARK:#x} accept)"
    )
}
