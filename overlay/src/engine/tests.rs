//! The engine in a network namespace of its own, told by a test what a store would tell, and seen by iproute2.

mod bed;
mod firewall;
mod host_gw;
mod nexthops;
mod reach;
mod repair;
mod restart;
mod takeover;
mod underlay;
mod vxlan;
