//! What flanneld leaves when it ends: its nftables tables, or its chains of iptables.

use linuxnet::iptables::{Family, Iptables};
use linuxnet::nft::{Family as NftFamily, Nfnetlink, Table, Transaction};

use super::MasqueradeError;
use super::forward::{has_legacy_rules, removal, remove_legacy, table_of};

const TABLES: [Table<'static>; 2] =
    [Table::new(NftFamily::Ipv4, "flannel-ipv4"), Table::new(NftFamily::Ipv6, "flannel-ipv6")];
/// Table, the kernel's chain, flannel's.
const CHAINS: [(&str, &str, &str); 2] =
    [("nat", "POSTROUTING", "FLANNEL-POSTRTG"), ("filter", "FORWARD", "FLANNEL-FWD")];

/// Removes flannel's rules, and tells which there were. It is called once, when our own are in place: this node is
/// taken over then, and in no moment without rules. A flanneld that still runs (which it must not: both would own one
/// device) puts its own back within seconds, where they do what ours do.
///
/// # Errors
/// [`MasqueradeError`].
pub(crate) fn remove_flannels(nft: &mut Nfnetlink) -> Result<Vec<String>, MasqueradeError> {
    let mut removed = Vec::new();
    let mut t = Transaction::new(super::TABLE);
    for table in TABLES {
        if nft.table_exists(table).map_err(MasqueradeError::of("check"))? {
            t.at(table).remove_table();
            removed.push(format!("table {table}"));
        }
    }
    let iptables = Iptables::of_host();
    for family in Family::ALL {
        for (name, from, chain) in CHAINS {
            let table = table_of(family, name);
            if nft.find_chain(table, chain).map_err(MasqueradeError::of("check"))?.is_some() {
                removal(nft, t.at(table), table, from, chain).map_err(MasqueradeError::of("check"))?;
                removed.push(format!("chain {chain} in table {table} of iptables"));
            }
            if has_legacy_rules(&iptables, family, name) && remove_legacy(&iptables, family, name, from, chain)? {
                removed.push(format!("chain {chain} in table {name} of iptables-legacy"));
            }
        }
    }
    nft.commit(&t).map_err(MasqueradeError::of("remove"))?;
    Ok(removed)
}
