//! The configuration of `host-device`: JSON in, checked values out.

use std::path::{Component, Path};

use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::{ConfigError, MacAddr};
use serde::Deserialize;

use crate::device::Selector;
use crate::error::HostDeviceError;
use crate::sysfs::Sysfs;

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// Which device.
    pub(crate) selector: Selector,
    /// The device's PCI address, where the configuration names one: reported as `pciID`.
    pub(crate) pci: Option<String>,
    /// A program in the container drives the device itself: there is no link to move.
    pub(crate) is_dpdk: bool,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// The device, by its name on the host.
    #[cfg_attr(test, schemars(schema_with = "schemas::ifname"))]
    device: String,
    /// The device, by its MAC address; if `device` is not given.
    #[cfg_attr(test, schemars(schema_with = "schemas::mac"))]
    hwaddr: String,
    /// The device, by its place in /sys/devices; if no key before is given.
    #[cfg_attr(test, schemars(regex(pattern = "^(/sys/devices/.*)?$")))]
    kernelpath: String,
    /// The device, by its PCI address such as 0000:3b:00.1; if no key before is given.
    #[cfg_attr(test, schemars(regex(pattern = "^[^/]*$")))]
    #[serde(rename = "pciBusID")]
    pci_bus_id: String,
    /// A program in the container drives the device itself: no link is moved.
    #[serde(rename = "dpdkMode")]
    dpdk_mode: bool,
    /// What the runtime says.
    runtime_config: RuntimeConfig,
    /// What the runtime is asked for.
    capabilities: Capabilities,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    /// The PCI address or the auxiliary device of this container (capability `deviceID`); before all keys.
    #[serde(rename = "deviceID")]
    device_id: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    /// The runtime chooses the device of each container.
    #[serde(rename = "deviceID")]
    device_id: bool,
}

/// For a look at `device` in a configuration whose rest may be wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DeviceOnly {
    device: String,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>, sysfs: &Sysfs) -> Result<Self, HostDeviceError> {
        Self::check(call.config.decode()?, sysfs)
    }

    /// As [`Conf::load`]; `None` where the runtime chooses a device for each container (capability `deviceID`).
    pub(crate) fn load_for_status(call: &Call<'_>, sysfs: &Sysfs) -> Result<Option<Self>, HostDeviceError> {
        let wire: Wire = call.config.decode()?;
        let is_chosen_later = wire.capabilities.device_id;
        match Self::check(wire, sysfs) {
            Err(HostDeviceError::NoSelector) if is_chosen_later => Ok(None),
            checked => checked.map(Some),
        }
    }

    /// The name of the device, where the configuration says one: all that DEL can use of it.
    pub(crate) fn device_name(call: &Call<'_>) -> Option<String> {
        let wire: DeviceOnly = call.config.decode().unwrap_or_default();
        Some(wire.device).filter(|name| !name.is_empty())
    }

    fn check(wire: Wire, sysfs: &Sysfs) -> Result<Self, HostDeviceError> {
        let (pci, auxiliary) = device_id(&wire, sysfs)?;
        let is_dpdk = match &pci {
            Some(address) => sysfs
                .has_user_space_driver(address)
                .map_err(|source| HostDeviceError::Driver { address: address.clone(), source })?,
            None => wire.dpdk_mode,
        };
        Ok(Self { selector: selector(wire, pci.clone(), auxiliary)?, pci, is_dpdk })
    }
}

/// The PCI address and the auxiliary device of the configuration; the runtime's `deviceID` comes first.
fn device_id(wire: &Wire, sysfs: &Sysfs) -> Result<(Option<String>, Option<String>), HostDeviceError> {
    let id = &wire.runtime_config.device_id;
    if id.is_empty() {
        let pci = &wire.pci_bus_id;
        return Ok((if pci.is_empty() { None } else { Some(one_name("pciBusID", pci)?) }, None));
    }
    let id = one_name("runtimeConfig.deviceID", id)?;
    if sysfs.has_pci(&id) {
        return Ok((Some(id), None));
    }
    if sysfs.has_auxiliary(&id) { Ok((None, Some(id))) } else { Err(HostDeviceError::DeviceId(id)) }
}

/// The name of a directory, not a way through several.
fn one_name(path: &str, text: &str) -> Result<String, HostDeviceError> {
    if text.contains('/') || text == "." || text == ".." {
        let expected = "the name of a device on its bus, such as 0000:3b:00.1";
        return Err(field(FieldError::new(path, format_args!("{text:?}"), expected)));
    }
    Ok(text.to_owned())
}

