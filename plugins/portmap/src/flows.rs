//! Flows that connection tracking remembers: they would go on past the mappings of now.
//!
//! TCP begins anew by itself. A UDP client that keeps its port, and an SCTP client that keeps trying, would follow the
//! old entry for as long as they send.

use std::net::IpAddr;

use libcni::error::causes;
use libcni::plugin::Call;
use linuxnet::NetlinkError;
use linuxnet::conntrack::Flows;
use linuxnet::nft::Nfnetlink;

use crate::mapping::{Binding, Protocol};

/// After ADD: whatever came to these host ports before. That it fails is told and does not matter more: the mapping
/// serves new flows.
pub(crate) fn forget_all(call: &Call<'_>, bindings: &[Binding]) {
    forget(call, bindings, |_| None);
}

/// After DEL: what led to the container.
pub(crate) fn forget_answered(call: &Call<'_>, bindings: &[Binding]) {
    forget(call, bindings, |binding| Some(binding.target.ip()));
}

fn forget(call: &Call<'_>, bindings: &[Binding], answered_by: impl Fn(&Binding) -> Option<IpAddr>) {
    let mut flows: Vec<Flows> = Vec::new();
    for binding in bindings.iter().filter(|binding| binding.host.protocol != Protocol::Tcp) {
        let flow = Flows {
            protocol: binding.host.protocol.number(),
            port: binding.host.port,
            address: binding.host.specific_ip(),
            answered_by: answered_by(binding),
        };
        if !flows.contains(&flow) {
            flows.push(flow);
        }
    }
    if let Err(e) = flush(&flows) {
        call.warn(format_args!("{e}: {}", causes(std::error::Error::source(&e))));
    }
}

fn flush(flows: &[Flows]) -> Result<(), NetlinkError> {
    if flows.is_empty() {
        return Ok(());
    }
    let mut netfilter = Nfnetlink::open()?;
    flows.iter().try_for_each(|flows| netfilter.flush_flows(flows))
}
