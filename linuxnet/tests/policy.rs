//! Rules, tables, VRFs, saved routes and snapshots in namespaces, as `ip` sees them.

#![expect(clippy::unwrap_used, reason = "a failure of what the tests share is a failed test")]

mod support;

use linuxnet::link::{self, Dev};
use linuxnet::netlink::Netlink;
use linuxnet::route;
use linuxnet::rule::{self, Rule};
use linuxnet::snapshot::{Snapshot, Source};
use support::{Bed, json, output, skip};

fn from(address: &str, table: u32) -> Rule {
    Rule { protocol: 99, ..Rule::from_address(address.parse().unwrap(), table) }
}

#[test]
fn rules_come_and_go() {
    let Some(bed) = Bed::new() else { return };
    let mut netlink = bed.container_netlink();
    let (v4, v6) = (from("10.1.0.5", 1000), from("fd00::5", 100));
    for wanted in [&v4, &v6] {
        netlink.run(rule::add(wanted)).unwrap();
        let again = Rule { priority: Some(32765), ..wanted.clone() };
        assert!(netlink.run(rule::add(&again)).unwrap_err().is_exists());
    }
    let seen = json(&bed.container, "ip -j -N rule show from 10.1.0.5");
    assert_eq!((&seen[0]["table"], &seen[0]["protocol"]), (&"1000".into(), &"99".into()));
    output(&bed.container, "ip rule add from 10.1.0.6 fwmark 7 lookup 200 priority 5");
    let rules = netlink.rules().unwrap();
    let find = |wanted: &Rule| rules.iter().find(|rule| rule.from == wanted.from).unwrap().clone();
    assert_eq!(find(&v4), Rule { priority: Some(32765), ..v4.clone() });
    assert_eq!(find(&v6).table, 100);
    let marked = find(&from("10.1.0.6", 200));
    assert_eq!((marked.is_by_source_alone, marked.priority, marked.table), (false, Some(5), 200));
    assert_eq!(rules.iter().filter(|rule| rule.table == 254).count(), 2, "main of both families: {rules:?}");
    for wanted in [&v4, &v6] {
        netlink.run(rule::remove(wanted)).unwrap();
        assert!(netlink.run(rule::remove(wanted)).unwrap_err().is_not_found());
    }
}

/// eth0 in the container: up, with carrier, with an address of each family.
fn eth0(bed: &Bed) -> Netlink {
    let host = bed.host.path().display();
    for command in [
        &format!("ip link add eth0 type veth peer name eth0 netns {host}"),
        "ip link set eth0 up",
        "ip address add 10.1.0.5/24 dev eth0",
        "ip address add fd00:1::5/64 dev eth0 nodad",
    ] {
        output(&bed.container, command);
    }
    output(&bed.host, "ip link set eth0 up");
    bed.container_netlink()
}

#[test]
fn tables_are_seen_wherever_they_are_used() {
    let Some(bed) = Bed::new() else { return };
    let mut netlink = eth0(&bed);
    for command in [
        "ip route add 10.7.0.0/16 dev eth0 table 100",
        "ip -6 route add fd07::/64 dev eth0 table 101",
        "ip route add blackhole 10.8.0.0/16 table 70000",
        "ip rule add from 10.9.0.0/16 lookup 102",
        "ip -6 rule add fwmark 3 lookup 103",
    ] {
        output(&bed.container, command);
    }
    let mut tables = netlink.tables().unwrap();
    assert!([100, 101, 102, 103, 253, 254, 255, 70000].into_iter().all(|table| tables.contains(table)), "{tables:?}");
    assert_eq!((tables.take_free(1), tables.take_free(100)), (Some(1), Some(104)));
}

