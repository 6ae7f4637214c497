//! The chains and rules of the Go plugin's layout, and the tags:
//! ```text
//! -A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
//! -A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT
//! -A CNI-FERRULE-TAGS -s 10.1.0.2/32 [-i cni0 [-o cni0]] -m comment --comment "net c1 eth0"
//! ```
//! A tag with `-i` wants a policy for that bridge: `same-bridge`, with `-o` `isolated`.

use std::net::IpAddr;

use libcni::names::IfName;
use linuxnet::iptables::{Batch, Family, Rule, Table};
use linuxnet::tag::Tag;

use super::{Whose, isolation};
use crate::conf::Policy;
use crate::container::{Container, Isolation};
use crate::forward::{CNI_FORWARD, FORWARD, add_jumps};

/// Whose the rules are. Nothing jumps to it.
pub(super) const TAGS: &str = "CNI-FERRULE-TAGS";

/// An address that is let pass, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Record<'t> {
    rule: &'t Rule,
    pub(super) ip: IpAddr,
    tag: Tag,
    pub(super) isolation: Option<Isolation>,
}

/// All tags of a table.
pub(super) fn records(table: &Table) -> Vec<Record<'_>> {
    let record = |rule| {
        let isolation = Rule::option(rule, "-i").and_then(|bridge| bridge.parse::<IfName>().ok()).map(|bridge| {
            let policy = if rule.option("-o").is_some() { Policy::Isolated } else { Policy::SameBridge };
            Isolation { bridge, policy }
        });
        Some(Record { rule, ip: address(rule.option("-s")?)?, tag: rule.comment()?.parse().ok()?, isolation })
    };
    table.rules_of(TAGS).filter_map(record).collect()
}

/// A single address as iptables writes it: with its whole length.
fn address(text: &str) -> Option<IpAddr> {
    let (ip, length) = text.split_once('/').unwrap_or((text, ""));
    let ip: IpAddr = ip.parse().ok()?;
    let whole = if ip.is_ipv4() { "32" } else { "128" };
    ["", whole].contains(&length).then_some(ip)
}

/// The address that a rule lets send, if it does nothing else.
fn lets_send(rule: &Rule) -> Option<IpAddr> {
    (rule.target() == Some("ACCEPT") && rule.option("-d").is_none() && rule.comment().is_none())
        .then(|| address(rule.option("-s")?))?
}

/// The address that a rule lets receive answers.
fn lets_receive(rule: &Rule) -> Option<IpAddr> {
    (rule.target() == Some("ACCEPT") && rule.option("-s").is_none() && rule.option("--ctstate").is_some())
        .then(|| address(rule.option("-d")?))?
}

