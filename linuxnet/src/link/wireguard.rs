//! WireGuard links. Their keys and peers are [`crate::wireguard`]'s.

use crate::netlink::Netlink;
use crate::packet::{InfoData, InfoKind};

use super::create::{LinkError, NewLink};

impl Netlink {
    /// Makes a WireGuard link, down, without key and peers (`ip link add NAME [mtu MTU] type wireguard`). `mtu` is in
    /// bytes.
    ///
    /// # Errors
    /// [`LinkError::NoSuchKind`], or a refusal: the name is taken (`EEXIST`).
    pub fn create_wireguard(&mut self, name: &str, mtu: Option<u32>) -> Result<(), LinkError> {
        let new = NewLink { mtu, ..NewLink::called(name) };
        self.create(&new, &InfoKind::Wireguard, &InfoData::Other(Vec::new()))
    }
}
