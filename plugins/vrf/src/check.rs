//! CHECK: whether the interface is in the VRF, and its routes in the VRF's table.

use libcni::error::Failures;
use libcni::plugin::{Attachment, Call};
use linuxnet::attach::Sandbox;
use linuxnet::route::Filter;

use crate::conf::Conf;
use crate::device;
use crate::error::VrfError;

/// Compares the container with `prevResult` and the configuration.
pub(crate) fn check(call: &Call<'_>, attachment: &Attachment) -> Result<(), VrfError> {
    let conf = Conf::load(call)?;
    let result = call.config.prev_result.as_ref().ok_or(VrfError::NotChained)?;
    let mut sandbox = Sandbox::open(attachment)?;
    let ifname = attachment.ifname();
    let link = sandbox.interface()?.ok_or_else(|| VrfError::NoInterface(ifname.to_owned()))?;
    let Some(vrf) = device::find(&mut sandbox.netlink, conf.name.as_str())? else {
        return Err(VrfError::Differs(format!("the container has no VRF {}", conf.name)));
    };
    let mut differences = Vec::new();
    if let Some(wanted) = conf.table.filter(|&wanted| wanted != vrf.table) {
        differences.push(format!("VRF {} has routing table {}, not {wanted}", conf.name, vrf.table));
    }
    if !vrf.link.is_up {
        differences.push(format!("VRF {} is down", conf.name));
    }
    if link.master != Some(vrf.link.index) {
        differences.push(format!("failed to find {ifname} associated to vrf {}", conf.name));
    }
    let routes = sandbox.netlink.routes(Filter { link: Some(link.index), table: Some(vrf.table) })?;
    for wanted in result.routes.iter().filter(|route| route.table == Some(vrf.table)) {
        let is_it =
            |is: &linuxnet::route::Route| is.dst == wanted.dst.trunc() && (wanted.gw.is_none() || is.gw == wanted.gw);
        if !routes.iter().any(is_it) {
            differences.push(format!("route {} is missing in table {} of VRF {}", wanted.dst, vrf.table, conf.name));
        }
    }
    let failures: Failures<_> = differences.into_iter().map(VrfError::Differs).collect();
    failures.into_result(VrfError::Several)
}
