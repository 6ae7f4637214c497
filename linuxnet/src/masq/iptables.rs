//! Masquerading by iptables, in the reference's layout, so that its DEL removes ours and ours removes its.
//!
//! Per container and network a chain `CNI-<hash>` of table nat, entered from POSTROUTING by the container's address:
//! ```text
//! -A POSTROUTING -s 10.1.0.5/32 -m comment --comment "name: \"net\" id: \"c1\"" -j CNI-623e1c388032b20529218ecc
//! -A CNI-623e… -d 10.1.0.0/16 -m comment --comment … -j ACCEPT
//! -A CNI-623e… ! -d 224.0.0.0/4 -m comment --comment … -j MASQUERADE
//! -A CNI-623e… -s 10.1.0.5/32 -d 10.1.0.0/16 -m comment --comment "net c1 eth0"
//! ```
//! The last rule is ours alone. It has no target and is hardly ever reached: it records which interface of the
//! container the address is of, since two may share the chain. The other rules are the reference's, except that all
//! ACCEPTs stand before the MASQUERADE (with two subnets of one family the reference masquerades between them).

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use libcni::names::{ContainerId, NetworkName};
use libcni::types::AttachmentId;

use crate::iptables::{Batch, Rule, Table};
use crate::tag::{Tag, Valid, chain_name};

const POSTROUTING: &str = "POSTROUTING";

/// `XT_MAX_COMMENT_LEN` less the NUL: the longest comment that iptables takes, in bytes.
const COMMENT_MAX: usize = 255;

/// One address that is masqueraded: a jump in POSTROUTING, and what its chain says about it.
#[derive(Debug)]
struct Share<'a> {
    jump: &'a Rule,
    chain: &'a str,
    /// The address and the subnet that it is not masqueraded to.
    address: IpNet,
    /// Whose it is. `None` if the reference made it.
    tag: Option<Tag>,
}

/// An address to be masqueraded.
#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    address: IpNet,
    tag: Option<&'a Tag>,
}

/// The attachment that a change is about.
#[derive(Debug)]
pub(super) struct Owner {
    tag: Tag,
    pub(super) chain: String,
    comment: String,
}

impl Owner {
    pub(super) fn new(network: &NetworkName, id: &AttachmentId) -> Self {
        Self {
            tag: Tag::new(network, id),
            chain: chain_name("", network, &id.container_id),
            comment: comment(network, &id.container_id),
        }
    }
}

/// The change that makes `addresses`, all of the table's family, masqueraded for `owner`: nothing if they are. What
/// an earlier life of the attachment, or an earlier holder of an address, left is replaced.
pub(super) fn setup(table: &Table, owner: &Owner, addresses: &[IpNet]) -> Batch {
    let stale = |share: &Share<'_>| {
        addresses.iter().any(|address| address.addr() == share.address.addr())
            || share.tag.as_ref().is_some_and(|tag| share.chain == owner.chain && tag.is_same_attachment(&owner.tag))
    };
    let present = shares(table).into_iter().filter(stale).count();
    if present == addresses.len() && verify(table, owner, addresses).is_none() {
        return Batch::default();
    }
    change(table, stale, &[], Some((owner, addresses)))
}

/// The change after which nothing of `owner` is left, whoever made it.
pub(super) fn teardown(table: &Table, owner: &Owner) -> Batch {
    let of_owner = |share: &Share<'_>| share.chain == owner.chain && is_of(share, &owner.tag);
    let own_chain = table.chains().find(|chain| *chain == owner.chain);
    change(table, of_owner, own_chain.as_slice(), None)
}

