//! The plugins `macvlan`, `ipvlan`, `vlan` and `dummy`: every field and every verb, seen by packets, by the state of the
//! kernel and by what is left. What they have in common is tested on each that the kernel can make links for.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod address;
mod check;
mod dummy;
mod failures;
mod fault;
mod ipvlan;
mod mac;
mod macvlan;
mod master;
mod remove;
mod swap;
mod versions;
mod vlan;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ferrule_tests::bed::{host_local, merge};
use ferrule_tests::{Bed, Feature, Network, require};
use serde_json::{Value, json};

/// One of the plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Macvlan,
    Ipvlan,
    Vlan,
    Dummy,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Macvlan, Self::Ipvlan, Self::Vlan, Self::Dummy];
    /// Those whose links are on another one.
    const UPPER: [Self; 3] = [Self::Macvlan, Self::Ipvlan, Self::Vlan];

    /// The type of the plugin, and of its links.
    fn name(self) -> &'static str {
        match self {
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Vlan => "vlan",
            Self::Dummy => "dummy",
        }
    }

    /// Whether the kernel has such links. If not, the calling test is skipped.
    fn is_there(self) -> bool {
        match self {
            Self::Macvlan => true,
            Self::Ipvlan => require(Feature::Ipvlan),
            Self::Vlan => require(Feature::Vlan),
            Self::Dummy => require(Feature::Dummy),
        }
    }

    /// The object of a configuration list: on `lan`, with these keys.
    fn plugin(self, keys: &Value) -> Value {
        let mut plugin = match self {
            Self::Macvlan => json!({"type": "macvlan", "master": "lan", "capabilities": {"mac": true, "ips": true}}),
            Self::Ipvlan => json!({"type": "ipvlan", "master": "lan"}),
            Self::Vlan => json!({"type": "vlan", "master": "lan", "vlanId": 7}),
            Self::Dummy => json!({"type": "dummy"}),
        };
        merge(&mut plugin, keys);
        plugin
    }

    /// A node with `lan` and one network of the plugin with these keys; `None`, with a printed SKIP, outside the
    /// sandbox.
    fn bed(self, keys: &Value) -> Option<Bed> {
        let mut bed = Bed::of(&self.plugin(keys))?;
        bed.node.plug_lan();
        bed.before = bed.node.snapshot();
        Some(bed)
    }

    /// A second network on the node.
    fn network(self, bed: &Bed, name: &str, keys: &Value) -> Network {
        bed.node.network_of(name, &self.plugin(keys))
    }
}

/// Does `work` for each of `kinds` that the kernel has, with `lan` and a network of these keys.
#[track_caller]
fn each(kinds: &[Kind], keys: &Value, work: impl Fn(Kind, &mut Bed)) {
    for &kind in kinds {
        if !kind.is_there() {
            continue;
        }
        let Some(mut bed) = kind.bed(keys) else { return };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(kind, &mut bed)));
        assert!(outcome.is_ok(), "the plugin was {}", kind.name());
    }
}

/// `host-local` for both families, in the subnets of `lan`.
fn dual_stack() -> Value {
    json!({"ipam": host_local(&["10.5.0.0/24", "fd00:5::/64"])})
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
