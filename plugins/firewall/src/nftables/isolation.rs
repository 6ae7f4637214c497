//! The ingress policies of bridges, in nftables. Each attachment notes what it wants of its bridge; the bridge has the
//! strictest of these policies, and none any more when the last attachment that wanted one is gone.

use std::net::IpAddr;
use std::path::Path;

use libcni::names::IfName;
use libcni::store::{self, Lock};
use linuxnet::NetlinkError;
use linuxnet::nft::{Element, ElementData, Field, Nfnetlink, Set, Transaction, Value, Verdict};
use linuxnet::tag::Tag;

use super::layout::{BRIDGE_PAIRS, BRIDGES, TABLE, Version};
use super::{address, frames, tag_of};
use crate::conf::Policy;
use crate::container::{Container, Isolation};
use crate::error::FirewallError;

/// Held from look to change: whether a bridge still needs its policy depends on all attachments.
const LOCK: &str = "/run/ferrule/firewall.lock";

/// An attachment's wish, for one of its addresses.
#[derive(Clone, Debug)]
struct Wish {
    ip: IpAddr,
    isolation: Isolation,
    tag: Option<Tag>,
}

impl Wish {
    fn map(&self) -> Set<'static> {
        map_of(Version::of(self.ip), self.isolation.policy)
    }

    fn is_of(&self, tag: &Tag) -> bool {
        self.tag.as_ref().is_some_and(|of| of.is_same_attachment(tag))
    }
}

/// The map of wishes for a policy. (Nobody wishes for none.)
fn map_of(version: &Version, policy: Policy) -> Set<'static> {
    if policy == Policy::Isolated { version.isolated } else { version.same_bridge }
}

fn wishes(nft: &mut Nfnetlink) -> Result<Vec<Wish>, NetlinkError> {
    let mut wishes = Vec::new();
    for version in Version::ALL {
        for policy in [Policy::SameBridge, Policy::Isolated] {
            let map = map_of(version, policy);
            for element in nft.elements(TABLE, map.name)? {
                let bridge = element.value().and_then(|value| value.fields(map.data()));
                if let (Some(ip), Some([Field::IfName(bridge)])) = (address(&element.key, version), bridge.as_deref()) {
                    let isolation = Isolation { bridge: bridge.clone(), policy };
                    wishes.push(Wish { ip, isolation, tag: tag_of(&element) });
                }
            }
        }
    }
    Ok(wishes)
}

fn lock() -> Result<Lock, FirewallError> {
    let path = Path::new(LOCK);
    if let Some(directory) = path.parent() {
        store::ensure_dir(directory, 0o755).map_err(FirewallError::Lock)?;
    }
    Lock::exclusive(path).map_err(FirewallError::Lock)
}

/// Notes what the container wants of its bridge instead of what it, or former holders of its addresses, wanted.
pub(super) fn change(nft: &mut Nfnetlink, container: &Container) -> Result<(), FirewallError> {
    let _lock = lock()?;
    let wanted: Vec<Wish> = container
        .isolation
        .iter()
        .flat_map(|isolation| {
            let wish = |ip| Wish { ip, isolation: isolation.clone(), tag: Some(container.tag.clone()) };
            container.ips.iter().copied().map(wish)
        })
        .collect();
    replace(nft, |wish| wish.is_of(&container.tag) || container.has(wish.ip), wanted)?;
    frames::change(nft, container)
}

/// Removes the wishes of those whose tag is meant. Nothing there is success, and costs a few looks.
pub(super) fn release(nft: &mut Nfnetlink, is_meant: impl Fn(&Tag) -> bool) -> Result<(), FirewallError> {
    frames::release(nft, &is_meant)?;
    let is_meant = |wish: &Wish| wish.tag.as_ref().is_some_and(&is_meant);
    if !wishes(nft)?.iter().any(is_meant) {
        return Ok(());
    }
    let _lock = lock()?;
    replace(nft, is_meant, Vec::new())
}