/// The change after which the network of `valid` has nothing but what its valid attachments have.
pub(super) fn gc(table: &Table, valid: &Valid) -> Batch {
    let of_stale_container = |rule: &Rule| {
        rule.comment().and_then(parse_comment).is_some_and(|(network, container_id)| {
            network == valid.network().as_str() && !valid.has_container(container_id)
        })
    };
    let stale = |share: &Share<'_>| match &share.tag {
        Some(tag) => valid.is_stale(tag),
        None => of_stale_container(share.jump),
    };
    // A chain that nothing leads to any more still names its owner in its rules.
    let abandoned: Vec<_> =
        table.chains().filter(|chain| is_chain(chain) && table.rules_of(chain).any(&of_stale_container)).collect();
    change(table, stale, &abandoned, None)
}

/// What `addresses` lack to be masqueraded for `owner`, as words for an error; `None` if nothing.
pub(super) fn verify(table: &Table, owner: &Owner, addresses: &[IpNet]) -> Option<String> {
    let shares = shares(table);
    addresses.iter().find_map(|address| {
        let leads = |share: &Share<'_>| share.chain == owner.chain && share.address.addr() == address.addr();
        if !shares.iter().any(|share| leads(share) && is_of(share, &owner.tag)) {
            return Some(format!("the rule \"-s {} -j {}\" in chain {POSTROUTING}", address.addr(), owner.chain));
        }
        match accepts(table, &owner.chain, *address) {
            None => Some(format!("the rule \"-j MASQUERADE\" in chain {}", owner.chain)),
            Some(false) => Some(format!(
                "the rule \"-d {} -j ACCEPT\" before MASQUERADE in chain {}",
                address.trunc(),
                owner.chain
            )),
            Some(true) => None,
        }
    })
}

/// The change that drops the shares chosen by `drop` and then masquerades the addresses of `new`. The chains that
/// this concerns, and `also`, are written anew from what is to be in them, or removed where nothing is.
fn change(table: &Table, drop: impl Fn(&Share<'_>) -> bool, also: &[&str], new: Option<(&Owner, &[IpNet])>) -> Batch {
    let mut batch = Batch::default();
    let (dropped, kept): (Vec<_>, Vec<_>) = shares(table).into_iter().partition(drop);
    for share in &dropped {
        batch.delete(share.jump);
    }
    let new_chain = new.map(|(owner, _)| owner.chain.as_str());
    let chains = dropped.iter().map(|share| share.chain).chain(also.iter().copied()).chain(new_chain);
    for chain in chains.collect::<BTreeSet<_>>() {
        let old = kept.iter().filter(|share| share.chain == chain);
        let mut comment = old.clone().find_map(|share| share.jump.comment());
        let mut entries: Vec<_> = old.map(Share::entry).collect();
        if let Some((owner, addresses)) = new.filter(|(owner, _)| owner.chain == chain) {
            comment = Some(&owner.comment);
            entries.extend(addresses.iter().map(|&address| Entry { address, tag: Some(&owner.tag) }));
        }
        if entries.is_empty() {
            batch.remove_chain(chain);
        } else {
            fill(&mut batch, chain, comment.unwrap_or_default(), &entries);
        }
    }
    if let Some((owner, addresses)) = new {
        for address in addresses {
            let source = address.addr().to_string();
            let words = ["-s", &source, "-m", "comment", "--comment", &owner.comment, "-j", &owner.chain];
            batch.append(POSTROUTING, words);
        }
    }
    batch
}

/// Writes a chain for these addresses from nothing.
fn fill(batch: &mut Batch, chain: &str, comment: &str, entries: &[Entry<'_>]) {
    batch.reset_chain(chain);
    let subnets: BTreeSet<IpNet> = entries.iter().map(|entry| entry.address.trunc()).collect();
    for subnet in subnets {
        batch.append(chain, ["-d", &subnet.to_string(), "-m", "comment", "--comment", comment, "-j", "ACCEPT"]);
    }
    let Some(first) = entries.first() else { return };
    let multicast = super::multicast(first.address).to_string();
    batch.append(chain, ["!", "-d", &multicast, "-m", "comment", "--comment", comment, "-j", "MASQUERADE"]);
    for entry in entries {
        if let Some(tag) = entry.tag {
            let (source, subnet) = (entry.address.addr().to_string(), entry.address.trunc().to_string());
            batch.append(chain, ["-s", &source, "-d", &subnet, "-m", "comment", "--comment", &tag.to_string()]);
        }
    }
}

impl Share<'_> {
    fn entry(&self) -> Entry<'_> {
        Entry { address: self.address, tag: self.tag.as_ref() }
    }
}

