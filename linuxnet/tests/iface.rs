//! Results applied to interfaces in namespaces, and compared with them.

#![expect(clippy::unwrap_used, reason = "a failure of what the tests share is a failed test")]

mod support;

use std::error::Error;

use libcni::netns::Netns;
use libcni::types::{AddResult, Interface, IpConfig, Route};
use linuxnet::addr::Dad;
use linuxnet::iface::{ApplyError, Options, apply, verify};
use linuxnet::link::{self, Bridge, Dev, Link, Veth};
use linuxnet::netlink::Netlink;
use support::{Bed, output, skip};

fn ip(address: &str, gateway: &str) -> IpConfig {
    IpConfig { address: address.parse().unwrap(), gateway: gateway.parse().ok(), interface: Some(0) }
}

fn to(dst: &str) -> Route {
    Route::to(dst.parse().unwrap())
}

/// What an IPAM plugin returns for two families: default routes without gateways, and one with everything.
fn result() -> AddResult {
    let sandbox = "/run/netns/x".to_owned();
    AddResult {
        interfaces: vec![Interface { name: "eth0".into(), sandbox, ..Default::default() }],
        ips: vec![ip("10.1.0.5/16", "10.1.0.1"), ip("fd00::5/64", "fd00::1")],
        routes: vec![
            to("0.0.0.0/0"),
            to("::/0"),
            Route {
                gw: Some("10.1.0.2".parse().unwrap()),
                mtu: Some(1400),
                advmss: Some(1360),
                priority: Some(50),
                table: Some(1000),
                scope: Some(0),
                ..to("192.0.2.0/24")
            },
        ],
        ..Default::default()
    }
}

/// eth0 in the container, its other end up on the host.
fn eth0(bed: &Bed) -> (Netlink, Link) {
    bed.host_netlink().create_veth(&Veth::new("eth0", &bed.container)).unwrap();
    let mut netlink = bed.container_netlink();
    let link = netlink.find_link("eth0").unwrap().unwrap();
    (netlink, link)
}

fn told(netlink: &mut Netlink, result: &AddResult) -> Vec<String> {
    verify(netlink, "eth0", result).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn a_result_is_applied_and_found_again() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, link) = eth0(&bed);
    let options = Options { loopback_up: true, ..Options::default() };
    apply(&mut netlink, &bed.container, &link, &mut result(), options).unwrap();

    let addresses = output(&bed.container, "ip address show dev eth0");
    assert!(addresses.contains("inet 10.1.0.5/16 brd 10.1.255.255 scope global eth0"), "{addresses}");
    assert!(addresses.contains("inet6 fd00::5/64 scope global nodad"), "{addresses}");
    let routes = output(&bed.container, "ip route show table all dev eth0 type unicast");
    for line in [
        "default via 10.1.0.1",
        "default via fd00::1",
        "192.0.2.0/24 via 10.1.0.2 table 1000 metric 50 mtu 1400 advmss 1360",
    ] {
        assert!(routes.lines().any(|l| l.starts_with(line)), "{line:?} is not in\n{routes}");
    }
    let sysctls = ["net/ipv4/conf/eth0/arp_notify", "net/ipv6/conf/eth0/keep_addr_on_down"];
    for key in sysctls {
        assert_eq!(output(&bed.container, &format!("sysctl -n {key}")).trim(), "1", "{key}");
    }
    assert!(netlink.find_link("lo").unwrap().unwrap().is_up);

    assert_eq!(told(&mut netlink, &result()), [""; 0]);
    for command in [
        "ip route del default via 10.1.0.1",
        "ip -6 route del default",
        "ip route del 192.0.2.0/24 table 1000",
        "ip address del fd00::5/64 dev eth0",
    ] {
        output(&bed.container, command);
    }
    let differences = told(&mut netlink, &result());
    // Then come the link-local address, if it is there yet, or "none".
    assert!(differences[0].starts_with("interface eth0 does not have address fd00::5/64; it has "), "{differences:?}");
    assert_eq!(
        differences[1..],
        [
            "route 0.0.0.0/0 via 10.1.0.1 by interface eth0 is missing",
            "route ::/0 via fd00::1 by interface eth0 is missing",
            "route 192.0.2.0/24 via 10.1.0.2 metric 50 table 1000 by interface eth0 is missing",
        ]
    );
    netlink.remove_link(Dev::from(&link)).unwrap();
    assert_eq!(told(&mut netlink, &result()), ["the container has no interface eth0"]);
}

#[test]
fn attributes_are_reported_as_the_kernel_has_them() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, link) = eth0(&bed);
    let everything = |dst: &str| Route {
        mtu: Some(70000),
        advmss: Some(65500),
        priority: Some(0),
        table: Some(0),
        scope: Some(253),
        ..to(dst)
    };
    let mut result = result();
    result.routes = vec![to("0.0.0.0/0"), everything("10.7.0.0/16"), everything("fd07::/64")];
    apply(&mut netlink, &bed.container, &link, &mut result, Options::default()).unwrap();
    let most = |dst| Route { mtu: Some(65520), advmss: Some(65495), table: Some(254), ..everything(dst) };
    let v6 = Route { priority: Some(1024), ..most("fd07::/64") };
    assert_eq!(result.routes, [to("0.0.0.0/0"), most("10.7.0.0/16"), v6]);
    let routes =
        output(&bed.container, "ip route show dev eth0") + &output(&bed.container, "ip -6 route show dev eth0");
    for line in ["10.7.0.0/16 scope link mtu 65520 advmss 65495", "fd07::/64 metric 1024 mtu 65520 advmss 65495"] {
        assert!(routes.lines().any(|l| l.starts_with(line)), "{line:?} is not in\n{routes}");
    }
    assert_eq!(told(&mut netlink, &result), [""; 0]);
}

