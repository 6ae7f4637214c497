//! ipvlan: a link with the Ethernet address of another link and IP addresses of its own.

use std::fmt;
use std::str::FromStr;

use crate::netlink::Netlink;
use crate::nl::find;
use crate::packet::{InfoData, InfoIpVlan, InfoKind, IpVlanMode};

use super::create::{LinkError, NewLink};
use super::mode::{self, UnknownMode};
use super::upper::Upper;

/// `IFLA_IPVLAN_MODE` of linux/if_link.h.
const IFLA_IPVLAN_MODE: u16 = 1;
/// `IPVLAN_MODE_…` of linux/if_link.h.
const L2: u16 = 0;
const L3: u16 = 1;
const L3S: u16 = 2;

/// How an ipvlan's packets find their way. All ipvlans of a lower link have the same: that of the last one made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    /// By ARP and neighbour discovery, as on any Ethernet.
    #[default]
    L2,
    /// By the routes of the lower link's namespace. No broadcast, no multicast.
    L3,
    /// As [`L3`](Self::L3), and past the firewall of the lower link's namespace.
    L3s,
}

impl IpvlanMode {
    /// All of them, by the name that `ip link` and the configuration use.
    pub const NAMES: [(&'static str, Self); 3] = [("l2", Self::L2), ("l3", Self::L3), ("l3s", Self::L3s)];

    /// The mode in an ipvlan's `IFLA_INFO_DATA`. `None`: it has one that is not known here.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        match find(data, IFLA_IPVLAN_MODE)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))? {
            L2 => Some(Self::L2),
            L3 => Some(Self::L3),
            L3S => Some(Self::L3s),
            _ => None,
        }
    }
}

impl From<IpvlanMode> for IpVlanMode {
    fn from(mode: IpvlanMode) -> Self {
        match mode {
            IpvlanMode::L2 => Self::L2,
            IpvlanMode::L3 => Self::L3,
            IpvlanMode::L3s => Self::L3S,
        }
    }
}

impl fmt::Display for IpvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(mode::name(&Self::NAMES, *self))
    }
}

impl FromStr for IpvlanMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        mode::named("ipvlan", &Self::NAMES, text)
    }
}

impl Netlink {
    /// Makes an ipvlan by one message (`ip link add link LOWER name NAME netns NETNS type ipvlan mode MODE`). It is
    /// down. The other ipvlans of the lower link get the same mode.
    ///
    /// # Errors
    /// [`LinkError`]; nothing is left then.
    pub fn create_ipvlan(&mut self, upper: Upper<'_>, mode: IpvlanMode) -> Result<(), LinkError> {
        let (new, data) = new(upper, mode);
        self.create(&new, &InfoKind::IpVlan, &data)
    }
}

pub(super) fn new(upper: Upper<'_>, mode: IpvlanMode) -> (NewLink<'_>, InfoData) {
    (NewLink::from(upper), InfoData::IpVlan(vec![InfoIpVlan::Mode(mode.into())]))
}
