//! dummy: a link that leads nowhere, for addresses.

use libcni::types::MacAddr;

use crate::netlink::Netlink;
use crate::packet::{InfoData, InfoKind};

use super::create::{LinkError, NewLink};

impl Netlink {
    /// Makes a dummy in this socket's namespace (`ip link add NAME type dummy`), with this Ethernet address or a
    /// random one. It is down.
    ///
    /// # Errors
    /// [`LinkError`]; nothing is left then.
    pub fn create_dummy(&mut self, name: &str, mac: Option<MacAddr>) -> Result<(), LinkError> {
        self.create(&NewLink { mac, ..NewLink::called(name) }, &InfoKind::Dummy, &InfoData::Other(Vec::new()))
    }
}
