//! The rules of masquerading and forwarding, and those of a flanneld before us.

use ipnet::IpNet;
use libcni::error::causes;
use linuxnet::NetlinkError;
use linuxnet::nft::Nfnetlink;

use crate::config::MasqueradeConf;
use crate::masquerade::{self, Masquerade, takeover};
use crate::metrics::Kind;

use super::{Engine, heard, listen};

/// What is known of the rules.
#[derive(Debug, Default)]
pub(super) struct Firewall {
    nft: Option<Nfnetlink>,
    /// The rules, and of what they are made.
    masquerade: Option<(Masquerade, (MasqueradeConf, Vec<IpNet>))>,
    /// Flannel's are gone, and changes are heard.
    is_ours: bool,
    /// There are none, as is wanted.
    is_empty: bool,
}

impl Engine {
    /// Has the rules be right.
    pub(super) fn ensure_masquerade(&mut self, subnets: &[IpNet]) -> Result<(), String> {
        let Some(conf) = &self.config.masquerade else { return self.remove_masquerade() };
        let firewall = &mut self.firewall;
        firewall.is_empty = false;
        let nft = match &mut firewall.nft {
            Some(nft) => nft,
            none => none.insert(Nfnetlink::open().map_err(told)?),
        };
        let of = (conf.clone(), subnets.to_vec());
        let is_new = firewall.masquerade.as_ref().is_none_or(|there| there.1 != of);
        let (masquerade, _) = match &mut firewall.masquerade {
            Some(there) if !is_new => there,
            other => other.insert((Masquerade::new(conf, &self.network, subnets), of)),
        };
        let changed = masquerade.ensure(nft).map_err(|e| causes(Some(&e)))?;
        if !firewall.is_ours {
            let removed = takeover::remove_flannels(nft).map_err(|e| causes(Some(&e)))?;
            if !removed.is_empty() {
                tracing::info!(removed = removed.join(", "), "flannel's rules removed");
            }
            let listening = listen::to_firewall(nft, self.config.kernel.receive_buffer, self.queue.clone());
            self.listening.extend(heard(listening));
            firewall.is_ours = true;
        }
        if changed && !is_new {
            tracing::warn!(
                "the rules of masquerading and forwarding were changed by somebody else, and are right again"
            );
            self.drift += 1;
            self.metrics.drift_repaired.get_or_create(&Kind { kind: "nftables" }).inc();
        }
        Ok(())
    }

    /// Nothing is to be masqueraded (any more): what this process, or one before it with another configuration, made is
    /// removed.
    fn remove_masquerade(&mut self) -> Result<(), String> {
        let firewall = &mut self.firewall;
        firewall.masquerade = None;
        if firewall.is_empty {
            return Ok(());
        }
        if firewall.nft.is_none() {
            firewall.nft = Nfnetlink::open_if_supported().map_err(told)?;
        }
        if let Some(nft) = &mut firewall.nft
            && masquerade::remove(nft).map_err(|e| causes(Some(&e)))?
        {
            tracing::info!("the rules of masquerading and forwarding are removed, as configured");
        }
        firewall.is_empty = true;
        Ok(())
    }
}

fn told(error: NetlinkError) -> String {
    causes(Some(&error))
}