/// Whether the share is `tag`'s, or may be: the reference does not say which interface it made a rule for.
fn is_of(share: &Share<'_>, tag: &Tag) -> bool {
    share.tag.as_ref().is_none_or(|of| of.is_same_attachment(tag))
}

/// Every address that is masqueraded in a chain of the reference's or of ours.
fn shares(table: &Table) -> Vec<Share<'_>> {
    table.rules_of(POSTROUTING).filter_map(|jump| share(table, jump)).collect()
}

fn share<'a>(table: &'a Table, jump: &'a Rule) -> Option<Share<'a>> {
    let chain = jump.target().filter(|target| is_chain(target))?;
    // The reference once wrote the whole subnet here; the address of a network serves as well.
    let source = address(jump.option("-s")?)?.addr();
    let record = table.rules_of(chain).filter(|rule| rule.target().is_none()).find_map(|rule| {
        let tag = rule.comment()?.parse::<Tag>().ok()?;
        (address(rule.option("-s")?)?.addr() == source).then(|| (tag, destination(rule, source)))
    });
    let subnet = || {
        let accepts = table.rules_of(chain).filter(|rule| rule.target() == Some("ACCEPT"));
        let subnets = accepts.filter_map(|rule| destination(rule, source)).filter(|subnet| subnet.contains(&source));
        subnets.max_by_key(IpNet::prefix_len)
    };
    let (tag, subnet) = match record {
        Some((tag, subnet)) => (Some(tag), subnet),
        None => (None, subnet()),
    };
    let address = subnet.map_or(IpNet::from(source), |subnet| IpNet::new_assert(source, subnet.prefix_len()));
    Some(Share { jump, chain, address, tag })
}

/// Whether a chain accepts the subnet of `address` before it masquerades; `None` if it does not masquerade.
fn accepts(table: &Table, chain: &str, address: IpNet) -> Option<bool> {
    let mut accepted = false;
    for rule in table.rules_of(chain) {
        match rule.target() {
            Some("MASQUERADE") => return Some(accepted),
            Some("ACCEPT") => accepted |= destination(rule, address.addr()) == Some(address.trunc()),
            _ => {}
        }
    }
    None
}

/// The destination of a rule; where it names none, all addresses of the family of `like`. (iptables leaves `/0` out.)
fn destination(rule: &Rule, like: IpAddr) -> Option<IpNet> {
    match rule.option("-d") {
        Some(text) => address(text),
        None => IpNet::new(like, 0).ok().map(|all| all.trunc()),
    }
}

