//! The bridge itself. It belongs to the network, not to an attachment: made once, never removed.

use libcni::plugin::Call;
use linuxnet::attach;
use linuxnet::link::{self, Bridge, Dev, Link};
use linuxnet::netlink::{Batch, Netlink};

use crate::conf::Conf;
use crate::error::BridgeError;

/// The bridge of the configuration: made if it is missing, and changed where the configuration cannot work otherwise
/// (VLAN filtering, promiscuous mode).
pub(crate) fn ensure(call: &Call<'_>, host: &mut Netlink, conf: &Conf) -> Result<Link, BridgeError> {
    let name = conf.bridge.as_str();
    // With an address of its own a bridge does not take the lowest of its ports', which would change under the
    // neighbours of its gateway address.
    let wanted = Bridge {
        mac: Some(link::random_mac()?),
        mtu: conf.mtu,
        vlan_filtering: conf.vlans.is_filtered(),
        ..Bridge::new(name)
    };
    let (bridge, is_new) = host.ensure_bridge(&wanted)?;
    if is_new {
        attach::prepare_gateway(call, name);
    }
    let mut changes = Batch::new();
    let dev = Dev::from(&bridge);
    if conf.vlans.is_filtered() && !bridge.bridge.is_some_and(|state| state.vlan_filtering) {
        changes.push(link::set_vlan_filtering(dev, true));
    }
    if conf.promiscuous && !bridge.is_promiscuous {
        changes.push(link::set_promiscuous(dev, true));
    }
    if !bridge.is_up {
        changes.push(link::set_up(dev));
    }
    changes.send(host)?;
    Ok(bridge)
}