/// Replaces the wishes that `is_old` by `new` ones, and gives the bridges of both the policies that follow.
fn replace(nft: &mut Nfnetlink, is_old: impl Fn(&Wish) -> bool, new: Vec<Wish>) -> Result<(), FirewallError> {
    super::retry(|| {
        let (old, kept): (Vec<_>, Vec<_>) = wishes(nft)?.into_iter().partition(&is_old);
        let mut t = Transaction::new(TABLE);
        for wish in &old {
            let (map, key) = (wish.map().name, wish.ip.into());
            // Deleted, not expired, where the same transaction may make the key anew.
            if new.is_empty() {
                t.remove_element(map, &key)
            } else {
                t.destroy_element(map, &key)
            };
        }
        for wish in &new {
            let tag = wish.tag.as_ref().map(ToString::to_string).unwrap_or_default();
            let element = Element::new(wish.ip).data(Value::from(wish.isolation.bridge.clone())).comment(tag);
            t.create_element(wish.map().name, &element);
        }
        let mut bridges: Vec<&IfName> = old.iter().chain(&new).map(|wish| &wish.isolation.bridge).collect();
        bridges.sort_unstable_by_key(|bridge| bridge.as_str());
        bridges.dedup();
        for bridge in bridges {
            let of_bridge = kept.iter().chain(&new).filter(|wish| wish.isolation.bridge == *bridge);
            let policy = of_bridge.map(|wish| wish.isolation.policy).max();
            give(nft, &mut t, bridge, policy)?;
        }
        nft.commit(&t)
    })?;
    Ok(())
}

/// Adds to `t` what gives `bridge` this policy instead of the one it has.
fn give(
    nft: &mut Nfnetlink,
    t: &mut Transaction<'static>,
    bridge: &IfName,
    policy: Option<Policy>,
) -> Result<(), NetlinkError> {
    let (name, pair) = (Value::from(bridge.clone()), pair(bridge));
    let current = nft.find_element(TABLE, BRIDGE_PAIRS.name, &pair)?.map(|element| element.data);
    let wanted = policy.map(within);
    if current != wanted.clone().map(ElementData::Verdict) {
        if current.is_some() {
            t.destroy_element(BRIDGE_PAIRS.name, &pair);
        }
        if let Some(verdict) = wanted {
            t.create_element(BRIDGE_PAIRS.name, &Element::new(pair).data(verdict));
        }
    }
    match (nft.find_element(TABLE, BRIDGES.name, &name)?.is_some(), policy.is_some()) {
        (false, true) => t.create_element(BRIDGES.name, &Element::new(name)),
        (true, false) => t.destroy_element(BRIDGES.name, &name),
        _ => t,
    };
    Ok(())
}

/// What happens to packets from a bridge to itself.
fn within(policy: Policy) -> Verdict {
    if policy == Policy::Isolated { Verdict::Drop } else { Verdict::Return }
}

fn pair(bridge: &IfName) -> Value {
    Value::from(bridge.clone()).and(bridge.clone())
}

/// What the container's bridge lacks of the policy.
pub(super) fn verify(
    nft: &mut Nfnetlink,
    container: &Container,
    isolation: &Isolation,
) -> Result<Vec<String>, NetlinkError> {
    let Isolation { bridge, policy } = isolation;
    let mut differences = Vec::new();
    for &ip in &container.ips {
        let map = map_of(Version::of(ip), *policy);
        let noted = nft.find_element(TABLE, map.name, &ip.into())?;
        if !noted.is_some_and(|element| element.value() == Some(&bridge.clone().into())) {
            differences.push(format!("element \"{ip} : {bridge}\" of map {} in table {TABLE} is missing", map.name));
        }
    }
    let within_bridge = nft.find_element(TABLE, BRIDGE_PAIRS.name, &pair(bridge))?.map(|element| element.data);
    let has = |verdict| within_bridge == Some(ElementData::Verdict(verdict));
    // Another attachment may want the stricter one.
    if !(has(within(*policy)) || has(Verdict::Drop)) {
        differences.push(format!(
            "bridge {bridge} is not {} in map {} of table {TABLE}",
            policy.as_str(),
            BRIDGE_PAIRS.name
        ));
    }
    if nft.find_element(TABLE, BRIDGES.name, &bridge.clone().into())?.is_none() {
        differences.push(format!("element \"{bridge}\" of set {} in table {TABLE} is missing", BRIDGES.name));
    }
    differences.extend(frames::verify(nft, container)?);
    Ok(differences)
}