/// An address or subnet as iptables writes it: the prefix length is left out by old versions where it is the longest.
fn address(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Whether a chain has a name as [`chain_name`] gives it without a prefix.
fn is_chain(name: &str) -> bool {
    name.strip_prefix("CNI-")
        .is_some_and(|hash| hash.len() == 24 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// The comment of the reference's rules. One too long for iptables, which would refuse it, is cut.
fn comment(network: &NetworkName, container_id: &ContainerId) -> String {
    let mut text = format!("name: \"{network}\" id: \"{container_id}\"");
    if text.len() > COMMENT_MAX {
        text.truncate(COMMENT_MAX - 3);
        text.push_str("...");
    }
    text
}

/// The network and the container that a comment of the reference names.
fn parse_comment(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("name: \"")?.strip_suffix('"')?.split_once("\" id: \"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO: &str = include_str!("../../tests/fixtures/iptables-save-1.8.9-go-bridge-portmap.txt");

    fn id(container_id: &str, ifname: &str) -> AttachmentId {
        AttachmentId { container_id: container_id.parse().unwrap(), ifname: ifname.parse().unwrap() }
    }

    fn owner(container_id: &str, ifname: &str) -> Owner {
        Owner::new(&"net".parse().unwrap(), &id(container_id, ifname))
    }

    fn nets(addresses: &[&str]) -> Vec<IpNet> {
        addresses.iter().map(|a| a.parse().unwrap()).collect()
    }

    /// The table after `batch`, as far as plans use it.
    fn after(before: &str, batch: &Batch) -> String {
        let mut lines: Vec<String> = before.lines().filter(|l| *l != "COMMIT").map(str::to_owned).collect();
        let text = batch.text("nat");
        for line in text.lines() {
            if let Some(rule) = line.strip_prefix("-D ") {
                let at = lines.iter().position(|l| l.strip_prefix("-A ") == Some(rule)).expect("deleted rule is there");
                lines.remove(at);
            } else if let Some(chain) = line.strip_prefix("-X ") {
                assert!(!lines.iter().any(|l| l.ends_with(&format!("-j {chain}"))), "{chain} is in use");
                lines.retain(|l| !l.starts_with(&format!(":{chain} ")));
            } else if let Some(declared) = line.strip_prefix(':') {
                let chain = declared.split(' ').next().unwrap();
                lines.retain(|l| !l.starts_with(&format!(":{chain} ")) && !l.starts_with(&format!("-A {chain} ")));
                lines.push(line.to_owned());
            } else if line.starts_with("-A") {
                lines.push(line.to_owned());
            }
        }
        lines.join("\n")
    }

    fn set_up(before: &str, owner: &Owner, addresses: &[&str]) -> String {
        let saved = after(before, &setup(&Table::parse(before), owner, &nets(addresses)));
        let table = Table::parse(&saved);
        assert_eq!(verify(&table, owner, &nets(addresses)), None);
        assert!(setup(&table, owner, &nets(addresses)).is_empty(), "not idempotent:\n{saved}");
        saved
    }

    fn torn_down(before: &str, owner: &Owner) -> String {
        after(before, &teardown(&Table::parse(before), owner))
    }

    /// The rules of the chains of masquerading and the jumps to them.
    fn rules(saved: &str) -> Vec<&str> {
        saved.lines().filter(|l| l.contains("CNI-")).collect()
    }

    #[test]
    fn two_subnets_are_accepted_before_anything_is_masqueraded() {
        let batch = setup(&Table::default(), &owner("c1", "eth0"), &nets(&["10.1.0.5/16", "10.2.0.5/24"]));
        assert_eq!(batch.text("nat"), include_str!("../../tests/fixtures/iptables-restore-masq.txt"));
        let batch = setup(&Table::default(), &owner("c1", "eth0"), &nets(&["fd00:1::5/64"]));
        assert!(batch.text("nat").contains("! -d ff00::/8"));
    }

    #[test]
    fn what_the_reference_made_is_verified_and_removed() {
        let (table, owner) = (Table::parse(GO), owner("c1", "eth0"));
        assert_eq!(verify(&table, &owner, &nets(&["10.1.0.2/16"])), None);
        assert!(setup(&table, &owner, &nets(&["10.1.0.2/16"])).is_empty());
        let left = torn_down(GO, &owner);
        assert!(!left.contains(&owner.chain) && left.contains("CNI-HOSTPORT-MASQ"), "{left}");
        assert!(teardown(&Table::parse(&left), &owner).is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let owner = owner("c1", "eth0");
        let missing = |text: &str| verify(&Table::parse(text), &owner, &nets(&["10.1.0.2/16"])).unwrap();
        assert!(missing("").contains("in chain POSTROUTING"));
        assert!(missing(&GO.replace("! -d 224", "-d 224").replace("MASQUERADE", "RETURN")).contains("MASQUERADE"));
        assert!(missing(&GO.replace("-d 10.1.0.0/16", "-d 10.9.0.0/16")).contains("-d 10.1.0.0/16 -j ACCEPT"));
    }

    #[test]
    fn two_interfaces_of_a_container_share_a_chain_and_part_cleanly() {
        let (eth0, net1) = (owner("c1", "eth0"), owner("c1", "net1"));
        let first = set_up("", &eth0, &["10.1.0.5/16"]);
        let both = set_up(&first, &net1, &["10.2.0.5/16"]);
        assert_eq!(verify(&Table::parse(&both), &eth0, &nets(&["10.1.0.5/16"])), None);
        let left = torn_down(&both, &eth0);
        assert_eq!(verify(&Table::parse(&left), &net1, &nets(&["10.2.0.5/16"])), None);
        assert!(!left.contains("10.1.0"), "{left}");
        assert!(rules(&torn_down(&left, &net1)).is_empty());
    }

    #[test]
    fn a_second_add_replaces_the_first() {
        let eth0 = owner("c1", "eth0");
        let saved = set_up(&set_up("", &eth0, &["10.1.0.5/16"]), &eth0, &["10.1.0.6/16"]);
        assert!(!saved.contains("10.1.0.5"), "{saved}");
    }

    #[test]
    fn an_address_is_taken_from_its_former_holder() {
        let former =
            set_up(&set_up("", &owner("c1", "eth0"), &["10.1.0.5/16"]), &owner("c2", "eth0"), &["10.1.0.6/16"]);
        let saved = set_up(&former, &owner("c3", "eth0"), &["10.1.0.5/16"]);
        assert!(!saved.contains(&owner("c1", "eth0").chain), "{saved}");
        assert_eq!(verify(&Table::parse(&saved), &owner("c2", "eth0"), &nets(&["10.1.0.6/16"])), None);
    }

    #[test]
    fn gc_keeps_what_is_valid_and_other_networks() {
        let mut saved = set_up(GO, &owner("c2", "eth0"), &["10.1.0.5/16"]);
        saved = set_up(&saved, &owner("c3", "eth0"), &["10.1.0.6/16"]);
        saved = set_up(&saved, &owner("c3", "net1"), &["10.1.0.7/16"]);
        let other = Owner::new(&"other".parse().unwrap(), &id("c9", "eth0"));
        saved = set_up(&saved, &other, &["10.9.0.7/16"]);
        let valid = Valid::new(&"net".parse().unwrap(), &[id("c3", "eth0")]);
        let left = after(&saved, &gc(&Table::parse(&saved), &valid));
        for stale in ["c1", "c2"] {
            assert!(!left.contains(&owner(stale, "eth0").chain), "{left}");
        }
        assert!(!left.contains("10.1.0.7"), "{left}");
        assert_eq!(verify(&Table::parse(&left), &owner("c3", "eth0"), &nets(&["10.1.0.6/16"])), None);
        assert_eq!(verify(&Table::parse(&left), &other, &nets(&["10.9.0.7/16"])), None);
        assert!(gc(&Table::parse(&left), &valid).is_empty());
    }

    #[test]
    fn a_chain_that_nothing_leads_to_is_removed_too() {
        let jumpless: Vec<_> = GO.lines().filter(|l| !l.starts_with("-A POSTROUTING -s")).collect();
        let (jumpless, owner) = (jumpless.join("\n"), owner("c1", "eth0"));
        assert!(!torn_down(&jumpless, &owner).contains(&owner.chain));
        let none = Valid::new(&"net".parse().unwrap(), &[]);
        assert!(!after(&jumpless, &gc(&Table::parse(&jumpless), &none)).contains(&owner.chain));
    }

    #[test]
    fn a_comment_fits() {
        let comment = comment(&"n".repeat(200).parse().unwrap(), &"c".repeat(100).parse().unwrap());
        assert_eq!(comment.len(), COMMENT_MAX);
        assert_eq!(parse_comment("name: \"a\" id: \"b\""), Some(("a", "b")));
    }
}