#[test]
fn ipv6_is_enabled_where_it_was_disabled() {
    let Some(bed) = Bed::new() else { return };
    for key in ["all", "default"] {
        output(&bed.container, &format!("sysctl -q -w net/ipv6/conf/{key}/disable_ipv6=1"));
    }
    let (mut netlink, link) = eth0(&bed);
    let mut v4_only = result();
    v4_only.ips.truncate(1);
    v4_only.routes.remove(1);
    let disabled = |ifname| output(&bed.container, &format!("sysctl -n net/ipv6/conf/{ifname}/disable_ipv6"));
    apply(&mut netlink, &bed.container, &link, &mut v4_only, Options::default()).unwrap();
    assert_eq!((disabled("eth0").trim(), disabled("lo").trim()), ("1", "1"), "nobody asked for IPv6");
    netlink.remove_link(Dev::from(&link)).unwrap();

    let (mut netlink, link) = eth0(&bed);
    apply(&mut netlink, &bed.container, &link, &mut result(), Options::default()).unwrap();
    assert_eq!((disabled("eth0").trim(), disabled("lo").trim()), ("0", "0"));
    assert_eq!(told(&mut netlink, &result()), [""; 0]);
}

#[test]
fn failures_say_what_failed() {
    let Some(bed) = Bed::new() else { return };
    let (mut netlink, link) = eth0(&bed);
    let mut try_it = |result: &AddResult| {
        let error = apply(&mut netlink, &bed.container, &link, &mut result.clone(), Options::default()).unwrap_err();
        (error.to_string(), error.source().map(ToString::to_string).unwrap_or_default())
    };
    assert_eq!(try_it(&AddResult::default()).0, "no interfaces to configure");
    let mut wrong = result();
    wrong.ips[0].interface = Some(3);
    let (what, why) = try_it(&wrong);
    assert_eq!(what, "cannot add address 10.1.0.5/16 to eth0: invalid interface index");
    assert_eq!(why, "interface index 3 of the result is out of range: it has 1 interfaces");
    let mut lost = result();
    lost.routes[0].gw = Some("172.16.0.1".parse().unwrap());
    let (what, why) = try_it(&lost);
    assert_eq!(what, "cannot add route 0.0.0.0/0 via 172.16.0.1 dev eth0");
    assert!(why.contains("Nexthop has invalid gateway"), "{why}");
    // The second time the address is there already.
    assert_eq!(try_it(&result()).0, "cannot add address 10.1.0.5/16 to eth0");
}

/// eth0 of both containers on one bridge.
fn two_on_a_bridge(bed: &Bed, other: &Netns) -> [(Netlink, Link); 2] {
    let mut host = bed.host_netlink();
    let (bridge, _) = host.ensure_bridge(&Bridge::new("cni0")).unwrap();
    [&bed.container, other].map(|netns| {
        host.create_veth(&Veth { bridge: Some(Dev::from(&bridge)), ..Veth::new("eth0", netns) }).unwrap();
        let mut netlink = Netlink::open_in(netns).unwrap();
        let link = netlink.find_link("eth0").unwrap().unwrap();
        (netlink, link)
    })
}

#[test]
fn duplicates_are_detected_where_that_is_wished() {
    let Some(bed) = Bed::new() else { return };
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("other");
    let other = Netns::create(&path).unwrap();
    let [(mut first, first_link), (mut second, second_link)] = two_on_a_bridge(&bed, &other);
    if first_link.ipv6.is_none() {
        return skip("the kernel has no IPv6");
    }
    let mut result = result();
    result.ips.remove(0);
    result.routes.truncate(0);
    let options = Options { dad: Dad::Run, ..Options::default() };
    apply(&mut first, &bed.container, &first_link, &mut result, options).unwrap();
    let addresses = first.addresses(Dev::from(&first_link)).unwrap();
    assert!(addresses.iter().any(|a| a.net == result.ips[0].address && !a.is_tentative && !a.is_duplicate));

    let error = apply(&mut second, &other, &second_link, &mut result, options).unwrap_err();
    assert!(matches!(error, ApplyError::Duplicate { .. }), "{error}");
    assert_eq!(error.to_string(), "address fd00::5/64 of eth0 is a duplicate: another host on the link has it");
    Netns::remove(&path).unwrap();
}

#[test]
fn a_link_without_carrier_is_no_fault_of_its_address() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let end = host.create_veth(&Veth::new("eth0", &bed.container)).unwrap();
    host.run(link::set_down(Dev::from(&end))).unwrap();
    let mut netlink = bed.container_netlink();
    let link = netlink.find_link("eth0").unwrap().unwrap();
    let mut result = result();
    result.ips.remove(0);
    result.routes.truncate(0);
    apply(&mut netlink, &bed.container, &link, &mut result, Options { dad: Dad::Run, ..Options::default() }).unwrap();
}
