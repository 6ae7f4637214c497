//! The kernel's network stack for container networking: what plugins do to links, addresses, routes and firewalls.
//!
//! Everything here is a blocking system call on the calling thread, most of them netlink requests. Only [`iptables`]
//! executes a program.
//!
//! * [`netlink::Netlink`] is a socket in one namespace. What changes the kernel is a [`netlink::Request`], made by the
//!   module of its object ([`link`], [`addr`], [`route`], [`tc`], …) and sent alone or in a [`netlink::Batch`].
//! * [`nft::Nfnetlink`] is a socket to the firewall of a namespace, [`nft::Transaction`] what changes it.
//! * [`iface`] applies a plugin's result to an interface, and compares the two.
//! * [`attach`] is what the plugins that give a container an interface share.
//! * [`masq::Masquerade`] is `ipMasq`, which bridge and ptp share; [`tag::Tag`] tells whose a piece of a firewall is.
//! * [`snapshot::Snapshot`] is what a namespace holds at a moment, and how two moments differ.
//! * [`udp`] is UDP on one interface, also on one without an address.
//! * [`undo::Undo`] takes back what a failed ADD did.
#![warn(missing_docs)]

pub mod addr;
pub mod attach;
mod bpf;
pub mod conntrack;
mod error;
pub mod fdb;
pub mod iface;
pub mod iptables;
pub mod link;
pub mod masq;
pub mod neigh;
pub mod netlink;
pub mod nexthop;
pub mod nft;
mod nl;
mod packet;
pub mod route;
pub mod rule;
pub mod snapshot;
mod sockopt;
pub mod sysctl;
pub mod table;
pub mod tag;
pub mod tc;
pub mod udp;
pub mod undo;
pub mod wireguard;

pub use error::{NetlinkError, Refusal};
