//! nftables by nfnetlink, as `nft` and as packets see it.
#![allow(clippy::unwrap_used, reason = "a failure of a test's own values is a failed test")]

mod support;

use std::net::IpAddr;

use linuxnet::nft::{
    AddrType, BaseChain, ChainKind, DataType, Element, Family, Field, Hook, Load, Nfnetlink, Policy, Rule, Set, Table,
    Transaction, Value, Verdict, priority,
};
use support::{Bed, output};

const TABLE: Table<'static> = Table::inet("example");
const DNAT4: Set<'static> =
    Set::map("dnat4", &[DataType::InetProto, DataType::InetService], &[DataType::Ipv4Addr, DataType::InetService])
        .with_timeouts();
const DNAT6: Set<'static> =
    Set::map("dnat6", &[DataType::InetProto, DataType::InetService], &[DataType::Ipv6Addr, DataType::InetService])
        .with_timeouts();
const SUBNETS4: Set<'static> = Set::verdict_map("subnets4", &[DataType::Ipv4Addr]).with_timeouts();
const HAIRPIN4: Set<'static> =
    Set::of("hairpin4", &[DataType::Ipv4Addr, DataType::IfName, DataType::IfName]).with_timeouts();
const LOCAL6: Set<'static> = Set::of("local6", &[DataType::Ipv6Addr]);
const MARKS: Set<'static> = Set::map("marks", &[DataType::Mark], &[DataType::EtherAddr]);

const EVERYTHING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nft-1.0.6-everything.nft");

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ifname(text: &str) -> Field {
    Field::IfName(text.parse().unwrap())
}

fn port(protocol: Field, number: u16) -> Value {
    Value::from(protocol).and(Field::InetService(number))
}

fn target(address: &str, number: u16) -> Value {
    Value::from(ip(address)).and(Field::InetService(number))
}

fn base(name: &'static str, kind: ChainKind, hook: Hook, priority: i32, policy: Policy) -> BaseChain<'static> {
    BaseChain { name, kind, hook, priority, policy }
}

/// The rules of fixtures/nft-1.0.6-everything.nft, by chain.
fn rules() -> Vec<(&'static str, Rule)> {
    let net = |text: &str| text.parse().unwrap();
    let local = || Rule::new().equals(Load::FibDaddrType, Field::AddrType(AddrType::Local));
    let published = [Load::L4Proto, Load::ThDport];
    vec![
        (
            "subnet",
            Rule::new()
                .destination_not_in(net("10.1.0.0/16"))
                .destination_not_in(net("224.0.0.0/4"))
                .counter()
                .masquerade(),
        ),
        ("published", Rule::new().source_in(net("10.1.0.0/20")).verdict(Verdict::Return)),
        ("prerouting", local().dnat_by_map(Family::Ipv4, &published, "dnat4").comment("hostport")),
        ("prerouting", local().dnat_by_map(Family::Ipv6, &published, "dnat6")),
        ("postrouting", Rule::new().verdict_by_map(&[Load::IpSaddr], "subnets4")),
        ("postrouting", Rule::new().in_set(&[Load::IpDaddr, Load::Iifname, Load::Oifname], "hairpin4").masquerade()),
        ("postrouting", Rule::new().source_in(net("127.0.0.0/8")).was_dnat().masquerade()),
        ("postrouting", Rule::new().equals(Load::Mark, Field::Mark(0x2000)).jump("subnet")),
        ("postrouting", Rule::new().differs(Load::Iifname, ifname("eth0")).verdict(Verdict::Return)),
        (
            "postrouting",
            Rule::new()
                .equals(Load::Ip6Saddr, ip("fd00::1"))
                .not_in_set(&[Load::Ip6Daddr], "local6")
                .verdict(Verdict::Drop),
        ),
        ("postrouting", Rule::new().destination_not_in(net("ff00::/8")).masquerade()),
        ("forward", Rule::new().equals(Load::L4Proto, Field::TCP).verdict(Verdict::Goto("published".into()))),
        ("forward", Rule::new().equals(Load::ThDport, Field::InetService(80)).verdict(Verdict::Accept)),
    ]
}

/// What fixtures/nft-1.0.6-everything.nft describes, in one transaction.
fn everything() -> Transaction<'static> {
    let mut t = Transaction::new(TABLE);
    t.ensure_table();
    for set in [DNAT4, DNAT6, SUBNETS4, HAIRPIN4, LOCAL6, MARKS] {
        t.ensure_set(&set);
    }
    t.create_chain("subnet")
        .create_chain("published")
        .create_base_chain(&base("prerouting", ChainKind::Nat, Hook::Prerouting, priority::DSTNAT, Policy::Accept))
        .create_base_chain(&base("postrouting", ChainKind::Nat, Hook::Postrouting, priority::SRCNAT, Policy::Accept))
        .create_base_chain(&base("forward", ChainKind::Filter, Hook::Forward, priority::FILTER, Policy::Drop));
    for (chain, rule) in rules() {
        t.add_rule(chain, &rule);
    }
    let tag = "net pod-a eth0";
    t.create_element("dnat4", &Element::new(port(Field::TCP, 8080)).data(target("10.1.0.2", 80)).comment(tag))
        .create_element("dnat6", &Element::new(port(Field::UDP, 53)).data(target("fd00::2", 5353)))
        .create_element("subnets4", &Element::new(ip("10.1.0.2")).data(Verdict::Jump("subnet".into())).comment(tag))
        .create_element(
            "hairpin4",
            &Element::new(Value::from(ip("10.1.0.2")).and(ifname("cni0")).and(ifname("cni0"))).comment("x"),
        )
        .create_element(
            "marks",
            &Element::new(Field::Mark(0x2000)).data(Value::from(Field::EtherAddr([2, 0, 0, 0, 0, 1]))),
        );
    t
}

