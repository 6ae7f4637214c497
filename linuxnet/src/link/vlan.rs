//! VLANs of any link (IEEE 802.1Q): the frames with one tag, as a link of their own. (Those of bridge ports are in
//! `bridge_vlan`.)

use crate::netlink::Netlink;
use crate::nl::find;
use crate::packet::{InfoData, InfoKind, InfoVlan};

use super::create::{LinkError, NewLink};
use super::upper::Upper;

/// `IFLA_VLAN_ID` of linux/if_link.h.
const IFLA_VLAN_ID: u16 = 1;

impl Netlink {
    /// Makes a VLAN's link by one message (`ip link add link LOWER name NAME netns NETNS type vlan id ID`). It is
    /// down. It can be set up only while the lower link is.
    ///
    /// # Errors
    /// [`LinkError::VlanTaken`] if the lower link has a link of this VLAN already, in any namespace; or another
    /// [`LinkError`]. Nothing is left then.
    pub fn create_vlan(&mut self, upper: Upper<'_>, id: u16) -> Result<(), LinkError> {
        let (new, data) = new(upper, id);
        match self.create(&new, &InfoKind::Vlan, &data) {
            // That the name is free was looked for before.
            Err(LinkError::Netlink(e)) if e.is_exists() => {
                Err(LinkError::VlanTaken { name: upper.name.to_owned(), lower: upper.lower.name.to_owned(), id })
            }
            done => done,
        }
    }
}

pub(super) fn new(upper: Upper<'_>, id: u16) -> (NewLink<'_>, InfoData) {
    (NewLink::from(upper), InfoData::Vlan(vec![InfoVlan::Id(id)]))
}

/// The VLAN in the `IFLA_INFO_DATA` of its link.
pub(super) fn parse_id(data: &[u8]) -> Option<u16> {
    find(data, IFLA_VLAN_ID)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}