/// The first of the keys, in the reference's order.
fn selector(wire: Wire, pci: Option<String>, auxiliary: Option<String>) -> Result<Selector, HostDeviceError> {
    if !wire.device.is_empty() {
        return Ok(Selector::Name(wire.device));
    }
    if !wire.hwaddr.is_empty() {
        let fault = |_| FieldError::new("hwaddr", format_args!("{:?}", wire.hwaddr), "a MAC address");
        return Ok(Selector::Mac(wire.hwaddr.parse::<MacAddr>().map_err(fault).map_err(field)?));
    }
    if !wire.kernelpath.is_empty() {
        let path = Path::new(&wire.kernelpath);
        let goes_up = path.components().any(|part| part == Component::ParentDir);
        if !path.starts_with("/sys/devices") || goes_up {
            let problem =
                format!("kernel device path \"{}\" must be absolute and begin with /sys/devices/", wire.kernelpath);
            return Err(field(FieldError { path: "kernelpath".to_owned(), problem }));
        }
        return Ok(Selector::KernelPath(path.to_owned()));
    }
    let by_bus = pci.map(Selector::Pci).or(auxiliary.map(Selector::Auxiliary));
    by_bus.ok_or(HostDeviceError::NoSelector)
}

fn field(fault: FieldError) -> HostDeviceError {
    HostDeviceError::Config(ConfigError::Field(fault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tests::tree;
    use libcni::error::CniError;
    use libcni::json;
    use serde_json::{Value, json};

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("host-device", env!("CARGO_PKG_DESCRIPTION")).with::<Wire>().assert_is_current();
    }

    fn conf(value: &Value) -> Result<Conf, String> {
        let (_dir, sysfs) = tree();
        Conf::check(json::decode::<Wire>(value).unwrap(), &sysfs).map_err(|e| e.reply().to_string())
    }

    #[test]
    fn the_first_key_selects() {
        let mut value = json!({
            "device": "ens3", "hwaddr": "0A-58-0a-01-02-03", "kernelpath": "/sys/devices/x", "pciBusID": "0000:00:03.0"
        });
        let mut selected = |without: &str| {
            value[without] = json!("");
            conf(&value).unwrap().selector
        };
        assert_eq!(selected("nothing"), Selector::Name("ens3".into()));
        assert_eq!(selected("device"), Selector::Mac("0a:58:0a:01:02:03".parse().unwrap()));
        assert_eq!(selected("hwaddr"), Selector::KernelPath("/sys/devices/x".into()));
        assert_eq!(selected("kernelpath"), Selector::Pci("0000:00:03.0".into()));
    }

    #[test]
    fn the_runtimes_device_is_pci_or_auxiliary() {
        let with = |id: &str| conf(&json!({"pciBusID": "0000:00:03.0", "runtimeConfig": {"deviceID": id}}));
        let pci = with("0000:00:04.0").unwrap();
        assert_eq!((pci.selector, pci.pci.as_deref()), (Selector::Pci("0000:00:04.0".into()), Some("0000:00:04.0")));
        let auxiliary = with("mlx5_core.sf.2").unwrap();
        assert_eq!((auxiliary.selector, auxiliary.pci), (Selector::Auxiliary("mlx5_core.sf.2".into()), None));
        assert_eq!(with("nothing").unwrap_err(), "runtime config DeviceID nothing not found or unsupported");
        assert!(with("../../etc").unwrap_err().contains("runtimeConfig.deviceID: invalid value \"../../etc\""));
    }

    #[test]
    fn dpdk_is_found_out_by_the_driver() {
        assert!(conf(&json!({"pciBusID": "0000:00:05.0"})).unwrap().is_dpdk);
        assert!(!conf(&json!({"pciBusID": "0000:00:03.0", "dpdkMode": true})).unwrap().is_dpdk);
        assert!(conf(&json!({"device": "ens3", "dpdkmode": true})).unwrap().is_dpdk);
        assert!(conf(&json!({"pciBusID": "0000:00:06.0"})).unwrap_err().starts_with("error with host device"));
    }

    #[test]
    fn bad_values_name_the_field() {
        let all = "specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\"";
        assert!(conf(&json!({})).unwrap_err().starts_with(all));
        for path in ["devices/x", "/sys/class/net/eth0", "/sys/devices/../class/net/eth0", "/sys/devicesx"] {
            assert!(conf(&json!({ "kernelpath": path })).unwrap_err().contains("must be absolute and begin with"));
        }
        assert!(conf(&json!({"hwaddr": "0a:58"})).unwrap_err().contains("hwaddr: invalid value \"0a:58\""));
    }
}