/// The change that lets the container's addresses of this family pass: nothing if they do.
pub(super) fn admission(table: &Table, family: Family, container: &Container, admin: &str) -> Batch {
    let mut batch = Batch::default();
    add_jumps(&mut batch, table, admin);
    if !table.has_chain(TAGS) {
        batch.reset_chain(TAGS);
    }
    let ips: Vec<IpAddr> = of_family(container, family).collect();
    let is_right = |r: &Record<'_>| {
        r.tag.is_same_attachment(&container.tag) && ips.contains(&r.ip) && r.isolation == container.isolation
    };
    let all = records(table);
    // What an earlier life of the attachment, or an earlier holder of an address, left.
    let is_old = |r: &Record<'_>| !is_right(r) && (r.tag.is_same_attachment(&container.tag) || ips.contains(&r.ip));
    let (old, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(is_old);
    for record in &old {
        batch.delete(record.rule);
    }
    let lost = old.iter().map(|record| record.ip).filter(|ip| !ips.contains(ip) && !has(&kept, *ip));
    for ip in unique(lost) {
        remove_accepts(&mut batch, table, ip);
    }
    for ip in &ips {
        let text = ip.to_string();
        if !table.rules_of(CNI_FORWARD).any(|rule| lets_receive(rule) == Some(*ip)) {
            let words = ["-d", &text, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"];
            batch.append(CNI_FORWARD, words);
        }
        if !table.rules_of(CNI_FORWARD).any(|rule| lets_send(rule) == Some(*ip)) {
            batch.append(CNI_FORWARD, ["-s", &text, "-j", "ACCEPT"]);
        }
        if !has(&kept, *ip) {
            append_record(&mut batch, &text, container);
        }
    }
    let wanted = kept.iter().filter_map(|record| record.isolation.clone()).chain(container.isolation.clone()).collect();
    isolation::settle(&mut batch, table, wanted, bridges_of(&old), has_untagged(table, &kept, &ips));
    batch
}

fn has(records: &[Record<'_>], ip: IpAddr) -> bool {
    records.iter().any(|record| record.ip == ip)
}

fn unique(ips: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = ips.collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

fn bridges_of(records: &[Record<'_>]) -> Vec<IfName> {
    records.iter().filter_map(|record| Some(record.isolation.as_ref()?.bridge.clone())).collect()
}

/// Whether an address other than `besides` passes that has no tag: it is the Go plugin's, which does not say who wants a
/// policy, so that as long as there is one of them policies stay.
fn has_untagged(table: &Table, tagged: &[Record<'_>], besides: &[IpAddr]) -> bool {
    table.rules_of(CNI_FORWARD).any(|rule| {
        let ip = lets_send(rule).or(lets_receive(rule));
        ip.is_some_and(|ip| !besides.contains(&ip) && !has(tagged, ip))
    })
}

fn append_record(batch: &mut Batch, ip: &str, container: &Container) {
    let tag = container.tag.to_string();
    let mut words = vec!["-s", ip];
    if let Some(Isolation { bridge, policy }) = &container.isolation {
        words.extend(["-i", bridge.as_str()]);
        if *policy == Policy::Isolated {
            words.extend(["-o", bridge.as_str()]);
        }
    }
    words.extend(["-m", "comment", "--comment", &tag]);
    batch.append(TAGS, words);
}

fn of_family(container: &Container, family: Family) -> impl Iterator<Item = IpAddr> {
    container.ips.iter().copied().filter(move |ip| Family::of(*ip) == family)
}

fn remove_accepts(batch: &mut Batch, table: &Table, ip: IpAddr) -> bool {
    let mut found = false;
    let is_of = |rule: &&Rule| lets_receive(rule) == Some(ip) || lets_send(rule) == Some(ip);
    for rule in table.rules_of(CNI_FORWARD).filter(is_of) {
        batch.delete(rule);
        found = true;
    }
    found
}

/// The change after which nothing that is meant is left.
pub(super) fn removal(table: &Table, family: Family, whose: Whose<'_>) -> Batch {
    let mut batch = Batch::default();
    let (gone, kept): (Vec<_>, Vec<_>) = records(table).into_iter().partition(|record| whose.is_meant(&record.tag));
    let untagged = whose.ips().iter().copied().filter(|ip| Family::of(*ip) == family);
    // An address that another attachment's tag claims is that one's now.
    let ips = unique(gone.iter().map(|record| record.ip).chain(untagged).filter(|ip| !has(&kept, *ip)));
    for record in &gone {
        batch.delete(record.rule);
    }
    let mut freed = bridges_of(&gone);
    for ip in &ips {
        if remove_accepts(&mut batch, table, *ip) && !has(&gone, *ip) {
            // The Go plugin's: it may have wanted a policy for any bridge.
            freed.extend(isolation::bridges(table));
        }
    }
    let wanted = kept.iter().filter_map(|record| record.isolation.clone()).collect();
    isolation::settle(&mut batch, table, wanted, freed, has_untagged(table, &kept, &ips));
    batch
}

/// What the table lacks to let the container's addresses of this family pass, whoever made it.
pub(super) fn differences(table: &Table, family: Family, container: &Container) -> Vec<String> {
    let mut differences = Vec::new();
    if !table.rules_of(FORWARD).any(|rule| rule.target() == Some(CNI_FORWARD)) {
        differences.push(format!("the jump from {FORWARD} to {CNI_FORWARD} in iptables is missing"));
    }
    for ip in of_family(container, family) {
        let whole = if ip.is_ipv4() { 32 } else { 128 };
        if !table.rules_of(CNI_FORWARD).any(|rule| lets_receive(rule) == Some(ip)) {
            let rule = format!("-d {ip}/{whole} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
            differences.push(format!("the rule \"{rule}\" in chain {CNI_FORWARD} of iptables is missing"));
        }
        if !table.rules_of(CNI_FORWARD).any(|rule| lets_send(rule) == Some(ip)) {
            differences
                .push(format!("the rule \"-s {ip}/{whole} -j ACCEPT\" in chain {CNI_FORWARD} of iptables is missing"));
        }
    }
    if let Some(isolation) = &container.isolation {
        differences.extend(isolation::differences(table, isolation));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::types::AttachmentId;
    use linuxnet::tag::Valid;

    /// What iptables-save prints after the Go plugin's ADD of 10.1.0.2 with the policies same-bridge and isolated.
    const GO: &str = include_str!("../../tests/fixtures/iptables-save-1.8.9-go-firewall.txt");

    fn container(container_id: &str, ip: &str, policy: Policy) -> Container {
        let id = AttachmentId { container_id: container_id.parse().unwrap(), ifname: "eth0".parse().unwrap() };
        let isolation = (policy != Policy::Open).then(|| Isolation { bridge: "br0".parse().unwrap(), policy });
        let tag = Tag::new(&"net".parse().unwrap(), &id);
        Container { tag, ips: vec![ip.parse().unwrap()], isolation, ports: Vec::new() }
    }

    /// The table after `batch`, as far as plans use it.
    fn after(before: &str, batch: &Batch) -> String {
        let mut lines: Vec<String> = before.lines().filter(|l| *l != "COMMIT").map(str::to_owned).collect();
        for line in batch.text("filter").lines() {
            if let Some(rule) = line.strip_prefix("-D ") {
                let at = lines.iter().position(|l| l.strip_prefix("-A ") == Some(rule)).expect("deleted rule is there");
                lines.remove(at);
            } else if let Some(rule) = line.strip_prefix("-I ") {
                let chain = rule.split(' ').next().unwrap();
                let first = lines.iter().position(|l| l.starts_with(&format!("-A {chain} "))).unwrap_or(lines.len());
                lines.insert(first, format!("-A {rule}"));
            } else if line.starts_with(':') || line.starts_with("-A") {
                lines.push(line.replace("-s 10.1.0.3 ", "-s 10.1.0.3/32 ").replace("-d 10.1.0.3 ", "-d 10.1.0.3/32 "));
            }
        }
        lines.join("\n")
    }

    fn added(before: &str, container: &Container) -> String {
        let saved = after(before, &admission(&Table::parse(before), Family::V4, container, "CNI-ADMIN"));
        let table = Table::parse(&saved);
        assert_eq!(differences(&table, Family::V4, container), Vec::<String>::new());
        assert!(admission(&table, Family::V4, container, "CNI-ADMIN").is_empty(), "not idempotent:\n{saved}");
        saved
    }

    fn removed(before: &str, whose: Whose<'_>) -> String {
        let saved = after(before, &removal(&Table::parse(before), Family::V4, whose));
        assert!(removal(&Table::parse(&saved), Family::V4, whose).is_empty(), "not idempotent:\n{saved}");
        saved
    }

    #[test]
    fn the_go_plugins_rules_are_ours_to_check_and_remove() {
        let go = container("c1", "10.1.0.2", Policy::Isolated);
        assert_eq!(differences(&Table::parse(GO), Family::V4, &go), Vec::<String>::new());
        let left = removed(GO, Whose::Container(&go));
        assert!(!left.contains("10.1.0.2") && !left.contains("br0"), "{left}");
    }

    #[test]
    fn a_policy_that_the_go_plugin_may_want_stays() {
        let ours = container("c2", "10.1.0.3", Policy::Isolated);
        let both = added(GO, &ours);
        let left = removed(&both, Whose::Container(&ours));
        assert_eq!(left.matches("br0").count(), GO.matches("br0").count(), "{left}");
        assert!(!left.contains("10.1.0.3"));
        // The other way round it stays for ours.
        let left = removed(&both, Whose::Container(&container("c1", "10.1.0.2", Policy::Open)));
        assert!(left.contains("-i br0 -o br0") && !left.contains("10.1.0.2"), "{left}");
        let valid = Valid::new(&"net".parse().unwrap(), &[]);
        assert!(!removed(&left, Whose::Stale(&valid)).contains("br0"));
    }

    #[test]
    fn gc_leaves_what_has_no_tag_and_what_is_valid() {
        let valid = |ids: &[AttachmentId]| Valid::new(&"net".parse().unwrap(), ids);
        assert!(removal(&Table::parse(GO), Family::V4, Whose::Stale(&valid(&[]))).is_empty());
        let saved = added(GO, &container("c2", "10.1.0.3", Policy::Open));
        let id = AttachmentId { container_id: "c2".parse().unwrap(), ifname: "eth0".parse().unwrap() };
        assert!(removal(&Table::parse(&saved), Family::V4, Whose::Stale(&valid(&[id]))).is_empty());
        assert!(!removed(&saved, Whose::Stale(&valid(&[]))).contains("10.1.0.3"));
    }
}
