//! Links, addresses and routes in namespaces, as `ip -j` sees them.

mod support;

use linuxnet::addr::{self, Dad};
use linuxnet::link::{self, Bridge, Dev, LinkError, Macvlan, MacvlanMode, Upper, Veth};
use linuxnet::netlink::Batch;
use linuxnet::route::{self, Filter, Route};
use std::error::Error;
use support::{Bed, json, output};

#[test]
fn a_veth_is_born_complete() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let (bridge, made) = host.ensure_bridge(&Bridge { mtu: Some(1400), ..Bridge::new("cni0") }).unwrap();
    assert!(made && bridge.is_up);
    let mac = "0a:58:0a:01:02:03".parse().unwrap();
    let host_mac = "0a:58:0a:01:02:04".parse().unwrap();
    let end = host
        .create_veth(&Veth {
            mac: Some(mac),
            host_mac: Some(host_mac),
            bridge: Some(Dev::from(&bridge)),
            mtu: Some(1400),
            queues: Some(1),
            ..Veth::new("eth0", &bed.container)
        })
        .unwrap();
    assert!(end.name.starts_with("veth") && end.name.len() == 12, "{}", end.name);
    assert_eq!((end.mac, end.mtu, end.master, end.kind.as_str()), (Some(host_mac), 1400, Some(bridge.index), "veth"));
    let mut container = bed.container_netlink();
    let eth0 = container.find_link("eth0").unwrap().unwrap();
    assert_eq!((eth0.mac, eth0.mtu, Some(eth0.index)), (Some(mac), 1400, end.peer_index));
    assert!(!eth0.is_up && end.is_up && !end.is_running);

    container.run(link::set_up(Dev::from(&eth0))).unwrap();
    let seen = json(&bed.host, &format!("ip -j -d link show {}", end.name));
    assert_eq!(seen[0]["master"], "cni0");
    assert_eq!(seen[0]["operstate"], "UP");
    assert_eq!(seen[0]["num_tx_queues"], 1);
    assert!(host.find_link_by_index(end.index).unwrap().unwrap().is_running);

    host.remove_link(Dev::from(&end)).unwrap();
    host.remove_link(Dev::from(&end)).unwrap();
    assert_eq!(container.find_link("eth0").unwrap(), None);
}

#[test]
fn taken_names_are_told_apart() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let first = host.create_veth(&Veth::new("eth0", &bed.container)).unwrap();
    let error = host.create_veth(&Veth::new("eth0", &bed.container)).unwrap_err();
    assert!(matches!(&error, LinkError::ContainerNameTaken { name } if name == "eth0"), "{error}");
    let taken = Veth { host_name: Some(&first.name), ..Veth::new("eth1", &bed.container) };
    let error = host.create_veth(&taken).unwrap_err();
    assert!(matches!(&error, LinkError::HostNameTaken { name } if *name == first.name), "{error}");
    assert_eq!(host.links().unwrap().iter().filter(|l| l.kind == "veth").count(), 1);
    // Nothing of the failed ones is left in the container either.
    let mut names: Vec<_> = bed.container_netlink().links().unwrap().into_iter().map(|l| l.name).collect();
    names.retain(|name| name.starts_with("eth"));
    assert_eq!(names, ["eth0"]);
}

#[test]
fn a_bridge_is_made_once_and_told_from_other_links() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let mac = link::random_mac().unwrap();
    let (made, new) = host.ensure_bridge(&Bridge { mac: Some(mac), ..Bridge::new("cni0") }).unwrap();
    assert!(new);
    assert_eq!(made.mac, Some(mac));
    let (found, new) = host.ensure_bridge(&Bridge::new("cni0")).unwrap();
    assert!(!new);
    assert_eq!(found, made);
    let error = host.ensure_bridge(&Bridge::new("lo")).unwrap_err();
    assert_eq!(error.to_string(), "\"lo\" already exists but is not a bridge (it is no virtual link)");
}

