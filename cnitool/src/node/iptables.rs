//! What the Go plugins, and ours with their iptables backend, left in iptables: a chain for each container, named by a
//! hash, jumps to it that name network and container, and rules about an address.
//!
//! Only the program `iptables-save` can tell. It is run where the kernel says that there is something to see.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use linuxnet::iptables::{Family, Iptables, Rule, Table, Variant, has_legacy};
use linuxnet::nft::{self, Nfnetlink};
use linuxnet::tag::Tag;

use super::owned::{Object, Owned, Owner};
use super::{Binding, Note, PortMapping};

/// The tables that plugins write to.
const TABLES: [&str; 2] = ["nat", "filter"];
/// How chains of plugins begin.
const PREFIX: &str = "CNI-";
/// The chains of attachments, without the prefix: masquerading; published ports; published ports of very old plugins.
const HASHED: [&str; 3] = ["DN-", "SN-", ""];
/// Chains that rules of attachments stand in.
const FORWARD: &str = "CNI-FORWARD";
const TAGS: &str = "CNI-FERRULE-TAGS";
/// The least digits of a hash in a chain's name.
const LEAST_DIGITS: usize = 21;

/// Where something stands in iptables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of the two implementations.
    pub(crate) variant: Variant,
    /// IPv4 or IPv6.
    pub(crate) family: Family,
    /// `nat` or `filter`.
    pub(crate) table: &'static str,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let program = match self.family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let variant = match self.variant {
            Variant::Default => "",
            Variant::Nft => "-nft",
            Variant::Legacy => "-legacy",
        };
        write!(f, "{program}{variant} -t {}", self.table)
    }
}

/// What is found: objects, and published ports.
pub(super) fn read(nft: Option<&mut Nfnetlink>, notes: &mut Vec<Note>) -> (Vec<Owned>, Vec<Binding>) {
    let iptables = Iptables::of_host();
    let (mut owned, mut bindings) = (Vec::new(), Vec::new());
    for place in places(nft, notes) {
        match iptables.list(place.variant, place.family, place.table) {
            Ok(table) => {
                let found = Found { place: &place, table: &table, owners: owners_of_chains(&table) };
                owned.extend(found.objects());
                bindings.extend(found.bindings());
            }
            Err(fault) => notes.push(Note::of(format!("the rules of {place}"), &fault)),
        }
    }
    (owned, bindings)
}

/// The tables in which there is something.
fn places(mut nft: Option<&mut Nfnetlink>, notes: &mut Vec<Note>) -> Vec<Place> {
    let mut places = Vec::new();
    for family in Family::ALL {
        for table in TABLES {
            if has_legacy(family, table) {
                places.push(Place { variant: Variant::Legacy, family, table });
            }
            let of_nft = match family {
                Family::V4 => nft::Family::Ipv4,
                Family::V6 => nft::Family::Ipv6,
            };
            match nft.as_mut().map(|nft| nft.chains(nft::Table::new(of_nft, table))).transpose() {
                Ok(chains) if chains.iter().flatten().any(|chain| chain.name.starts_with(PREFIX)) => {
                    places.push(Place { variant: Variant::Nft, family, table });
                }
                Ok(_) => {}
                Err(fault) => notes.push(Note::of(format!("the chains of table {table}"), &fault)),
            }
        }
    }
    places
}

/// The names in the comments of the rules that jump to chains of attachments.
fn owners_of_chains(table: &Table) -> BTreeMap<&str, Owner> {
    let jumps = table.rules().filter_map(|rule| Some((rule.target()?, read_comment(rule.comment()?)?)));
    jumps.collect()
}

/// `[dnat ]name: "<network>" id: "<container ID>"`; long ones are cut at the end.
fn read_comment(comment: &str) -> Option<Owner> {
    let names = comment.strip_prefix("dnat ").unwrap_or(comment).strip_prefix("name: \"")?;
    let (network, rest) = names.split_once("\" id: \"")?;
    let container = rest.strip_suffix('"')?;
    Some(Owner::Named { network: Some(network.to_owned()), container: container.to_owned(), ifname: None })
}

/// A table of iptables with what is in it.
struct Found<'t> {
    place: &'t Place,
    table: &'t Table,
    owners: BTreeMap<&'t str, Owner>,
}

impl Found<'_> {
    fn objects(&self) -> Vec<Owned> {
        let chains = self.table.chains().filter_map(|chain| {
            let hash = hash_of(chain)?;
            let owner = self.owner_of(chain, hash);
            Some((Object::IptablesChain { place: self.place.clone(), chain: chain.to_owned() }, owner))
        });
        let rules = self.table.rules().filter_map(|rule| {
            let object = Object::IptablesRule { place: self.place.clone(), rule: rule.to_string() };
            Some((object, owner_of_rule(rule)?))
        });
        chains.chain(rules).map(|(object, owner)| Owned { object, owner, attachments: Vec::new() }).collect()
    }

    fn owner_of(&self, chain: &str, hash: &str) -> Owner {
        self.owners.get(chain).cloned().unwrap_or_else(|| Owner::NameHash(hash.to_owned()))
    }

    fn bindings(&self) -> Vec<Binding> {
        let of = |rule: &Rule| {
            let hash = hash_of(rule.chain())?;
            let mapping = read_mapping(rule)?;
            let target: SocketAddr = rule.option("--to-destination")?.parse().ok()?;
            let owner = self.owner_of(rule.chain(), hash);
            Some(Binding { mapping, target: target.ip(), owner, attachments: Vec::new() })
        };
        self.table.rules().filter_map(of).collect()
    }
}