#[test]
fn nft_lists_what_we_wrote_as_if_it_had_written_it() {
    let Some(bed) = Bed::new() else { return };
    Nfnetlink::open_in(&bed.host).unwrap().commit(&everything()).unwrap();
    assert_eq!(output(&bed.host, "nft list ruleset"), std::fs::read_to_string(EVERYTHING).unwrap());
}

#[test]
fn the_whole_rule_set_reads_as_nft_writes_it() {
    let Some(bed) = Bed::new() else { return };
    output(&bed.container, &format!("nft -f {EVERYTHING}"));
    let ruleset = Nfnetlink::open_in(&bed.container).unwrap().ruleset().unwrap();
    let text = std::fs::read_to_string(EVERYTHING)
        .unwrap()
        .replace(" packets 0 bytes 0", "")
        .replace("0x00002000 :", "0x2000 :");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let rules: Vec<&str> = ruleset.rules.iter().map(|rule| rule.text.as_str()).collect();
    assert_eq!(rules.len(), 13);
    assert_eq!(rules.iter().filter(|rule| !lines.contains(rule)).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(ruleset.elements.len(), 5);
    for element in &ruleset.elements {
        let line = element.to_string();
        let (_, body) = line.split_once('{').unwrap();
        assert!(lines.contains(&format!("elements = {{{body}").as_str()), "{element}");
    }
    let shown = |all: Vec<String>| all.join("\n");
    assert_eq!(
        shown(ruleset.sets.iter().map(ToString::to_string).collect()),
        "map inet example dnat4 { type inet_proto . inet_service : ipv4_addr . inet_service; flags timeout; }\n\
         map inet example dnat6 { type inet_proto . inet_service : ipv6_addr . inet_service; flags timeout; }\n\
         map inet example subnets4 { type ipv4_addr : verdict; flags timeout; }\n\
         set inet example hairpin4 { type ipv4_addr . ifname . ifname; flags timeout; }\n\
         set inet example local6 { type ipv6_addr; }\n\
         map inet example marks { type mark : ether_addr; }"
    );
    assert_eq!(
        shown(ruleset.chains.iter().map(ToString::to_string).collect()),
        "inet example subnet\ninet example published\n\
         inet example prerouting { type nat hook prerouting priority -100; policy accept; }\n\
         inet example postrouting { type nat hook postrouting priority 100; policy accept; }\n\
         inet example forward { type filter hook forward priority 0; policy drop; }"
    );
}

#[test]
fn rules_of_others_can_be_read_too() {
    let Some(bed) = Bed::new() else { return };
    for rule in [
        "add table ip filter",
        "add chain ip filter c",
        "add rule ip filter c tcp dport { 80, 443 } counter accept",
        "add rule ip filter c meta mark set mark and 0xffffefff xor 0x1000",
        "add rule ip filter c ct state established,related accept",
        "add rule ip filter c ip daddr 10.0.0.0/12 oifname eth* snat to 192.0.2.1 random",
    ] {
        output(&bed.container, &format!("nft {}", rule.replace('{', "{ ").trim()));
    }
    let ruleset = Nfnetlink::open_in(&bed.container).unwrap().ruleset().unwrap();
    let rules: Vec<String> = ruleset.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "ip filter c meta l4proto tcp th dport { 80, 443 } counter accept",
            "ip filter c meta mark set meta mark & 0xffffefff ^ 0x00001000",
            "ip filter c ct state established,related accept",
            "ip filter c ip daddr 10.0.0.0/12 oifname \"eth*\" snat to 192.0.2.1 random",
        ]
    );
    assert!(ruleset.sets.is_empty() && ruleset.elements.is_empty(), "those of a rule belong to it");
}

#[test]
fn our_rules_are_nfts_expression_by_expression() {
    let Some(bed) = Bed::new() else { return };
    output(&bed.container, &format!("nft -f {EVERYTHING}"));
    let mut nft = Nfnetlink::open_in(&bed.container).unwrap();
    for chain in ["subnet", "published", "prerouting", "postrouting", "forward"] {
        let theirs = nft.rules(TABLE, chain).unwrap();
        let ours: Vec<Rule> = rules().into_iter().filter(|(c, _)| *c == chain).map(|(_, rule)| rule).collect();
        assert_eq!(theirs.len(), ours.len());
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert!(theirs.is_like(Family::Inet, ours), "{chain}: {theirs:#?}\n{ours:#?}");
        }
        assert!(theirs.first().zip(ours.last()).is_none_or(|(a, b)| ours.len() == 1 || !a.is_like(Family::Inet, b)));
    }
}