#[test]
fn addresses_and_routes_go_in_one_batch() {
    let Some(bed) = Bed::new() else { return };
    bed.host_netlink().create_veth(&Veth::new("eth0", &bed.container)).unwrap();
    let mut netlink = bed.container_netlink();
    let eth0 = netlink.find_link("eth0").unwrap().unwrap();
    let eth0 = Dev::from(&eth0);
    let via = |dst: &str, gw: &str| Route { gw: Some(gw.parse().unwrap()), ..Route::to(dst.parse().unwrap()) };
    let full = Route {
        mtu: Some(1400),
        advmss: Some(1360),
        priority: Some(50),
        table: 1000,
        src: Some("10.1.0.5".parse().unwrap()),
        ..via("192.0.2.0/24", "10.1.0.1")
    };
    let mut batch = Batch::new();
    batch.extend([
        link::set_up(Dev::LOOPBACK),
        link::set_arp_notify(eth0),
        addr::add(eth0, "10.1.0.5/16".parse().unwrap(), Dad::Skip),
        addr::add(eth0, "fd00::5/64".parse().unwrap(), Dad::Skip),
        link::set_up(eth0),
        route::add(eth0, &via("0.0.0.0/0", "10.1.0.1")),
        route::add(eth0, &via("::/0", "fd00::1")),
        route::add(eth0, &Route::to("198.51.100.0/24".parse().unwrap())),
        route::add(eth0, &full),
        // A gateway that is reached by the route before it.
        route::add(eth0, &Route::to("169.254.1.1/32".parse().unwrap())),
        route::add(eth0, &via("203.0.113.0/24", "169.254.1.1")),
        // A second gateway to the same place is accepted.
        route::add(eth0, &via("203.0.113.0/24", "10.1.0.2")),
    ]);
    batch.send(&mut netlink).unwrap();

    let seen = json(&bed.container, "ip -j addr show eth0");
    let infos = seen[0]["addr_info"].as_array().unwrap();
    let v4 = infos.iter().find(|i| i["local"] == "10.1.0.5").unwrap();
    assert_eq!(
        (&v4["prefixlen"], &v4["broadcast"], &v4["scope"]),
        (&16.into(), &"10.1.255.255".into(), &"global".into())
    );
    let v6 = infos.iter().find(|i| i["local"] == "fd00::5").unwrap();
    assert_eq!((&v6["nodad"], &v6["tentative"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(output(&bed.container, "cat /proc/sys/net/ipv4/conf/eth0/arp_notify").trim(), "1");

    let all = output(&bed.container, "ip route show table all dev eth0 type unicast");
    for line in [
        "default via 10.1.0.1",
        "198.51.100.0/24 scope link",
        "192.0.2.0/24 via 10.1.0.1 table 1000 src 10.1.0.5 metric 50 mtu 1400 advmss 1360",
        "203.0.113.0/24 via 169.254.1.1",
        "203.0.113.0/24 via 10.1.0.2",
        "default via fd00::1 metric 1024",
    ] {
        assert!(all.lines().any(|l| l.trim().starts_with(line)), "{line:?} is not in\n{all}");
    }
    let listed = netlink.routes(Filter { table: Some(1000), link: None }).unwrap();
    assert_eq!(listed, [Route { link: Some(eth0.index), scope: Some(0), ..full.clone() }]);
    netlink.run(route::remove(eth0, &full)).unwrap();
    assert_eq!(netlink.routes(Filter { table: Some(1000), link: None }).unwrap(), []);
    assert!(netlink.run(route::remove(eth0, &full)).unwrap_err().is_not_found());
    assert_eq!(netlink.routes(Filter { table: Some(4242), link: None }).unwrap(), []);

    let addresses = netlink.addresses(eth0).unwrap();
    assert!(addresses.iter().any(|a| a.net == "10.1.0.5/16".parse().unwrap() && a.is_permanent));
    assert!(netlink.run(addr::add(eth0, "10.1.0.5/16".parse().unwrap(), Dad::Skip)).unwrap_err().is_exists());
    netlink.run(addr::remove(eth0, "10.1.0.5/16".parse().unwrap())).unwrap();
    assert!(netlink.run(addr::remove(eth0, "10.1.0.5/16".parse().unwrap())).unwrap_err().is_not_found());
}

#[test]
fn a_batch_names_the_first_that_failed() {
    let Some(bed) = Bed::new() else { return };
    let mut netlink = bed.container_netlink();
    let lost = Route { gw: Some("10.9.9.9".parse().unwrap()), ..Route::to("10.0.0.0/8".parse().unwrap()) };
    let batch: Batch = [
        link::set_up(Dev::LOOPBACK),
        route::add(Dev::LOOPBACK, &lost),
        addr::add(Dev::LOOPBACK, "10.2.0.1/32".parse().unwrap(), Dad::Skip),
        link::set_mtu(Dev { index: 999, name: "nowhere" }, 1400),
    ]
    .into_iter()
    .collect();
    let error = batch.send(&mut netlink).unwrap_err();
    assert_eq!(error.to_string(), "cannot add route 10.0.0.0/8 via 10.9.9.9 dev lo");
    let why = error.source().unwrap().to_string();
    assert!(why.contains("Nexthop has invalid gateway"), "{why}");
    // The others ran.
    assert!(netlink.addresses(Dev::LOOPBACK).unwrap().iter().any(|a| a.net == "10.2.0.1/32".parse().unwrap()));
    // And the socket is in step: nothing of the batch is left to read.
    assert_eq!(netlink.find_link("lo").unwrap().unwrap().index, 1);
    // More messages than go in one send; the last one fails.
    let mut many: Batch =
        (0..250u8).map(|i| addr::add(Dev::LOOPBACK, format!("10.3.0.{i}/32").parse().unwrap(), Dad::Skip)).collect();
    many.push(addr::add(Dev::LOOPBACK, "10.3.0.7/32".parse().unwrap(), Dad::Skip));
    assert!(many.send(&mut netlink).unwrap_err().is_exists());
    assert_eq!(netlink.addresses(Dev::LOOPBACK).unwrap().len(), 250 + 3); // 127.0.0.1, ::1 and 10.2.0.1
}

#[test]
fn links_can_be_changed_renamed_and_moved() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let (bridge, _) = host.ensure_bridge(&Bridge::new("br0")).unwrap();
    let end = host.create_veth(&Veth::new("eth0", &bed.container)).unwrap();
    let dev = Dev::from(&end);
    let mac = link::random_mac().unwrap();
    for request in [
        link::set_down(dev),
        link::set_mtu(dev, 1300),
        link::set_mac(dev, mac),
        link::set_alias(dev, "was here"),
        link::set_promiscuous(dev, true),
        link::set_master(dev, Dev::from(&bridge)),
        link::rename(dev, "port0"),
        link::set_hairpin(dev, true),
        link::set_isolated(dev, true),
    ] {
        let doing = request.doing().to_owned();
        host.run(request).unwrap_or_else(|e| panic!("{doing}: {e}: {:?}", e.source()));
    }
    let seen = host.find_link("port0").unwrap().unwrap();
    assert_eq!((seen.index, seen.mtu, seen.mac, seen.is_up), (end.index, 1300, Some(mac), false));
    assert_eq!((seen.alias.as_deref(), seen.is_promiscuous, seen.master), (Some("was here"), true, Some(bridge.index)));
    assert!(seen.port.is_some_and(|p| p.hairpin && p.isolated));
    let port = &json(&bed.host, "ip -j -d link show port0")[0]["linkinfo"]["info_slave_data"];
    assert_eq!((&port["hairpin"], &port["isolated"]), (&true.into(), &true.into()));

    for request in [
        link::set_hairpin(dev, false),
        link::clear_master(dev),
        link::set_alias(dev, ""),
        link::set_promiscuous(dev, false),
        link::move_to(dev, &bed.container),
    ] {
        host.run(request).unwrap();
    }
    assert_eq!(host.find_link("port0").unwrap(), None);
    let moved = bed.container_netlink().find_link("port0").unwrap().unwrap();
    assert_eq!((moved.alias, moved.is_promiscuous, moved.master, moved.port), (None, false, None, None));
    assert_eq!((moved.link_netns_id, moved.peer_index.is_some()), (None, true));
}

#[test]
fn ipv6_settings_are_read_without_proc() {
    let Some(bed) = Bed::new() else { return };
    let mut netlink = bed.container_netlink();
    let Some(before) = netlink.find_link("lo").unwrap().unwrap().ipv6 else { return support::skip("no IPv6") };
    assert!(!before.disabled && !before.keep_addr_on_down);
    for key in ["disable_ipv6", "keep_addr_on_down"] {
        output(&bed.container, &format!("sysctl -q -w net/ipv6/conf/lo/{key}=1"));
    }
    let after = netlink.find_link("lo").unwrap().unwrap().ipv6.unwrap();
    assert!(after.disabled && after.keep_addr_on_down);
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    const THREADS: usize = 8;
    const EACH: usize = 8;
    let Some(bed) = Bed::new() else { return };
    bed.host_netlink().ensure_bridge(&Bridge::new("cni0")).unwrap();
    let attach = |thread: usize| {
        let mut host = bed.host_netlink();
        let (bridge, new) = host.ensure_bridge(&Bridge::new("cni0")).unwrap();
        assert!(!new);
        for i in 0..EACH {
            let name = format!("eth{thread}x{i}");
            let veth = Veth { bridge: Some(Dev::from(&bridge)), ..Veth::new(&name, &bed.container) };
            let end = host.create_veth(&veth).unwrap();
            // Lists that change while they are read are read again.
            assert!(host.links().unwrap().iter().any(|link| link.index == end.index));
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || attach(thread));
        }
    });
    let ports = bed.host_netlink().links().unwrap().into_iter().filter(|link| link.master.is_some()).count();
    assert_eq!(ports, THREADS * EACH);
}

