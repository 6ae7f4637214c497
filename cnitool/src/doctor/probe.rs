//! Tries what the kernel can do, in a new and empty network namespace: the hidden command `try-kernel`, which doctor runs
//! as a process of its own. One line on stdout for each feature: its name, a tab, and why it cannot be had, if so.

use std::error::Error;
use std::net::Ipv4Addr;

use libcni::error::causes;
use libcni::netns::{self, Netns};
use libcni::types::MacAddr;
use linuxnet::link::{Bridge, Dev, Ifb, IpvlanMode, Link, Macvlan, PortVlan, Tap, Upper, Veth, Vnis, Vxlan};
use linuxnet::netlink::Netlink;
use linuxnet::nft::{
    AddrType, BaseChain, ChainKind, DataType, Family, Field, Hook, Load, Nfnetlink, Policy, Rule, Set, Table,
    Transaction, Verdict, priority,
};
use linuxnet::{link, tc};

use super::feature::Feature;
use crate::error::ToolError;
use crate::session::Session;

type Tried = Result<(), Box<dyn Error>>;

/// An address of no machine, for the links that must have one.
const MAC: MacAddr = MacAddr([0x0a, 0x58, 0, 0, 0, 1]);
/// The bytes per second and at once of the token bucket.
const RATE: u64 = 125_000;
const BURST: u32 = 12_500;

/// Runs `try-kernel`.
pub(crate) fn run(session: &mut Session<'_>) -> Result<(), ToolError> {
    netns::isolate().map_err(ToolError::Namespace)?;
    let mut lines = String::new();
    for (feature, name, _) in Feature::ALL {
        let fault = attempt(feature).err().map(|fault| causes(Some(&*fault as &(dyn Error + 'static))));
        lines += &format!("{name}\t{}\n", fault.unwrap_or_default().replace('\n', " "));
    }
    session.print(lines)
}

fn attempt(feature: Feature) -> Tried {
    match feature {
        Feature::Nftables => by_nft(Family::Inet, |_| {}),
        Feature::NftMaps => by_nft(Family::Inet, maps),
        Feature::NftFib => by_nft(Family::Inet, |t| {
            t.create_chain("fib");
            t.add_rule("fib", &Rule::new().equals(Load::FibDaddrType, Field::AddrType(AddrType::Local)).counter());
        }),
        Feature::NftNat => by_nft(Family::Inet, |t| {
            t.create_base_chain(&BaseChain {
                name: "nat",
                kind: ChainKind::Nat,
                hook: Hook::Postrouting,
                priority: priority::SRCNAT,
                policy: Policy::Accept,
            });
            t.add_rule("nat", &Rule::new().masquerade());
        }),
        Feature::NftBridge => by_nft(Family::Bridge, |t| {
            t.create_base_chain(&BaseChain {
                name: "spoof",
                kind: ChainKind::Filter,
                hook: Hook::Prerouting,
                priority: priority::BRIDGE_FILTER,
                policy: Policy::Accept,
            });
        }),
        _ => by_link(feature),
    }
}

/// Makes a table with what `fill` puts into it.
fn by_nft(family: Family, fill: impl FnOnce(&mut Transaction<'_>)) -> Tried {
    let mut transaction = Transaction::new(Table::new(family, "ferrule_try"));
    transaction.ensure_table();
    fill(&mut transaction);
    Nfnetlink::open()?.commit(&transaction)?;
    Ok(())
}

/// What the tables of the plugins are made of.
fn maps(transaction: &mut Transaction<'_>) {
    const KEY: [DataType; 2] = [DataType::Ipv4Addr, DataType::IfName];
    transaction
        .ensure_set(&Set::of("set", &KEY).with_timeouts())
        .ensure_set(&Set::verdict_map("verdicts", &[DataType::Ipv4Addr]).with_timeouts())
        .ensure_set(
            &Set::map(
                "map",
                &[DataType::InetProto, DataType::InetService],
                &[DataType::Ipv4Addr, DataType::InetService],
            )
            .with_timeouts(),
        );
    transaction.create_chain("look");
    transaction.add_rule("look", &Rule::new().in_set(&[Load::IpSaddr, Load::Oifname], "set").verdict(Verdict::Accept));
}

/// Makes a link or a queueing discipline.
fn by_link(feature: Feature) -> Tried {
    let mut netlink = Netlink::open()?;
    let lower = lower(&mut netlink);
    match feature {
        Feature::Bridge => drop(netlink.ensure_bridge(&Bridge::new("try-br"))?),
        Feature::BridgeVlans => {
            let new = Bridge { vlan_filtering: true, ..Bridge::new("try-vbr") };
            let (bridge, _) = netlink.ensure_bridge(&new)?;
            let port = lower?;
            netlink.run(link::set_master(Dev::from(&port), Dev::from(&bridge)))?;
            netlink.run(link::add_vlan(Dev::from(&port), PortVlan::tagged(7)))?;
        }
        Feature::Macvlan => netlink.create_macvlan(upper(&lower?, "try-mac"), Macvlan::default())?,
        Feature::Ipvlan => netlink.create_ipvlan(upper(&lower?, "try-ip"), IpvlanMode::L2)?,
        Feature::Vlan => netlink.create_vlan(upper(&lower?, "try-vlan"), 7)?,
        Feature::Vrf => netlink.run(link::create_vrf("try-vrf", 1007))?,
        Feature::Dummy => netlink.create_dummy("try-dummy", Some(MAC))?,
        Feature::Ifb => drop(netlink.create_ifb(&Ifb { name: "try-ifb", alias: "try", mac: MAC, mtu: 1500 })?),
        Feature::Tap => {
            drop(Tap { name: "try-tap", multi_queue: false, owner: None, group: None }.create()?);
        }
        Feature::Vxlan => {
            let vxlan = Vxlan::new(Vnis::One(7), Ipv4Addr::LOCALHOST.into(), Dev::LOOPBACK.index, 8472);
            netlink.create_vxlan("try-vxlan", Some(MAC), None, &vxlan)?;
        }
        Feature::Wireguard => netlink.create_wireguard("try-wg", None)?,
        Feature::Ipip => netlink.create_ipip("try-ipip", None, Ipv4Addr::LOCALHOST)?,
        Feature::TokenBucket => {
            let link = lower?;
            netlink.run(tc::set_tbf(&link, &tc::Tbf { rate: RATE, burst: BURST, limit: BURST }))?;
        }
        Feature::Redirection => {
            let link = lower?;
            netlink.run(tc::ensure_ingress(Dev::from(&link)))?;
            netlink.run(tc::redirect(Dev::from(&link), Dev::LOOPBACK))?;
        }
        Feature::Veth
        | Feature::Nftables
        | Feature::NftMaps
        | Feature::NftFib
        | Feature::NftNat
        | Feature::NftBridge => drop(lower?),
    }
    Ok(())
}

/// A new veth, for other links to be made on.
fn lower(netlink: &mut Netlink) -> Result<Link, Box<dyn Error>> {
    let here = Netns::current()?;
    let name = format!("try{}", netlink.links()?.len());
    Ok(netlink.create_veth(&Veth::new(&name, &here))?)
}

fn upper<'a>(lower: &'a Link, name: &'a str) -> Upper<'a> {
    Upper { name, lower: Dev::from(lower), netns: None, mtu: None }
}
