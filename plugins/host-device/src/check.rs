//! CHECK: whether the device is in the container as ADD put it there.

use libcni::plugin::{Attachment, Call, Delegate};
use linuxnet::attach::{AttachError, Found};

use crate::conf::Conf;
use crate::device::Selector;
use crate::error::HostDeviceError;
use crate::origin::Sought;
use crate::sysfs::Sysfs;

/// Compares the kernel with `prevResult` and the configuration.
pub(crate) fn check(call: &Call<'_>, attachment: &Attachment, sysfs: &Sysfs) -> Result<(), HostDeviceError> {
    let conf = Conf::load(call, sysfs);
    if matches!(&conf, Ok(conf) if conf.is_dpdk) {
        call.config.prev_result.as_ref().ok_or(AttachError::PrevResultMissing)?;
        return Ok(call.forward_to_ipam(Delegate::check)?);
    }
    let mut found = Found::expect(call, attachment, None)?;
    found.verify()?;
    let sought = Sought::of(call, attachment);
    let Some((link, origin)) = sought.in_container(std::slice::from_ref(&found.link)) else {
        let what = format!("interface {} in the container is no device of the host", found.link.name);
        return Err(HostDeviceError::Differs(what));
    };
    if let Selector::Name(name) = conf?.selector
        && origin.name.as_ref().is_some_and(|origin| origin.as_str() != name)
        && !link.alt_names.contains(&name)
    {
        let what = format!("interface {} in the container is device {}, not {name}", link.name, origin.alias());
        return Err(HostDeviceError::Differs(what));
    }
    Ok(())
}