#[test]
fn a_saved_route_loses_nothing_in_another_table() {
    let Some(bed) = Bed::new() else { return };
    let mut netlink = eth0(&bed);
    let full = "proto static src 10.1.0.5 metric 50 mtu lock 1400 advmss 1360 hoplimit 9 window 4000";
    let hops = "nexthop via 10.1.0.2 dev eth0 weight 3 nexthop via 10.1.0.3 dev eth0 weight 1";
    for command in [
        &format!("ip route add 192.0.2.0/24 via 10.1.0.1 dev eth0 {full}"),
        &format!("ip route add 10.8.0.0/16 {hops}"),
        "ip route add 10.9.0.0/16 via 172.16.0.1 dev eth0 onlink",
        "ip route add 10.9.0.0/16 via 10.1.0.7 dev eth0 metric 9",
        "ip -6 route add fd07::/64 via fd00:1::1 dev eth0 metric 7 mtu 1300 pref high",
        "ip link set lo up",
        "ip route add 10.6.0.0/16 dev lo",
    ] {
        output(&bed.container, command);
    }
    let link = netlink.find_link("eth0").unwrap().unwrap();
    let dev = Dev::from(&link);
    let listed = |table: &str| {
        let v4 = output(&bed.container, &format!("ip route show dev eth0 table {table}"));
        v4 + &output(&bed.container, &format!("ip -6 route show dev eth0 table {table}"))
    };
    // Made by the kernel some time later.
    let without_link_local = |routes: String| {
        routes.lines().filter(|line| !line.starts_with("fe80::")).map(|line| format!("{line}\n")).collect::<String>()
    };
    let before = without_link_local(listed("main"));
    let saved = netlink.save_routes(dev).unwrap();
    let in_main: Vec<_> = saved.iter().filter(|saved| saved.route.table == 254).collect();
    assert_eq!(in_main.iter().filter(|saved| !saved.is_automatic).count(), 5, "{in_main:?}");
    for saved in &in_main {
        netlink.run(saved.restore(dev, 1000)).unwrap();
        assert!(netlink.run(saved.restore(dev, 1000)).unwrap_err().is_exists());
    }
    assert_eq!(without_link_local(listed("1000")), before);
    for saved in &in_main {
        netlink.run(saved.remove(dev)).unwrap();
        assert!(netlink.run(saved.remove(dev)).unwrap_err().is_not_found());
    }
    assert_eq!(without_link_local(listed("main")), "");
    assert_eq!(output(&bed.container, "ip route show").trim(), "10.6.0.0/16 dev lo scope link");
    route::put_back(&mut netlink, dev, &saved).unwrap();
    assert_eq!(without_link_local(listed("main")), before);
    assert_eq!(without_link_local(listed("1000")), "");
}

#[test]
fn a_vrf_has_its_table() {
    let Some(bed) = Bed::new() else { return };
    let mut netlink = eth0(&bed);
    if !netlink.knows_vrfs().unwrap() {
        let refusal = netlink.run(link::create_vrf("red", 1000)).unwrap_err();
        assert_eq!(refusal.doing(), "create VRF red with table 1000");
        return skip("the kernel has no VRFs");
    }
    assert_eq!(netlink.links().unwrap().len(), 2, "asking makes none");
    netlink.run(link::create_vrf("red", 70000)).unwrap();
    let red = netlink.find_link("red").unwrap().unwrap();
    assert_eq!((red.vrf_table, red.kind.as_str(), red.is_up), (Some(70000), "vrf", true));
    assert!(netlink.tables().unwrap().contains(70000));
    assert_eq!(json(&bed.container, "ip -j -d link show red")[0]["linkinfo"]["info_data"]["table"], 70000);
    let eth0 = netlink.find_link("eth0").unwrap().unwrap();
    assert_eq!(eth0.vrf_table, None);
    netlink.run(link::set_master(Dev::from(&eth0), Dev::from(&red))).unwrap();
    let routes = output(&bed.container, "ip route show table 70000");
    assert!(routes.contains("10.1.0.0/24 dev eth0"), "{routes}");
}

/// What differs, without what the kernel does of itself; MAC addresses are random.
fn differences(after: &Snapshot, before: &Snapshot) -> Vec<String> {
    let changes = after.since(before).into_iter().filter(|change| !change.is_automatic());
    changes.map(|change| change.to_string()).map(|line| line.split(" mac ").next().unwrap().to_owned()).collect()
}

