//! Random sequences of calls against a model, with other people in the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;

use crate::support::Network;

const SIZE: u32 = 12;
const GATEWAY: &str = "10.1.0.1";

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    AddRequested(u8, u8),
    Del(u8),
    /// GC with these owners valid.
    Gc(BTreeSet<u8>),
    /// Somebody else takes an address, if it is free, as the Go plugin does.
    Foreign(u8, u8),
    /// A file is left without an owner, if its address is free.
    Garbage(u8, Vec<u8>),
    /// The index loses an entry.
    LoseIndex(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, address) = (0u8..10, 0u8..14);
    prop_oneof![
        6 => owner.clone().prop_map(Step::Add),
        2 => (owner.clone(), address.clone()).prop_map(|(o, a)| Step::AddRequested(o, a)),
        4 => owner.clone().prop_map(Step::Del),
        1 => prop::collection::btree_set(0u8..10, 0..8).prop_map(Step::Gc),
        1 => (owner.clone(), address.clone()).prop_map(|(o, a)| Step::Foreign(o, a)),
        1 => (address, prop::collection::vec(any::<u8>(), 0..5)).prop_map(|(a, content)| Step::Garbage(a, content)),
        1 => owner.prop_map(Step::LoseIndex),
    ]
}

fn address(n: u8) -> IpAddr {
    IpAddr::from([10, 1, 0, n + 1])
}

fn in_range(address: IpAddr) -> bool {
    (2..2 + SIZE).any(|n| IpAddr::from([10, 1, 0, u8::try_from(n).unwrap()]) == address)
}

/// Who has what.
#[derive(Default)]
struct Model(BTreeMap<IpAddr, String>);

impl Model {
    fn has(&self, owner: &str) -> bool {
        self.0.iter().any(|(address, o)| o == owner && in_range(*address))
    }

    fn add(&mut self, owner: &str, given: IpAddr) {
        assert_ne!(given.to_string(), GATEWAY);
        assert!(in_range(given), "{given} is in no range");
        assert_eq!(self.0.insert(given, owner.to_owned()), None, "{given} is given twice");
    }
}

fn run(network: &Network, model: &mut Model, step: &Step) {
    let name = |n: &u8| format!("c{n}");
    match step {
        Step::Add(n) => {
            let (owner, reply) = (name(n), network.call("ADD", &name(n)));
            let full = model.0.keys().filter(|a| in_range(**a)).count() == SIZE as usize;
            match (model.has(&owner), full) {
                (true, _) => reply.fails_with(999, "duplicate allocation is not allowed"),
                (false, true) => reply.fails_with(11, "no IP addresses available"),
                (false, false) => model.add(&owner, reply.ip()),
            }
        }
        Step::AddRequested(n, a) => {
            let wanted = address(*a).to_string();
            let reply = network.call_with("ADD", &name(n), "eth0", &[("CNI_ARGS", &format!("IP={wanted}"))]);
            if !in_range(address(*a)) {
                reply.fails_with(7, "failed to allocate all requested IPs");
            } else if model.0.contains_key(&address(*a)) {
                reply.fails_with(11, "is not available in range set");
            } else {
                assert_eq!(reply.ip(), address(*a));
                model.add(&name(n), address(*a));
            }
        }
        Step::Del(n) => {
            network.call("DEL", &name(n)).ok();
            model.0.retain(|_, owner| *owner != name(n));
        }
        Step::Gc(valid) => {
            let valid: Vec<String> = valid.iter().map(name).collect();
            let pairs: Vec<(&str, &str)> = valid.iter().map(|id| (id.as_str(), "eth0")).collect();
            network.gc(&pairs).ok();
            model.0.retain(|_, owner| valid.contains(owner));
        }
        Step::Foreign(n, a) => {
            if !network.path().join(address(*a).to_string()).exists() {
                network.plant(&address(*a).to_string(), format!("{}\r\neth0", name(n)).as_bytes());
                model.0.insert(address(*a), name(n));
            }
        }
        Step::Garbage(a, content) => {
            // Letters and digits would be an owner of the old form.
            let garbage: Vec<u8> = content.iter().map(|byte| byte | 0x80).collect();
            if !network.path().join(address(*a).to_string()).exists() {
                network.plant(&address(*a).to_string(), &garbage);
            }
        }
        Step::LoseIndex(n) => {
            let _ = std::fs::remove_file(network.data_dir().join(format!(".owners/net/{},eth0", name(n))));
        }
    }
}

/// The reservations on disk, as the Go plugin would read them.
fn on_disk(network: &Network) -> BTreeMap<IpAddr, String> {
    let read =
        |address: IpAddr| Some((address, std::fs::read_to_string(network.path().join(address.to_string())).ok()?));
    network
        .reserved()
        .into_iter()
        .filter_map(read)
        .filter_map(|(address, content)| Some((address, content.strip_suffix("\r\neth0")?.to_owned())))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_keeps_to_the_model(steps in prop::collection::vec(step(), 1..50)) {
        let network = Network::of_size(SIZE);
        let mut model = Model::default();
        for step in &steps {
            run(&network, &mut model, step);
            prop_assert_eq!(&on_disk(&network), &model.0, "after {:?}", step);
        }
    }

    #[test]
    fn any_garbage_in_the_directory_is_survived(
        files in prop::collection::vec(("[0-9a-f.:]{1,12}|10\\.1\\.0\\.[0-9]{1,2}|last_reserved_ip\\.[01]", any::<Vec<u8>>()), 0..12),
    ) {
        let network = Network::of_size(SIZE);
        for (name, content) in files.iter().filter(|(name, _)| ![".", ".."].contains(&name.as_str())) {
            network.plant(name, content);
        }
        let before = on_disk(&network);
        let reply = network.call("ADD", "mine");
        if reply.success {
            prop_assert!(in_range(reply.ip()) && !before.contains_key(&reply.ip()));
            network.call("CHECK", "mine").ok();
            network.call("DEL", "mine").ok();
        } else {
            reply.fails_with(11, "no IP addresses available");
        }
        prop_assert_eq!(on_disk(&network), before);
    }
}
