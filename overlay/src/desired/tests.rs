use proptest::prelude::*;

use super::*;

fn side(n: u8, endpoint: &str) -> Side {
    let base: IpAddr = [10, 42, n, 0].into();
    Side {
        endpoint: endpoint.parse().unwrap(),
        subnets: vec![IpNet::new(base, 24).unwrap()],
        how: How::Vxlan { mac: libcni::types::MacAddr([0x0a, 0, 0, 0, 0, n]) },
    }
}

fn peer(n: u8, endpoint: &str) -> Peer {
    Peer { v4: Some(side(n, endpoint)), v6: None, mtu: None }
}

fn plan(means: Means) -> Plan {
    let direct = Direct { link: 2, on_link: vec!["192.0.2.0/24".parse().unwrap()] };
    Plan { v4: Some(Lane { means, direct: Some(direct) }), ..Plan::default() }
}

fn shown(plan: &Plan, peer: &Peer) -> (Vec<String>, Result<(), Unreachable>) {
    let mut objects = Vec::new();
    let done = plan.objects(peer, &mut Ids::default(), &mut objects);
    (objects.iter().map(ToString::to_string).collect(), done)
}

#[test]
fn a_node_elsewhere_is_reached_by_the_tunnel() {
    let far = peer(1, "198.51.100.7");
    let (objects, done) = shown(&plan(Means::Neighbours { device: 5 }), &far);
    let expected = [
        "neigh 10.42.1.0 lladdr 0a:00:00:00:00:01 dev 5",
        "fdb 0a:00:00:00:00:01 dst 198.51.100.7 dev 5",
        "route 10.42.1.0/24 via 10.42.1.0 dev 5 onlink",
    ];
    assert_eq!((objects, done), (expected.map(String::from).to_vec(), Ok(())));
    let nexthops = Means::Nexthops { device: 5, vni: 1, from: "192.0.2.1".parse().unwrap() };
    let (objects, done) = shown(&plan(nexthops), &far);
    let expected = [
        "nexthop id 79000000 via 10.42.1.0 dev 5 encap id 1 dst 198.51.100.7",
        "neigh 10.42.1.0 lladdr 0a:00:00:00:00:01 dev 5",
        "route 10.42.1.0/24 nhid 79000000",
    ];
    assert_eq!((objects, done), (expected.map(String::from).to_vec(), Ok(())));
    let (objects, done) = shown(&plan(Means::DirectOnly), &far);
    assert_eq!((objects, done), (vec![], Err(Unreachable::OffLink("198.51.100.7".parse().unwrap()))));
}

#[test]
fn a_node_on_the_segment_is_reached_by_a_plain_route() {
    for means in [Means::Neighbours { device: 5 }, Means::DirectOnly] {
        let (objects, done) = shown(&plan(means), &peer(1, "192.0.2.7"));
        assert_eq!((objects, done), (vec!["route 10.42.1.0/24 via 192.0.2.7 dev 2".to_owned()], Ok(())));
    }
}

#[test]
fn a_family_without_a_way_does_not_hinder_the_other() {
    let v6 = Side { subnets: vec!["fd42:1::/64".parse().unwrap()], ..side(1, "fd00::7") };
    let both = Peer { v6: Some(v6), ..peer(1, "198.51.100.7") };
    let (objects, done) = shown(&plan(Means::Neighbours { device: 5 }), &both);
    assert_eq!((objects.len(), done), (3, Err(Unreachable::NoAddress("fd00::7".parse().unwrap()))));
}

#[test]
fn numbers_of_next_hops_stay_and_avoid_those_of_others() {
    let mut ids = Ids::default();
    let gateway = |n: u8| IpAddr::from([10, 42, n, 0]);
    ids.adopt(gateway(1), 79_000_003);
    ids.adopt(gateway(2), 7);
    ids.adopt(gateway(1), 79_000_004);
    assert_eq!((ids.of(gateway(1)), ids.of(gateway(2))), (79_000_003, 7));
    let new = [3, 4, 5, 6].map(|n| ids.of(gateway(n)));
    assert_eq!(new, [79_000_000, 79_000_001, 79_000_002, 79_000_004]);
    // Somebody else made one with a number of ours.
    ids.give_up(79_000_001);
    assert_eq!(ids.of(gateway(4)), 79_000_005);
    ids.release(gateway(4));
    assert_eq!(ids.of(gateway(4)), 79_000_006);
}

