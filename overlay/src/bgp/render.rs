//! What BIRD's configuration includes: a pure function of the nodes.
//!
//! ```text
//! protocol static overlayd_own4 {
//!     ipv4;
//!     route 10.42.1.0/24 blackhole;
//! }
//! protocol bgp overlayd_n2_0a1b2c3d_4 {
//!     local 192.0.2.1 as 64512;
//!     neighbor 192.0.2.2 as 64512;
//!     direct;
//!     hold time 90;
//!     connect delay time 1;
//!     connect retry time 5;
//!     error wait time 1, 5;
//!     graceful restart on;
//!     ipv4 {
//!         import where net ~ [ 10.42.2.0/24 ];
//!         export where proto = "overlayd_own4";
//!         next hop self;
//!     };
//! }
//! ```
//! From each node only what the store says is its own is taken. What the kernel gets is said in BIRD's own configuration.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::BgpConf;
use crate::node::{Node, Underlay};
use crate::peer::{Peer, Side};

/// BIRD takes names of 64 characters; this many of a node's name are in it, for people.
const SHOWN: usize = 32;

/// The whole file. `peers`: by name.
pub(crate) fn render<'a>(
    conf: &BgpConf,
    node: &Node,
    own: &[IpNet],
    peers: impl Iterator<Item = (&'a str, &'a Peer)>,
) -> String {
    let mut text = String::from("# Written by overlayd whenever a node comes, changes or goes: do not edit.\n");
    let mut peers: Vec<_> = peers.collect();
    peers.sort_unstable_by_key(|(name, _)| *name);
    for (version, underlay) in [(4, &node.v4), (6, &node.v6)] {
        let Some(underlay) = underlay else { continue };
        let own: Vec<&IpNet> = own.iter().filter(|net| net.addr().is_ipv4() == (version == 4)).collect();
        let sides = peers.iter().filter_map(|(name, peer)| {
            let side = if version == 4 { &peer.v4 } else { &peer.v6 };
            side.as_ref().map(|side| (*name, side))
        });
        let family = Family { conf, version, underlay };
        family.announce(&own, &mut text);
        if conf.reflectors.is_empty() {
            sides.for_each(|(name, side)| family.session(&protocol(name), side.endpoint, &side.subnets, &mut text));
        } else {
            let all: Vec<IpNet> = sides.flat_map(|(_, side): (_, &Side)| side.subnets.iter().copied()).collect();
            for reflector in conf.reflectors.iter().filter(|address| address.is_ipv4() == (version == 4)) {
                family.session(&protocol(&reflector.to_string()), *reflector, &all, &mut text);
            }
        }
    }
    text
}

/// One IP version.
struct Family<'a> {
    conf: &'a BgpConf,
    version: u8,
    underlay: &'a Underlay,
}

impl Family<'_> {
    fn announce(&self, own: &[&IpNet], text: &mut String) {
        let version = self.version;
        // A blackhole: without containers there is nobody, and BIRD's own configuration keeps it out of the kernel.
        let routes: String = own.iter().map(|net| format!("\troute {net} blackhole;\n")).collect();
        append(text, format_args!("protocol static overlayd_own{version} {{\n\tipv{version};\n{routes}}}\n"));
    }

    /// A session with `neighbor`, of whom these networks are taken.
    fn session(&self, name: &str, neighbor: IpAddr, networks: &[IpNet], text: &mut String) {
        let BgpConf { number, hold_seconds, connect_seconds, .. } = self.conf;
        let Underlay { address, on_link, .. } = self.underlay;
        let version = self.version;
        // On the same segment it is the gateway itself. Elsewhere, BIRD looks for the way to it.
        let place = if on_link.iter().any(|net| net.contains(&neighbor)) { "direct" } else { "multihop" };
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        let import = match networks.join(", ") {
            none if none.is_empty() => "none".to_owned(),
            some => format!("where net ~ [ {some} ]"),
        };
        append(
            text,
            format_args!(
                "protocol bgp {name}_{version} {{\n\
                 \tlocal {address} as {number};\n\
                 \tneighbor {neighbor} as {number};\n\
                 \t{place};\n\
                 \thold time {hold_seconds};\n\
                 \tconnect delay time 1;\n\
                 \tconnect retry time {connect_seconds};\n\
                 \terror wait time 1, {connect_seconds};\n\
                 \tgraceful restart on;\n\
                 \tipv{version} {{\n\
                 \t\timport {import};\n\
                 \t\texport where proto = \"overlayd_own{version}\";\n\
                 \t\tnext hop self;\n\
                 \t}};\n\
                 }}\n"
            ),
        );
    }
}

/// A name of BIRD's for the node: the same as long as the node has its own, another for each, and no other word to BIRD
/// whatever the node is called.
fn protocol(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let shown: String = name.chars().take(SHOWN).map(plain).collect();
    let [a, b, c, d, ..] = Sha256::digest(name.as_bytes()).0;
    format!("overlayd_{shown}_{a:02x}{b:02x}{c:02x}{d:02x}")
}

fn append(text: &mut String, what: std::fmt::Arguments<'_>) {
    // To a string nothing fails.
    let _ = text.write_fmt(what);
}
