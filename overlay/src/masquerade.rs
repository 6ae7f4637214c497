//! Which address containers' packets leave this node with: one nftables table of our own, and a way through iptables'
//! chain FORWARD ([`forward`]).
//!
//! ```text
//! table inet overlayd {
//!     set cluster4 { type ipv4_addr; flags interval; elements = { 10.42.0.0/16 } }      all nodes' containers
//!     set own4     { type ipv4_addr; flags interval; elements = { 10.42.3.0/24 } }      this node's
//!     set except4  { type ipv4_addr; flags interval; elements = { 224.0.0.0/4, … } }    multicast, and `except`
//!     chain postrouting {
//!         type nat hook postrouting priority srcnat; policy accept;
//!         meta mark & 0x4000 == 0x4000 return                    somebody else masquerades it (kube-proxy)
//!         ip saddr @cluster4 ip daddr @cluster4 return           container to container
//!         ip saddr @cluster4 ip daddr @except4 return
//!         ip saddr @cluster4 masquerade fully-random             container to outside
//!         ip saddr != @cluster4 ip daddr @own4 return            outside to a container here: it sees who comes
//!         ip saddr != @cluster4 ip daddr @cluster4 masquerade fully-random   … to one elsewhere: answers come back this way
//!     }
//! }
//! ```
//! and the same for IPv6. These are flannel's rules in the order that its iptables backend has; its nftables backend has
//! the fifth the wrong way round, and never comes to the sixth.

mod forward;
pub(crate) mod takeover;

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use linuxnet::NetlinkError;
use linuxnet::iptables::IptablesError;
use linuxnet::nft::{
    BaseChain, ChainKind, DataType, Family, Hook, Load, Nfnetlink, Policy, Rule, Set, Table, Transaction, Verdict,
    priority,
};

use crate::config::MasqueradeConf;
use crate::network::Network;
use forward::Forward;

const TABLE: Table<'static> = Table::inet("overlayd");
const POSTROUTING: BaseChain<'static> = BaseChain {
    name: "postrouting",
    kind: ChainKind::Nat,
    hook: Hook::Postrouting,
    priority: priority::SRCNAT,
    policy: Policy::Accept,
};
/// The bit of the packet mark by which kube-proxy masquerades (`--iptables-masquerade-bit` 14).
const MARK: u32 = 0x4000;

/// Why packets may not leave with the right address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MasqueradeError {
    #[error("cannot {action} the rules of masquerading and forwarding")]
    Nftables { action: &'static str, source: NetlinkError },
    #[error("cannot {action} the rules of forwarding in iptables-legacy")]
    Legacy { action: &'static str, source: IptablesError },
}

impl MasqueradeError {
    fn of(action: &'static str) -> impl Fn(NetlinkError) -> Self {
        move |source| Self::Nftables { action, source }
    }
}

/// One IP version.
struct Version {
    key: DataType,
    source: Load,
    destination: Load,
    cluster: Set<'static>,
    own: Set<'static>,
    except: Set<'static>,
    multicast: IpNet,
}

const V4: Version = Version {
    key: DataType::Ipv4Addr,
    source: Load::IpSaddr,
    destination: Load::IpDaddr,
    cluster: Set::of("cluster4", &[DataType::Ipv4Addr]).with_intervals(),
    own: Set::of("own4", &[DataType::Ipv4Addr]).with_intervals(),
    except: Set::of("except4", &[DataType::Ipv4Addr]).with_intervals(),
    multicast: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4)),
};

const V6: Version = Version {
    key: DataType::Ipv6Addr,
    source: Load::Ip6Saddr,
    destination: Load::Ip6Daddr,
    cluster: Set::of("cluster6", &[DataType::Ipv6Addr]).with_intervals(),
    own: Set::of("own6", &[DataType::Ipv6Addr]).with_intervals(),
    except: Set::of("except6", &[DataType::Ipv6Addr]).with_intervals(),
    multicast: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
};

/// What should be there.
#[derive(Debug)]
pub(crate) struct Masquerade {
    /// Each set with its addresses.
    sets: Vec<(Set<'static>, DataType, Vec<IpNet>)>,
    rules: Vec<Rule>,
    forward: Forward,
    /// The number of the rule set in which all was right: as long as it stands, nobody changed anything.
    right_in: Option<u32>,
}

impl Masquerade {
    /// For a node with these subnets. Families that the cluster does not have are left alone.
    pub(crate) fn new(conf: &MasqueradeConf, network: &Network, own: &[IpNet]) -> Self {
        let clusters =
            [(V4, network.v4.map(|pool| pool.network.into())), (V6, network.v6.map(|pool| pool.network.into()))];
        let mut this = Self {
            sets: Vec::new(),
            rules: vec![Rule::new().has_mark(MARK, MARK).verdict(Verdict::Return)],
            forward: Forward::new(if conf.forward { networks(network) } else { Vec::new() }),
            right_in: None,
        };
        for (version, cluster) in clusters {
            let Some(cluster) = cluster else { continue };
            let of_family = |nets: &[IpNet]| -> Vec<IpNet> {
                nets.iter().filter(|net| net.addr().is_ipv4() == version.multicast.addr().is_ipv4()).copied().collect()
            };
            let except = [vec![version.multicast], of_family(&conf.except)].concat();
            this.sets.extend([
                (version.cluster, version.key, vec![cluster]),
                (version.own, version.key, of_family(own)),
                (version.except, version.key, except),
            ]);
            this.rules.extend(rules(&version, conf.random_fully));
        }
        this
    }

