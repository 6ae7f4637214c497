//! The configuration of `tap`: JSON in, checked values out.

use libcni::json::FieldError;
use libcni::names::{IfName, NameError};
use libcni::plugin::Call;
use libcni::types::ConfigError;
use linuxnet::link;
use serde::Deserialize;

use crate::error::TapPluginError;

/// What the configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `multiQueue`: several queues of the device can be opened.
    pub(crate) multi_queue: bool,
    /// `mtu` in bytes. `None`: the kernel's default.
    pub(crate) mtu: Option<u32>,
    /// `mac`: the device's address, unless the runtime asks for another; empty for none.
    pub(crate) mac: String,
    /// `owner`: the user who may open it.
    pub(crate) owner: Option<u32>,
    /// `group`: the group that may open it.
    pub(crate) group: Option<u32>,
    /// `selinuxContext`: the label of the device.
    pub(crate) selinux_context: Option<String>,
    /// `bridge`: a bridge of the container that the device becomes a port of.
    pub(crate) bridge: Option<IfName>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// Several queues of the device can be opened.
    multi_queue: bool,
    /// MTU in bytes; 0: what the kernel likes.
    #[cfg_attr(test, schemars(schema_with = "schemas::mtu"))]
    mtu: u32,
    /// The device's address, unless the runtime asks for another.
    #[cfg_attr(test, schemars(schema_with = "schemas::mac"))]
    mac: String,
    /// The user ID that may open it.
    owner: Option<u32>,
    /// The group ID that may open it.
    group: Option<u32>,
    /// The SELinux label of the device.
    selinux_context: String,
    /// A bridge of the container that the device becomes a port of.
    #[cfg_attr(test, schemars(schema_with = "schemas::ifname"))]
    bridge: String,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, TapPluginError> {
        Self::check(call.config.decode()?).map_err(|fault| TapPluginError::Config(ConfigError::Field(fault)))
    }

    fn check(wire: Wire) -> Result<Self, FieldError> {
        let bridge = Some(wire.bridge).filter(|name| !name.is_empty());
        Ok(Self {
            multi_queue: wire.multi_queue,
            mtu: link::configured_mtu(wire.mtu)?,
            mac: wire.mac,
            owner: wire.owner,
            group: wire.group,
            selinux_context: label(wire.selinux_context)?,
            bridge: bridge.map(interface).transpose()?,
        })
    }
}

fn interface(name: String) -> Result<IfName, FieldError> {
    let expected = "an interface name (1 to 15 characters, without / : or white space)";
    name.parse().map_err(|_rule: NameError| FieldError::new("bridge", format_args!("{name:?}"), expected))
}

fn label(context: String) -> Result<Option<String>, FieldError> {
    if context.contains(|c: char| c.is_control() || c.is_whitespace()) {
        let expected = "an SELinux context such as system_u:system_r:container_t:s0";
        return Err(FieldError::new("selinuxContext", format_args!("{context:?}"), expected));
    }
    Ok(Some(context).filter(|context| !context.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::json;
    use serde_json::{Value, json};

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("tap", env!("CARGO_PKG_DESCRIPTION"))
            .with_part("mac")
            .with::<Wire>()
            .assert_is_current();
    }

    fn conf(value: &Value) -> Result<Conf, String> {
        json::decode::<Wire>(value).and_then(Conf::check).map_err(|e| e.to_string())
    }

    #[test]
    fn everything_has_a_default() {
        let empty = json!({"mac": "", "bridge": "", "selinuxContext": "", "mtu": 0, "owner": null});
        assert_eq!(conf(&empty), Ok(Conf::default()));
        // Root is an owner, too.
        assert_eq!(conf(&json!({"owner": 0, "group": 7})).unwrap().owner, Some(0));
    }

    #[test]
    fn bad_values_name_the_field() {
        assert!(conf(&json!({"owner": -1})).unwrap_err().starts_with("owner: invalid value -1"));
        assert!(conf(&json!({"mtu": 67})).unwrap_err().starts_with("mtu: invalid value 67"));
        assert!(conf(&json!({"bridge": "a/b"})).unwrap_err().starts_with("bridge: invalid value \"a/b\""));
        assert!(conf(&json!({"selinuxContext": "a b"})).unwrap_err().contains("expected an SELinux context"));
    }
}
