//! Sets of networks, as `nft` sees them, and the number of the rule set.
#![allow(clippy::unwrap_used, reason = "a failure of a test's own values is a failed test")]

mod support;

use ipnet::IpNet;
use linuxnet::nft::{BaseChain, ChainKind, DataType, Hook, Load, Nfnetlink, Policy, Rule, Set, Table, Transaction};
use support::{Bed, output};

const TABLE: Table<'static> = Table::inet("example");
const NETS4: Set<'static> = Set::of("nets4", &[DataType::Ipv4Addr]).with_intervals();
const NETS6: Set<'static> = Set::of("nets6", &[DataType::Ipv6Addr]).with_intervals();

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn has(nft: &mut Nfnetlink, texts: &[&str]) -> bool {
    nft.has_networks(TABLE, NETS4.name, DataType::Ipv4Addr, &nets(texts)).unwrap()
}

#[test]
fn networks_are_as_nft_would_write_them_and_read_what_it_wrote() {
    let Some(bed) = Bed::new() else { return };
    let mut nft = Nfnetlink::open_in(&bed.host).unwrap();
    let mut t = Transaction::new(TABLE);
    t.ensure_table().ensure_set(&NETS4).ensure_set(&NETS6);
    t.add_networks("nets4", &nets(&["10.0.0.0/24", "10.0.1.0/25", "10.0.0.7/32", "224.0.0.0/3", "192.0.2.0/24"]));
    t.add_networks("nets6", &nets(&["ff00::/8", "fd00:1::/64"]));
    t.create_base_chain(&BaseChain {
        name: "postrouting",
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: 100,
        policy: Policy::Accept,
    });
    let random = Rule::new().not_in_set(&[Load::IpDaddr], "nets4").masquerade_fully_random();
    t.add_rule("postrouting", &random);
    nft.commit(&t).unwrap();
    let listed = output(&bed.host, "nft list table inet example");
    for line in [
        "elements = { 10.0.0.0-10.0.1.127, 192.0.2.0/24,",
        "224.0.0.0/3 }",
        "elements = { fd00:1::/64,",
        "ff00::/8 }",
        "ip daddr != @nets4 masquerade fully-random",
    ] {
        assert!(listed.contains(line), "{line}\n{listed}");
    }
    let rules = nft.rules(TABLE, "postrouting").unwrap();
    assert!(rules[0].is_like(TABLE.family, &random));
    assert!(!rules[0].is_like(TABLE.family, &Rule::new().not_in_set(&[Load::IpDaddr], "nets4").masquerade()));
    assert!(nft.find_set(TABLE, "nets4").unwrap().unwrap().is_like(&NETS4));
    assert!(has(&mut nft, &["10.0.0.0/24", "10.0.1.0/25", "192.0.2.0/24", "224.0.0.0/3"]));
    assert!(!has(&mut nft, &["10.0.0.0/24", "10.0.1.0/25", "192.0.2.0/24", "224.0.0.0/4"]));
    assert!(!has(&mut nft, &["10.0.0.0/24", "10.0.1.0/25", "224.0.0.0/3"]));

    output(&bed.host, "nft flush set inet example nets4");
    assert!(has(&mut nft, &[]));
    output(&bed.host, "nft add element inet example nets4 {10.0.0.0/8,11.0.0.0/9,240.0.0.0/4}");
    assert!(has(&mut nft, &["10.0.0.0/8", "11.0.0.0/9", "240.0.0.0/4"]));
}

#[test]
fn a_generation_is_the_same_as_long_as_nothing_changes() {
    let Some(bed) = Bed::new() else { return };
    let mut nft = Nfnetlink::open_in(&bed.host).unwrap();
    let first = nft.generation().unwrap();
    nft.table_exists(TABLE).unwrap();
    nft.rules(TABLE, "postrouting").unwrap();
    assert_eq!(nft.generation().unwrap(), first);
    output(&bed.host, "nft add table ip another");
    assert_ne!(nft.generation().unwrap(), first);
}
