//! What a machine's kernel has of the overlay, as `ip` and `bridge` show it: nobody of the daemon is asked.

use std::collections::{BTreeMap, BTreeSet};

use ferrule_tests::Place;
use ferrule_tests::peers::Peer;

/// What the daemon marks its routes and next hops with.
const PROTOCOL: u8 = 79;

/// How the tunnels of a machine lead to subnets, in whichever way they were programmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tunnels {
    /// By subnet: the hardware address that frames are sent to, and the node's address that they are sent in packets to.
    pub(crate) ways: BTreeMap<String, (String, String)>,
    /// What is on the device, or marked as the daemon's, and no part of these ways.
    pub(crate) strange: BTreeSet<String>,
}

impl Tunnels {
    /// Those of the device `flannel.1` for IPv4.
    pub(crate) fn of(place: &Place) -> Self {
        Self::of_family(place, "-4", "flannel.1")
    }

    /// Those of `flannel-v6.1`.
    pub(crate) fn of_v6(place: &Place) -> Self {
        Self::of_family(place, "-6", "flannel-v6.1")
    }

    fn of_family(place: &Place, family: &str, device: &str) -> Self {
        let mut seen = Seen::of(place, family, device);
        let mut tunnels = Self::default();
        for line in lines(place, &format!("ip {family} route show table all proto {PROTOCOL}")) {
            match seen.way(&line) {
                Some((subnet, way)) => {
                    tunnels.ways.insert(subnet, way);
                }
                // Of another family's or backend's device.
                None if line.contains(" dev ") && !line.contains(&format!(" dev {device} ")) => {}
                None => {
                    tunnels.strange.insert(format!("route {line}"));
                }
            }
        }
        tunnels.strange.extend(seen.unused());
        tunnels
    }

    /// What a machine must have that is to reach exactly these simulated nodes.
    pub(crate) fn to(peers: &[Peer]) -> Self {
        let way = |peer: &Peer| (peer.subnet().to_string(), (peer.mac().to_string(), peer.endpoint().to_string()));
        Self { ways: peers.iter().map(way).collect(), strange: BTreeSet::new() }
    }
}

/// The parts of ways, and which of them belong to one.
struct Seen {
    /// Hardware addresses by the address of the next hop.
    neighbours: BTreeMap<String, String>,
    /// Nodes by hardware address.
    forwarding: BTreeSet<(String, String)>,
    /// By number.
    nexthops: BTreeSet<String>,
    used_neighbours: BTreeSet<String>,
    used_forwarding: BTreeSet<(String, String)>,
    used_nexthops: BTreeSet<String>,
    /// What cannot be part of any.
    others: BTreeSet<String>,
    device: String,
}

impl Seen {
    fn of(place: &Place, family: &str, device: &str) -> Self {
        let mut seen = Self {
            neighbours: BTreeMap::new(),
            forwarding: BTreeSet::new(),
            nexthops: BTreeSet::new(),
            used_neighbours: BTreeSet::new(),
            used_forwarding: BTreeSet::new(),
            used_nexthops: BTreeSet::new(),
            others: BTreeSet::new(),
            device: device.to_owned(),
        };
        for line in lines(place, &format!("ip {family} neigh show dev {device}")) {
            match (word(&line, 0), after(&line, "lladdr"), line.contains("PERMANENT")) {
                (Some(ip), Some(mac), true) => drop(seen.neighbours.insert(ip, mac)),
                // The kernel's own, for multicast.
                _ if line.contains("NOARP") => {}
                _ => drop(seen.others.insert(format!("neighbour {line}"))),
            }
        }
        for line in lines(place, &format!("bridge fdb show dev {device}")) {
            match (word(&line, 0), after(&line, "dst"), line.contains("self permanent")) {
                (Some(mac), Some(dst), true) => drop(seen.forwarding.insert((mac, dst))),
                _ => drop(seen.others.insert(format!("forwarding entry {line}"))),
            }
        }
        for line in lines(place, &format!("ip {family} nexthop show proto {PROTOCOL}")) {
            if line.contains(&format!(" dev {device} ")) {
                seen.nexthops.extend(after(&line, "id"));
            }
        }
        let leads = format!("ip {family} route show table all dev {device}");
        // The kernel's own are of the device's address and of multicast.
        let is_ours = |line: &String| line.contains("proto 79") || line.contains("proto kernel");
        seen.others
            .extend(lines(place, &leads).into_iter().filter(|line| !is_ours(line)).map(|l| format!("route {l}")));
        seen
    }

    /// The subnet of a route, with where it leads; `None`: not to a node through the device.
    fn way(&mut self, route: &str) -> Option<(String, (String, String))> {
        if after(route, "dev")? != self.device {
            return None;
        }
        let gateway = after(route, "via")?;
        let mac = self.neighbours.get(&gateway)?.clone();
        let endpoint = match after(route, "nhid") {
            Some(id) => {
                let (_, tunnel) = route.split_once("encap")?;
                self.used_nexthops.insert(id);
                after(tunnel, "dst")?
            }
            None => {
                let mut entries = self.forwarding.iter().filter(|(of, _)| *of == mac);
                let (entry, another) = (entries.next()?.clone(), entries.next());
                // Frames would be sent to both.
                if another.is_some() {
                    return None;
                }
                let endpoint = entry.1.clone();
                self.used_forwarding.insert(entry);
                endpoint
            }
        };
        self.used_neighbours.insert(gateway);
        Some((word(route, 0)?, (mac, endpoint)))
    }

    fn unused(self) -> BTreeSet<String> {
        let mut unused = self.others;
        let neighbours = self.neighbours.keys().filter(|ip| !self.used_neighbours.contains(*ip));
        unused.extend(neighbours.map(|ip| format!("neighbour {ip}")));
        let forwarding = self.forwarding.difference(&self.used_forwarding);
        unused.extend(forwarding.map(|(mac, dst)| format!("forwarding entry {mac} dst {dst}")));
        unused.extend(self.nexthops.difference(&self.used_nexthops).map(|id| format!("next hop {id}")));
        unused
    }
}

/// Everything on a machine that is none of the daemon's affair.
pub(crate) fn others(place: &Place) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (command, kind) in [
        ("ip -o address show", "address"),
        ("ip -o link show", "link"),
        ("ip -4 route show table all", "route"),
        ("ip -6 route show table all", "route"),
        ("ip neigh show nud permanent", "neighbour"),
        ("bridge fdb show", "forwarding entry"),
        ("ip nexthop show", "next hop"),
        ("ip rule show", "rule"),
        ("nft list tables", "nft"),
        ("nft list table inet stranger", "nft"),
    ] {
        // There may be no such table.
        let text = place.try_sh(command).unwrap_or_default();
        all.extend(text.lines().map(|line| format!("{kind} {}", line.trim())));
    }
    all.retain(|line| !line.contains("flannel") && !line.contains("proto 79") && !line.contains("overlay"));
    all
}

/// What a command prints, by line; nothing if it fails, as where the device is not there.
fn lines(place: &Place, command: &str) -> Vec<String> {
    place.try_sh(command).unwrap_or_default().lines().map(|line| format!("{} ", line.trim())).collect()
}

fn word(line: &str, number: usize) -> Option<String> {
    line.split_whitespace().nth(number).map(str::to_owned)
}

/// The word after `key`.
fn after(line: &str, key: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| *word != key);
    words.nth(1).map(str::to_owned)
}