    /// Makes what is missing or different right, and tells whether there was any. Where nobody changed any rule of this
    /// namespace since the last time, that costs one question to the kernel (10 µs).
    ///
    /// # Errors
    /// [`MasqueradeError`].
    pub(crate) fn ensure(&mut self, nft: &mut Nfnetlink) -> Result<bool, MasqueradeError> {
        let now = nft.generation().map_err(MasqueradeError::of("check"))?;
        if self.right_in == Some(now) {
            return Ok(false);
        }
        let mut changed = false;
        if !self.is_right(nft).map_err(MasqueradeError::of("check"))? {
            nft.commit(&self.creation()).map_err(MasqueradeError::of("write"))?;
            changed = true;
        }
        changed |= self.forward.ensure(nft)?;
        // What we wrote is looked at the next time: somebody may have been at it meanwhile.
        self.right_in = (!changed).then_some(now);
        Ok(changed)
    }

    /// The table anew, in place of what there may be of it.
    fn creation(&self) -> Transaction<'static> {
        let mut t = Transaction::new(TABLE);
        t.remove_table().ensure_table();
        for (set, _, networks) in &self.sets {
            t.ensure_set(set).add_networks(set.name, networks);
        }
        t.create_base_chain(&POSTROUTING);
        for rule in &self.rules {
            t.add_rule(POSTROUTING.name, rule);
        }
        t
    }

    fn is_right(&self, nft: &mut Nfnetlink) -> Result<bool, NetlinkError> {
        let rules = nft.rules(TABLE, POSTROUTING.name)?;
        let as_wanted = |(is, wanted): (&_, &_)| linuxnet::nft::RuleEntry::is_like(is, TABLE.family, wanted);
        if rules.len() != self.rules.len() || !rules.iter().zip(&self.rules).all(as_wanted) {
            return Ok(false);
        }
        for (set, key, networks) in &self.sets {
            let is_there = nft.find_set(TABLE, set.name)?.is_some_and(|entry| entry.is_like(set));
            if !is_there || !nft.has_networks(TABLE, set.name, *key, networks)? {
                return Ok(false);
            }
        }
        let ours = nft.base_chains(Family::Inet)?.into_iter().filter(|chain| chain.table() == TABLE);
        let is_ours = |chain: &linuxnet::nft::BaseChainEntry| {
            chain.name == POSTROUTING.name && chain.is_at(POSTROUTING.hook) && chain.policy == Some(POSTROUTING.policy)
        };
        // A chain of somebody else's in our table could drop what it likes.
        Ok(ours.map(|chain| is_ours(&chain)).eq([true]))
    }
}

/// Removes all that [`Masquerade::ensure`] makes, for whatever configuration, and tells whether there was any.
///
/// # Errors
/// [`MasqueradeError`].
pub(crate) fn remove(nft: &mut Nfnetlink) -> Result<bool, MasqueradeError> {
    // Told apart from nothing, so that it costs no transaction.
    let is_there = nft.table_exists(TABLE).map_err(MasqueradeError::of("check"))?;
    if is_there {
        nft.commit(Transaction::new(TABLE).remove_table()).map_err(MasqueradeError::of("remove"))?;
    }
    Ok(Forward::new(Vec::new()).ensure(nft)? || is_there)
}

fn networks(network: &Network) -> Vec<IpNet> {
    let (v4, v6) = (network.v4.map(|pool| pool.network.into()), network.v6.map(|pool| pool.network.into()));
    v4.into_iter().chain(v6).collect()
}

/// The rules of one family, in order.
fn rules(version: &Version, random_fully: bool) -> [Rule; 5] {
    let masquerade = |rule: Rule| if random_fully { rule.masquerade_fully_random() } else { rule.masquerade() };
    let from_container = || Rule::new().in_set(&[version.source], version.cluster.name);
    let from_outside = || Rule::new().not_in_set(&[version.source], version.cluster.name);
    let to = |rule: Rule, set: &Set<'_>| rule.in_set(&[version.destination], set.name);
    [
        to(from_container(), &version.cluster).verdict(Verdict::Return),
        to(from_container(), &version.except).verdict(Verdict::Return),
        masquerade(from_container()),
        to(from_outside(), &version.own).verdict(Verdict::Return),
        masquerade(to(from_outside(), &version.cluster)),
    ]
}

#[cfg(test)]
mod tests;