#[test]
fn a_snapshot_shows_what_changed_and_nothing_else() {
    let Some(bed) = Bed::new() else { return };
    let mut source = Source::open_in(&bed.container).unwrap();
    let empty = source.take().unwrap();
    assert!(source.take().unwrap().since(&empty).is_empty());
    eth0(&bed);
    let host = bed.host.path().display();
    for command in [
        "ip route add default via 10.1.0.1 dev eth0",
        "ip route add blackhole 10.9.0.0/16 proto static metric 5",
        "ip -6 route add fd00:2::/64 dev eth0 table 100",
        "ip rule add from 10.1.0.5 fwmark 7/0xff lookup 100 priority 5",
        "ip neigh add 10.1.0.9 dev eth0 lladdr 0a:58:0a:01:00:09 nud permanent",
        "nft add table inet t",
        "nft add set inet t s { type ipv4_addr; }",
        "nft add element inet t s { 10.1.0.7 }",
    ] {
        output(&bed.container, command);
    }
    let full = source.take().unwrap();
    let expected = "\
+ link eth0@if2: veth mtu 1500 up qlen 1000
+ address eth0 10.1.0.5/24 scope global
+ address eth0 fd00:1::5/64 scope global
+ route default via 10.1.0.1 dev eth0
+ route blackhole 10.9.0.0/16 proto static metric 5
+ route 10.1.0.0/24 dev eth0 proto kernel scope link src 10.1.0.5
+ route fd00:2::/64 dev eth0 table 100 metric 1024
+ route fd00:1::/64 dev eth0 proto kernel metric 256
+ rule 5: from 10.1.0.5 fwmark 0x7/0xff lookup 100
+ neighbour 10.1.0.9 dev eth0 lladdr 0a:58:0a:01:00:09
+ nft-table inet t
+ nft-set set inet t s { type ipv4_addr; }
+ nft-element inet t s { 10.1.0.7 }";
    let mut lines = differences(&full, &empty);
    let mut expected: Vec<&str> = expected.lines().collect();
    // Routes are hashed.
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected, "{host}");
    output(&bed.container, "ip link set eth0 mtu 1400");
    let smaller = source.take().unwrap();
    assert_eq!(differences(&smaller, &full).len(), 1, "{:?}", differences(&smaller, &full));
    assert!(differences(&smaller, &full).concat().starts_with("~ link eth0@if2: veth mtu 1500 up"));
    for command in
        ["ip link del eth0", "ip rule del priority 5", "ip route del blackhole 10.9.0.0/16", "nft flush ruleset"]
    {
        output(&bed.container, command);
    }
    assert_eq!(source.take().unwrap().since(&empty), [], "nothing is left");
}

#[test]
fn a_snapshot_shows_queues_and_filters() {
    let Some(bed) = Bed::new() else { return };
    eth0(&bed);
    let mut source = Source::open_in(&bed.container).unwrap();
    let before = source.take().unwrap();
    let tbf = "tc qdisc add dev eth0 root handle 1: tbf rate 1mbit burst 10000 limit 20000";
    if bed.container.within(|| std::process::Command::new("sh").args(["-c", tbf]).output()).unwrap().is_err() {
        return skip("no tc");
    }
    output(&bed.container, "tc qdisc add dev eth0 ingress");
    output(
        &bed.container,
        "tc filter add dev eth0 parent ffff: protocol all pref 1 u32 match u32 0 0 action mirred egress redirect dev lo",
    );
    let lines = differences(&source.take().unwrap(), &before);
    let expected = [
        "+ qdisc ingress ffff: dev eth0 ingress",
        "+ filter dev eth0 parent ffff: pref 1 u32 handle 80000800 redirect to lo",
    ];
    for line in expected {
        assert!(lines.iter().any(|is| is == line), "{line} is not in {lines:#?}");
    }
    assert!(lines.iter().any(|is| is.contains("=> tbf 1: dev eth0 root rate 125000 bytes/s")), "{lines:#?}");
}