/// The hash in the name of an attachment's chain; `None` for the chains that all share.
fn hash_of(chain: &str) -> Option<&str> {
    let rest = chain.strip_prefix(PREFIX)?;
    let hash = HASHED.iter().find_map(|kind| rest.strip_prefix(kind))?;
    (hash.len() >= LEAST_DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(hash)
}

/// Whose a rule is that stands in a chain of all: a jump to an attachment's chain, a rule of firewall.
fn owner_of_rule(rule: &Rule) -> Option<Owner> {
    match rule.chain() {
        TAGS => rule.comment()?.parse::<Tag>().ok().map(|tag| Owner::from(&tag)),
        FORWARD if rule.target() == Some("ACCEPT") => {
            let net: IpNet = rule.option("-s").or_else(|| rule.option("-d"))?.parse().ok()?;
            (net.prefix_len() == net.max_prefix_len()).then(|| Owner::Address(net.addr()))
        }
        chain if hash_of(chain).is_none() => {
            let hash = hash_of(rule.target()?)?;
            Some(rule.comment().and_then(read_comment).unwrap_or_else(|| Owner::NameHash(hash.to_owned())))
        }
        _ => None,
    }
}

/// `-p tcp --dport 8080 [-d A] -j DNAT --to-destination B:Q`.
fn read_mapping(rule: &Rule) -> Option<PortMapping> {
    let target: SocketAddr = rule.option("--to-destination")?.parse().ok()?;
    let host_ip = rule.option("-d").map(|net| net.parse::<IpNet>().map(|net| net.addr())).transpose().ok()?;
    Some(PortMapping {
        protocol: rule.option("-p")?.to_owned(),
        host_ip: host_ip.filter(|ip: &IpAddr| !ip.is_unspecified()),
        host_port: rule.option("--dport")?.parse().ok()?,
        container_port: target.port(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What iptables-save prints after the Go plugins' ADD (bridge with ipMasq, portmap).
    const SAVED: &str = r#"*nat
:POSTROUTING ACCEPT [0:0]
:CNI-623e1c388032b20529218ecc - [0:0]
:CNI-DN-623e1c388032b20529218 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A POSTROUTING -s 10.1.0.2/32 -m comment --comment "name: \"net\" id: \"c1\"" -j CNI-623e1c388032b20529218ecc
-A CNI-623e1c388032b20529218ecc -d 10.1.0.0/16 -m comment --comment "name: \"net\" id: \"c1\"" -j ACCEPT
-A CNI-DN-623e1c388032b20529218 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80
-A CNI-DN-623e1c388032b20529218 -d 192.0.2.1/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.1.0.2:53
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net\" id: \"c1\"" -m multiport --dports 8080 -j CNI-DN-623e1c388032b20529218
COMMIT"#;

    #[test]
    fn chains_and_jumps_have_the_owner_that_the_comment_names() {
        let place = Place { variant: Variant::Nft, family: Family::V4, table: "nat" };
        let table = Table::parse(SAVED);
        let found = Found { place: &place, table: &table, owners: owners_of_chains(&table) };
        let owner = Owner::Named { network: Some("net".to_owned()), container: "c1".to_owned(), ifname: None };
        let objects = found.objects();
        assert_eq!(objects.len(), 4, "{objects:?}");
        assert!(objects.iter().all(|owned| owned.owner == owner), "{objects:?}");
        let ports: Vec<String> = found.bindings().iter().map(|b| format!("{} at {}", b.mapping, b.target)).collect();
        assert_eq!(ports, ["8080->80/tcp at 10.1.0.2", "192.0.2.1:53->53/udp at 10.1.0.2"]);
    }

    #[test]
    fn rules_of_firewall_are_of_an_address_or_of_a_tag() {
        let table = Table::parse(
            "-A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN\n\
             -A CNI-FERRULE-TAGS -s 10.1.0.3/32 -m comment --comment \"net c1 eth0\"",
        );
        let owners: Vec<Option<Owner>> = table.rules().map(owner_of_rule).collect();
        let tag: Tag = "net c1 eth0".parse().unwrap();
        assert_eq!(owners, [Some(Owner::Address([10, 1, 0, 2].into())), None, Some(Owner::from(&tag))]);
    }

    #[test]
    fn chains_that_all_share_are_nobodys() {
        for chain in ["CNI-FORWARD", "CNI-HOSTPORT-DNAT", "CNI-ADMIN", "KUBE-SERVICES", "CNI-ISOLATION-STAGE-1"] {
            assert_eq!(hash_of(chain), None, "{chain}");
        }
    }
}