#[test]
fn ways_are_made_first_and_removed_last() {
    let neighbours = plan(Means::Neighbours { device: 5 });
    let mut ids = Ids::default();
    let mut of = |n, mac: u8, endpoint: &str| {
        let mut peer = peer(n, endpoint);
        if let Some(side) = &mut peer.v4 {
            side.how = How::Vxlan { mac: libcni::types::MacAddr([0x0a, 0, 0, 0, 0, mac]) };
        }
        let mut objects = Vec::new();
        neighbours.objects(&peer, &mut ids, &mut objects).unwrap();
        objects
    };
    // One node leaves, another gets a new MAC address, a third comes.
    let have = [of(1, 1, "198.51.100.1"), of(2, 2, "198.51.100.2")].concat();
    let want = [of(2, 22, "198.51.100.2"), of(3, 3, "198.51.100.3")].concat();
    let steps = diff(have, want.into_iter().map(|object| (object, ())).collect());
    let shown: Vec<_> = steps
        .iter()
        .map(|(step, _)| match step {
            Step::Make(object) => format!("+{object}"),
            Step::Change(object) => format!("~{object}"),
            Step::Remove(object) => format!("-{object}"),
        })
        .collect();
    let expected = [
        "~neigh 10.42.2.0 lladdr 0a:00:00:00:00:16 dev 5",
        "+neigh 10.42.3.0 lladdr 0a:00:00:00:00:03 dev 5",
        "+fdb 0a:00:00:00:00:03 dst 198.51.100.3 dev 5",
        "+fdb 0a:00:00:00:00:16 dst 198.51.100.2 dev 5",
        "+route 10.42.3.0/24 via 10.42.3.0 dev 5 onlink",
        "-route 10.42.1.0/24 via 10.42.1.0 dev 5 onlink",
        "-fdb 0a:00:00:00:00:02 dst 198.51.100.2 dev 5",
        "-fdb 0a:00:00:00:00:01 dst 198.51.100.1 dev 5",
        "-neigh 10.42.1.0 lladdr 0a:00:00:00:00:01 dev 5",
    ];
    assert_eq!(shown, expected);
}

fn object() -> impl Strategy<Value = Object> {
    (0u8..3, 0u8..3, 0u8..3).prop_map(|(kind, key, content)| {
        let mut objects = Vec::new();
        let side =
            Side { how: How::Vxlan { mac: libcni::types::MacAddr([2, 0, 0, 0, 0, key]) }, ..side(key, "192.0.2.1") };
        let endpoint = [192, 0, 2, content].into();
        vxlan::objects(
            u32::from(content),
            &Side { endpoint, ..side },
            libcni::types::MacAddr([2, 0, 0, 0, 0, key]),
            &mut objects,
        );
        objects.swap_remove(usize::from(kind))
    })
}

proptest! {
    #[test]
    fn the_steps_lead_from_one_to_the_other(have in prop::collection::vec(object(), 0..8), want in prop::collection::vec(object(), 0..8)) {
        let mut kernel = have.clone();
        let wanted: Vec<_> = want.iter().cloned().map(|object| (object, ())).collect();
        for (step, _) in diff(have, wanted) {
            match step {
                Step::Make(object) => {
                    prop_assert!(!kernel.iter().any(|there| there.key() == object.key()), "{object} is there");
                    kernel.push(object);
                }
                Step::Change(object) => {
                    let there = kernel.iter_mut().find(|there| there.key() == object.key());
                    *there.expect("it is there") = object;
                }
                // One of two that are the same: the kernel has no two such.
                Step::Remove(object) => kernel.retain(|there| *there != object),
            }
        }
        let keys = |objects: &[Object]| objects.iter().map(Object::key).collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(keys(&kernel), keys(&want));
        for object in &kernel {
            let first = want.iter().find(|wanted| wanted.key() == object.key());
            prop_assert_eq!(Some(object), first);
        }
    }
}
