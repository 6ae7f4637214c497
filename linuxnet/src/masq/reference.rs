//! What the Go reference leaves in nftables when it masquerades, and what becomes of it.
//!
//! ```text
//! table inet cni_plugins_masquerade {
//!     chain masq_checks {
//!         ip saddr 10.1.0.2 ip daddr != 10.1.0.0/16 masquerade \
//!             comment "a4861f4ae9f7d238-f4d01f2ef4b92245, net: net, if: eth0, id: c1"
//! ```
//! The comment begins with the hashes of the network's name and of `<ifname>:<container id>`.

use ipnet::IpNet;
use libcni::names::NetworkName;
use libcni::types::AttachmentId;

use crate::error::NetlinkError;
use crate::nft::{Load, Nfnetlink, Rule, RuleEntry, Table, Transaction};
use crate::tag::{Valid, short_hash};

const TABLE: Table<'static> = Table::inet("cni_plugins_masquerade");
const CHECKS: &str = "masq_checks";

/// Whether the reference's rule for `address` is there.
pub(super) fn has_rule(
    nft: &mut Nfnetlink,
    network: &NetworkName,
    id: &AttachmentId,
    address: IpNet,
) -> Result<bool, NetlinkError> {
    let saddr = if address.addr().is_ipv4() { Load::IpSaddr } else { Load::Ip6Saddr };
    let rule = Rule::new().equals(saddr, address.addr()).destination_not_in(address.trunc()).masquerade();
    let owner = owner(network, id);
    Ok(rules(nft)?.iter().any(|entry| is_of(entry, &owner) && entry.is_like(TABLE.family, &rule)))
}

/// Removes the rules of an attachment.
pub(super) fn teardown(nft: &mut Nfnetlink, network: &NetworkName, id: &AttachmentId) -> Result<(), NetlinkError> {
    let owner = owner(network, id);
    remove(nft, |entry| is_of(entry, &owner))
}

/// Removes the rules of attachments that are not valid.
pub(super) fn gc(nft: &mut Nfnetlink, valid: &Valid) -> Result<(), NetlinkError> {
    let network = format!("{}-", short_hash(valid.network().as_str()));
    let owners: Vec<_> = valid.ids().iter().map(|id| owner(valid.network(), id)).collect();
    remove(nft, |entry| is_of(entry, &network) && !owners.iter().any(|owner| is_of(entry, owner)))
}

fn remove(nft: &mut Nfnetlink, unwanted: impl Fn(&RuleEntry) -> bool) -> Result<(), NetlinkError> {
    super::nft::retry(|| {
        let mut transaction = Transaction::new(TABLE);
        for entry in rules(nft)?.iter().filter(|entry| unwanted(entry)) {
            transaction.remove_rule(CHECKS, entry.handle);
        }
        super::nft::commit(nft, &transaction)
    })
}

/// All rules; none where the reference has never been.
fn rules(nft: &mut Nfnetlink) -> Result<Vec<RuleEntry>, NetlinkError> {
    // Cheaper than a list of nothing.
    if nft.find_chain(TABLE, CHECKS)?.is_none() {
        return Ok(Vec::new());
    }
    nft.rules(TABLE, CHECKS)
}

/// How the comments of an attachment begin.
fn owner(network: &NetworkName, id: &AttachmentId) -> String {
    let attachment = format!("{}:{}", id.ifname, id.container_id);
    format!("{}-{}", short_hash(network.as_str()), short_hash(&attachment))
}

fn is_of(entry: &RuleEntry, owner: &str) -> bool {
    entry.comment.as_deref().is_some_and(|comment| comment.starts_with(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_named_as_the_reference_names_them() {
        // From `nft list ruleset` after the reference's bridge plugin v1.9.1.
        let id = AttachmentId { container_id: "c1".parse().unwrap(), ifname: "eth0".parse().unwrap() };
        assert_eq!(owner(&"net".parse().unwrap(), &id), "a4861f4ae9f7d238-f4d01f2ef4b92245");
    }
}
