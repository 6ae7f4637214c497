//! macvlan: a link with an Ethernet address of its own, whose frames go by another link.

use std::fmt;
use std::str::FromStr;

use libcni::types::MacAddr;

use crate::netlink::Netlink;
use crate::nl::{find, ne32};
use crate::packet::{InfoData, InfoKind, InfoMacVlan, MacVlanMode};

use super::create::{LinkError, NewLink};
use super::mode::{self, UnknownMode};
use super::upper::Upper;

/// `IFLA_MACVLAN_MODE` of linux/if_link.h.
const IFLA_MACVLAN_MODE: u16 = 1;
/// `MACVLAN_MODE_…` of linux/if_link.h.
const PRIVATE: u32 = 1;
const VEPA: u32 = 2;
const BRIDGE: u32 = 4;
const PASSTHRU: u32 = 8;

/// Who a macvlan talks to, besides what is behind the lower link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    /// The other macvlans of the lower link, directly.
    #[default]
    Bridge,
    /// None of the other macvlans.
    Private,
    /// The other macvlans by a switch that sends frames back (IEEE 802.1Qbg).
    Vepa,
    /// There is no other: it has the lower link for itself, with its Ethernet address.
    Passthru,
}

impl MacvlanMode {
    /// All of them, by the name that `ip link` and the configuration use.
    pub const NAMES: [(&'static str, Self); 4] =
        [("bridge", Self::Bridge), ("private", Self::Private), ("vepa", Self::Vepa), ("passthru", Self::Passthru)];

    /// The mode in a macvlan's `IFLA_INFO_DATA`. `None`: it has another one, as `source`.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        match find(data, IFLA_MACVLAN_MODE).and_then(ne32)? {
            BRIDGE => Some(Self::Bridge),
            PRIVATE => Some(Self::Private),
            VEPA => Some(Self::Vepa),
            PASSTHRU => Some(Self::Passthru),
            _ => None,
        }
    }
}

impl From<MacvlanMode> for MacVlanMode {
    fn from(mode: MacvlanMode) -> Self {
        match mode {
            MacvlanMode::Bridge => Self::Bridge,
            MacvlanMode::Private => Self::Private,
            MacvlanMode::Vepa => Self::Vepa,
            MacvlanMode::Passthru => Self::Passthrough,
        }
    }
}

impl fmt::Display for MacvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(mode::name(&Self::NAMES, *self))
    }
}

impl FromStr for MacvlanMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        mode::named("macvlan", &Self::NAMES, text)
    }
}

/// What a macvlan has besides what every [`Upper`] link has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Macvlan {
    /// Who it talks to.
    pub mode: MacvlanMode,
    /// Its Ethernet address; random otherwise. In mode passthru the kernel takes the lower link's whatever is said.
    pub mac: Option<MacAddr>,
    /// How many broadcasts and multicasts may wait, over all macvlans of the lower link (`bcqueuelen`); 1000
    /// otherwise. Linux 5.11.
    pub broadcast_queue_len: Option<u32>,
}

impl Netlink {
    /// Makes a macvlan by one message (`ip link add link LOWER name NAME netns NETNS type macvlan mode MODE`). It is
    /// down.
    ///
    /// # Errors
    /// [`LinkError`]; nothing is left then.
    pub fn create_macvlan(&mut self, upper: Upper<'_>, macvlan: Macvlan) -> Result<(), LinkError> {
        let (new, data) = new(upper, macvlan);
        self.create(&new, &InfoKind::MacVlan, &data)
    }
}

pub(super) fn new(upper: Upper<'_>, macvlan: Macvlan) -> (NewLink<'_>, InfoData) {
    let mut data = vec![InfoMacVlan::Mode(macvlan.mode.into())];
    data.extend(macvlan.broadcast_queue_len.map(InfoMacVlan::BcQueueLen));
    (NewLink { mac: macvlan.mac, ..NewLink::from(upper) }, InfoData::MacVlan(data))
}
