//! The kernel's network stack.

pub mod iptables;
pub mod tag;