#[test]
fn a_missing_bridge_leaves_no_veth() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let gone = Dev { index: 4242, name: "cni0" };
    let error = host.create_veth(&Veth { bridge: Some(gone), ..Veth::new("eth0", &bed.container) }).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot create veth eth0 with its host end veth") && text.ends_with(" on bridge cni0"));
    assert!(host.links().unwrap().iter().all(|link| link.kind != "veth"));
    assert_eq!(bed.container_netlink().find_link("eth0").unwrap(), None);
}

#[test]
fn a_macvlan_is_born_in_the_container_under_a_name_that_the_host_has_too() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let lower = host.create_veth(&Veth { host_name: Some("eth0"), ..Veth::new("far", &bed.container) }).unwrap();
    let mac = "0a:58:0a:01:02:03".parse().ok();
    let upper = Upper { name: "eth0", lower: Dev::from(&lower), netns: Some(&bed.container), mtu: Some(1400) };
    let wanted = Macvlan { mode: MacvlanMode::Private, mac, broadcast_queue_len: Some(50) };
    host.create_macvlan(upper, wanted).unwrap();
    let made = bed.container_netlink().find_link("eth0").unwrap().unwrap();
    assert_eq!((made.kind.as_str(), made.macvlan), ("macvlan", Some(MacvlanMode::Private)));
    assert_eq!((made.mac, made.mtu, made.peer_index), (mac, 1400, Some(lower.index)));
    // Its name is taken there now.
    let error = host.create_macvlan(upper, wanted).unwrap_err();
    assert!(matches!(&error, LinkError::Netlink(e) if e.is_exists()), "{error}");
    assert_eq!(host.find_link("eth0").unwrap().unwrap().kind, "veth");
}
