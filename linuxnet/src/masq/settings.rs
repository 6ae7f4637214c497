//! `ipMasq` and `ipMasqBackend` of a plugin's configuration, and what its verbs do with them.

use ipnet::IpNet;
use libcni::json::FieldError;
use libcni::plugin::{Attachment, Call};
use libcni::types::AddResult;

use crate::error::NetlinkError;
use crate::nft::Nfnetlink;
use crate::undo::Undo;

use super::{Backend, MasqError, Masquerade, UnknownBackend};

/// What a configuration says about masquerading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    is_on: bool,
    backend: Option<Backend>,
}

impl Settings {
    /// `ipMasq`, and `ipMasqBackend`: empty for the best that the host has.
    ///
    /// # Errors
    /// If the backend is none of those that there are.
    pub fn new(ip_masq: bool, ip_masq_backend: &str) -> Result<Self, FieldError> {
        let fault = |e: UnknownBackend| FieldError {
            path: "ipMasqBackend".to_owned(),
            problem: format!("{e}, expected \"nftables\" or \"iptables\""),
        };
        let named = (!ip_masq_backend.is_empty()).then_some(ip_masq_backend);
        Ok(Self { is_on: ip_masq, backend: named.map(str::parse).transpose().map_err(fault)? })
    }

    /// ADD: hides the addresses of `result` outside their subnets, if it is wished.
    ///
    /// # Errors
    /// [`MasqError`]; what was done is undone with the rest of `undo`.
    pub fn add(
        self,
        call: &Call<'_>,
        attachment: &Attachment,
        result: &AddResult,
        undo: &mut Undo<'_>,
    ) -> Result<(), MasqError> {
        if !self.is_on {
            return Ok(());
        }
        let mut nft = Nfnetlink::open().map_err(MasqError::of("set up"))?;
        let backend = self.chosen(&mut nft).map_err(MasqError::of("set up"))?;
        let (network, id) = (call.config.name.clone(), attachment.id.clone());
        undo.push("remove the masquerade", move || {
            Ok(Masquerade::new(&mut Nfnetlink::open()?).teardown(&network, &id, &[])?)
        });
        let addresses: Vec<IpNet> = result.ips.iter().map(|ip| ip.address).collect();
        Masquerade::new(&mut nft).setup(backend, &call.config.name, &attachment.id, &addresses)
    }

    /// CHECK: whether the attachment's addresses in `result` are masqueraded, if it is wished.
    ///
    /// # Errors
    /// [`MasqError::Missing`] if one is not.
    pub fn check(self, call: &Call<'_>, attachment: &Attachment, result: &AddResult) -> Result<(), MasqError> {
        if !self.is_on {
            return Ok(());
        }
        let mut nft = Nfnetlink::open().map_err(MasqError::of("check"))?;
        let backend = self.chosen(&mut nft).map_err(MasqError::of("check"))?;
        let here = result.container_interface(attachment.ifname()).map(|(index, _)| index);
        let addresses: Vec<_> = result.ips.iter().filter(|ip| ip.interface == here).map(|ip| ip.address).collect();
        Masquerade::new(&mut nft).verify(backend, &call.config.name, &attachment.id, &addresses)
    }

    /// STATUS: whether an ADD could masquerade. Without nftables and the privilege to use it, it could not.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn status(self) -> Result<(), MasqError> {
        if !self.is_on || self.backend == Some(Backend::Iptables) {
            return Ok(());
        }
        let asked = Nfnetlink::open().and_then(|mut nft| Backend::detect(&mut nft));
        asked.map(drop).map_err(MasqError::of("set up"))
    }

    /// As configured, else in the best way that the host has.
    fn chosen(self, nft: &mut Nfnetlink) -> Result<Backend, NetlinkError> {
        self.backend.map_or_else(|| Backend::detect(nft), Ok)
    }
}

impl Masquerade<'_> {
    /// DEL: as [`Masquerade::teardown`], for the attachment of a call.
    ///
    /// # Errors
    /// What could not be removed, after trying all of it.
    pub fn remove(&mut self, call: &Call<'_>, attachment: &Attachment) -> Result<(), MasqError> {
        let hint: Vec<_> = call.config.prev_result.iter().flat_map(|r| &r.ips).map(|ip| ip.address.addr()).collect();
        self.teardown(&call.config.name, &attachment.id, &hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_backend_is_none_and_an_unknown_one_names_the_field() {
        assert_eq!(Settings::new(false, ""), Ok(Settings::default()));
        assert_eq!(Settings::new(true, "iptables").unwrap().backend, Some(Backend::Iptables));
        assert_eq!(
            Settings::new(true, "ipfw").unwrap_err().to_string(),
            "ipMasqBackend: unknown ipmasq backend \"ipfw\", expected \"nftables\" or \"iptables\""
        );
    }
}
