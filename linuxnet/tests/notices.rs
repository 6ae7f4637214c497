//! What the kernel tells of changes, to whom it may concern.

#![expect(clippy::unwrap_used, reason = "a failure of what the tests share is a failed test")]

mod support;

use std::collections::BTreeSet;
use std::thread;

use libcni::types::MacAddr;
use linuxnet::link::Dev;
use linuxnet::neigh;
use linuxnet::netlink::{Notice, Notices, Stop};
use linuxnet::nft::{Changes, Family, Nfnetlink, Table, Transaction};
use linuxnet::route::{self, MarkedRoute, PROTOCOL_OVERLAY, Way};
use support::{Bed, output, skip};

/// A pair of links in the host, `e0` (whose index is given) with an address and `e1`, both up.
fn pair(bed: &Bed) -> u32 {
    for command in [
        "ip link set lo up",
        "ip link add e0 type veth peer name e1",
        "ip link set e1 up",
        "ip link set e0 up",
        "ip address add 192.0.2.1/24 dev e0",
    ] {
        output(&bed.host, command);
    }
    bed.host_netlink().find_link("e0").unwrap().unwrap().index
}

fn notices(bed: &Bed, bytes: usize) -> (Notices, Stop) {
    bed.host.within(|| Notices::open(bytes)).unwrap().unwrap()
}

/// Waits until `wanted` is told; the rest of what is told by then, too.
fn until(notices: &mut Notices, wanted: Notice) -> BTreeSet<Notice> {
    let mut all = BTreeSet::new();
    while !all.contains(&wanted) {
        all.extend(notices.wait().unwrap().unwrap());
    }
    all
}

#[test]
fn every_kind_of_change_is_told() {
    let Some(bed) = Bed::new() else { return };
    let a = pair(&bed);
    let (mut notices, _stop) = notices(&bed, 1 << 20);
    for (command, notice) in [
        ("ip link set e0 mtu 1400", Notice::Link(a)),
        ("ip address add 192.0.2.2/24 dev e0", Notice::Address(a)),
        ("ip address del 192.0.2.2/24 dev e0", Notice::Address(a)),
        ("ip neigh add 192.0.2.7 lladdr 0a:58:0a:01:00:01 dev e0", Notice::Neighbour(a)),
        ("ip route add 10.5.1.0/24 via 192.0.2.7 proto 79", Notice::Route { protocol: 79, link: Some(a) }),
        ("ip route del 10.5.1.0/24", Notice::Route { protocol: 79, link: Some(a) }),
        ("ip -6 route add blackhole fd07::/48 proto 79", Notice::Route { protocol: 79, link: Some(1) }),
        ("ip nexthop add id 7 via 192.0.2.7 dev e0 proto 79", Notice::Nexthop { protocol: 79, link: Some(a) }),
        ("ip nexthop del id 7", Notice::Nexthop { protocol: 79, link: Some(a) }),
        ("ip link add vx type vxlan id 1 dstport 8472 local 192.0.2.1", Notice::Link(a + 1)),
        ("bridge fdb add 0a:58:0a:01:00:01 dev vx dst 192.0.2.7 self permanent", Notice::Neighbour(a + 1)),
        ("ip link delete vx", Notice::Link(a + 1)),
    ] {
        output(&bed.host, command);
        let told = until(&mut notices, notice);
        assert!(!told.contains(&Notice::Lost), "{command}: {told:?}");
    }
}

#[test]
fn own_changes_are_not_told() {
    let Some(bed) = Bed::new() else { return };
    let a = pair(&bed);
    let mut netlink = bed.host_netlink();
    let (mut notices, _stop) = notices(&bed, 1 << 20);
    notices.ignore(&netlink).unwrap();
    let dev = Dev { index: a, name: "e0" };
    let way = Way::Link { link: a, gw: "192.0.2.7".parse().ok(), onlink: false };
    let ours = MarkedRoute::overlay("10.5.1.0/24".parse().unwrap(), way);
    netlink.run(neigh::set(dev, "192.0.2.7".parse().unwrap(), MacAddr([10, 88, 10, 1, 0, 1]))).unwrap();
    netlink.run(route::set_marked(&ours)).unwrap();
    // And then somebody else's.
    output(&bed.host, "ip route add 10.5.2.0/24 via 192.0.2.7 proto 80");
    let told = until(&mut notices, Notice::Route { protocol: 80, link: Some(a) });
    assert!(!told.contains(&Notice::Route { protocol: PROTOCOL_OVERLAY, link: Some(a) }), "{told:?}");
    assert!(!told.contains(&Notice::Neighbour(a)), "{told:?}");
    output(&bed.host, "ip route del 10.5.1.0/24");
    until(&mut notices, Notice::Route { protocol: PROTOCOL_OVERLAY, link: Some(a) });
}

#[test]
fn more_than_the_socket_holds_is_told_as_lost() {
    let Some(bed) = Bed::new() else { return };
    let a = pair(&bed);
    let (mut notices, _stop) = notices(&bed, 4096);
    let way = Way::Link { link: a, gw: "192.0.2.7".parse().ok(), onlink: false };
    let routes: Vec<_> = (0..200u8)
        .map(|n| route::set_marked(&MarkedRoute::overlay(format!("10.5.{n}.0/24").parse().unwrap(), way)))
        .collect();
    assert!(bed.host_netlink().send_each(&routes).unwrap().is_empty());
    until(&mut notices, Notice::Lost);
    // Afterwards it hears again.
    output(&bed.host, "ip route add 10.6.0.0/16 via 192.0.2.7 proto 80");
    until(&mut notices, Notice::Route { protocol: 80, link: Some(a) });
}

#[test]
fn the_waiting_ends_from_another_thread() {
    let Some(bed) = Bed::new() else { return };
    let (mut notices, stop) = notices(&bed, 1 << 20);
    let waiting = thread::spawn(move || while notices.wait().unwrap().is_some() {});
    output(&bed.host, "ip link set lo up");
    assert!(!waiting.is_finished());
    drop(stop);
    waiting.join().unwrap();
}

#[test]
fn others_transactions_of_nftables_are_told() {
    let Some(bed) = Bed::new() else { return };
    let open = || {
        let nft = Nfnetlink::open()?;
        let (changes, stop) = Changes::open(&nft, 1 << 16)?;
        Ok((nft, changes, stop))
    };
    let (mut nft, mut changes, stop) = match bed.host.within(open).unwrap() {
        Ok(opened) => opened,
        Err(e) if linuxnet::NetlinkError::is_unsupported(&e) => return skip("the kernel has no nftables"),
        Err(e) => panic!("{e}"),
    };
    let (told, hears) = std::sync::mpsc::channel();
    let listening = thread::spawn(move || {
        while changes.wait().unwrap() {
            told.send(()).unwrap();
        }
    });
    nft.commit(Transaction::new(Table { family: Family::Inet, name: "ours" }).ensure_table()).unwrap();
    assert!(hears.recv_timeout(std::time::Duration::from_millis(300)).is_err(), "our own is told");
    output(&bed.host, "nft add table ip foreign");
    hears.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    output(&bed.host, "nft delete table inet ours");
    hears.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    drop(stop);
    listening.join().unwrap();
}
