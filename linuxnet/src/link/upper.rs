//! Links on another link: what macvlan, ipvlan and VLAN links have in common.

use libcni::netns::Netns;

use super::Dev;
use super::create::NewLink;

/// A link to be made on another one.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Its name.
    pub name: &'a str,
    /// The link that its packets go by, in the namespace of the socket that makes it.
    pub lower: Dev<'a>,
    /// The namespace that it is born in, never seen elsewhere; that of the socket otherwise.
    pub netns: Option<&'a Netns>,
    /// Its MTU in bytes; the lower link's otherwise.
    pub mtu: Option<u32>,
}

impl<'a> From<Upper<'a>> for NewLink<'a> {
    fn from(upper: Upper<'a>) -> Self {
        Self { lower: Some(upper.lower), netns: upper.netns, mtu: upper.mtu, ..Self::called(upper.name) }
    }
}
