//! Traffic control in namespaces, as `tc -j` sees it.

mod support;

use std::error::Error;

use linuxnet::link::{self, Dev, Ifb, LinkError, Veth};
use linuxnet::netlink::Batch;
use linuxnet::tc::{self, Tbf};
use support::{Bed, json, output};

const SMALL: Tbf = Tbf { rate: 1_000_000, burst: 125_000, limit: 150_000 };

#[test]
fn a_link_is_limited_and_freed() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let end = host.create_veth(&Veth::new("eth0", &bed.container)).unwrap();
    let dev = Dev::from(&end);
    assert_eq!(host.root_qdisc(dev).unwrap().filter(|qdisc| qdisc.kind == "tbf"), None);

    host.run(tc::set_tbf(&end, &SMALL)).unwrap();
    let seen = json(&bed.host, &format!("tc -j qdisc show dev {}", end.name));
    assert_eq!((&seen[0]["kind"], &seen[0]["handle"]), (&"tbf".into(), &"1:".into()), "{seen}");
    assert_eq!((&seen[0]["options"]["rate"], &seen[0]["options"]["burst"]), (&1_000_000.into(), &125_000.into()));
    assert_eq!(seen[0]["options"]["lat"], 25_000, "{seen}");

    // In place of the first: more than 4 GiB/s, and a burst of containerd.
    for tbf in [
        Tbf { rate: 5_000_000_000, burst: 536_870_911, limit: 536_870_911 },
        Tbf { rate: 1_250_000, burst: 536_870_911, limit: 536_870_911 },
        Tbf { rate: 1, burst: 2000, limit: u32::MAX },
        SMALL,
    ] {
        host.run(tc::set_tbf(&end, &tbf)).unwrap();
        let qdisc = host.root_qdisc(dev).unwrap().unwrap();
        let state = qdisc.tbf.unwrap();
        assert_eq!((qdisc.link, state.rate, state.limit), (end.index, tbf.rate, tbf.limit));
        assert!(tbf.has_burst_of(&state), "{tbf:?} {state:?}");
        assert!(host.qdiscs().unwrap().contains(&qdisc));
    }

    host.remove_tbf(dev).unwrap();
    assert_eq!(host.root_qdisc(dev).unwrap().filter(|qdisc| qdisc.kind == "tbf"), None);
    host.remove_tbf(dev).unwrap();
}

#[test]
fn another_queue_is_not_taken_for_ours() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let end = host.create_veth(&Veth::new("eth0", &bed.container)).unwrap();
    output(&bed.host, &format!("tc qdisc add dev {} root handle 1: pfifo", end.name));
    let error = host.run(tc::set_tbf(&end, &SMALL)).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("nvalid qdisc name"), "{error:?}");
    host.remove_tbf(Dev::from(&end)).unwrap();
    assert_eq!(host.root_qdisc(Dev::from(&end)).unwrap().unwrap().kind, "pfifo");
}

#[test]
fn what_comes_in_is_redirected_to_one_link() {
    let Some(bed) = Bed::new() else { return };
    let mut host = bed.host_netlink();
    let end = host.create_veth(&Veth::new("eth0", &bed.container)).unwrap();
    let dev = Dev::from(&end);
    assert_eq!(host.redirections(dev).unwrap(), [0u32; 0]);
    host.remove_ingress(dev).unwrap();
    let mut made = Vec::new();
    for name in ["ifb8", "ifb9"] {
        let wanted = Ifb { name, alias: "whose", mac: link::random_mac().unwrap(), mtu: 1400 };
        let ifb = host.create_ifb(&wanted).unwrap();
        assert_eq!((ifb.kind.as_str(), ifb.mtu, ifb.alias.as_deref(), ifb.is_up), ("ifb", 1400, Some("whose"), false));
        assert_eq!(ifb.mac, Some(wanted.mac));
        assert!(
            matches!(host.create_ifb(&wanted).unwrap_err(), LinkError::HostNameTaken { name: taken } if taken == name)
        );
        let changes = [link::set_up(Dev::from(&ifb)), tc::ensure_ingress(dev), tc::redirect(dev, Dev::from(&ifb))];
        Batch::from_iter(changes).send(&mut host).unwrap();
        assert_eq!(host.redirections(dev).unwrap(), [ifb.index]);
        made.push(ifb);
    }
    let seen = json(&bed.host, &format!("tc -j filter show dev {} ingress", end.name));
    let shown: Vec<_> = seen.as_array().unwrap().iter().filter(|f| f["options"]["actions"].is_array()).collect();
    let [filter] = shown.as_slice() else { panic!("{seen}") };
    assert_eq!((&filter["protocol"], &filter["pref"]), (&"all".into(), &1.into()));
    assert_eq!(filter["options"]["actions"][0]["to_dev"], "ifb9");

    host.remove_link(Dev::from(&made[1])).unwrap();
    assert_eq!(host.redirections(dev).unwrap(), [tc::GONE]);
    host.remove_ingress(dev).unwrap();
    host.remove_ingress(dev).unwrap();
    assert_eq!(host.redirections(dev).unwrap(), [0u32; 0]);
}

#[test]
fn the_other_end_is_not_just_a_link_of_that_index() {
    let Some(bed) = Bed::new() else { return };
    let Some(other) = Bed::new() else { return };
    let (mut host, mut elsewhere) = (bed.host_netlink(), other.host_netlink());
    let end = host.create_veth(&Veth::new("eth0", &bed.container)).unwrap();
    let twin = elsewhere.create_veth(&Veth::new("eth0", &other.container)).unwrap();
    let eth0 = bed.container_netlink().find_link("eth0").unwrap().unwrap();
    assert_eq!((end.index, end.peer_index), (twin.index, twin.peer_index), "the same indexes in both pairs");

    assert_eq!(host.find_other_end(&eth0, &bed.container).unwrap(), Some(end));
    assert_eq!(elsewhere.find_other_end(&eth0, &bed.container).unwrap(), None);
    assert_eq!(host.find_other_end(&eth0, &other.container).unwrap(), None);
    let lo = bed.container_netlink().find_link("lo").unwrap().unwrap();
    assert_eq!(host.find_other_end(&lo, &bed.container).unwrap(), None);
}
