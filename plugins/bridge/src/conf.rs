//! The configuration of `bridge`: JSON in, checked values out.

use std::ops::RangeInclusive;

use libcni::json::FieldError;
use libcni::names::IfName;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use linuxnet::addr::Dad;
use linuxnet::iface;
use linuxnet::{link, masq};
use serde::Deserialize;

use crate::error::BridgeError;

/// VLAN IDs that can be used on the wire (IEEE 802.1Q: 0 and 4095 are reserved).
const VLAN_IDS: RangeInclusive<u16> = 1..=4094;

/// The VLAN of frames without a tag on a trunk port, as Linux bridges number it by default.
pub(crate) const NATIVE_VLAN: u16 = 1;

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `bridge`: the bridge's name, `cni0` by default. Made if missing.
    pub(crate) bridge: IfName,
    /// `isGateway`: the bridge has the gateway's address and forwards. Implied by `isDefaultGateway`.
    pub(crate) is_gateway: bool,
    /// `isDefaultGateway`: and the container has a default route through it.
    pub(crate) is_default_gateway: bool,
    /// `forceAddress`: replace a conflicting address of the bridge.
    pub(crate) force_address: bool,
    /// `ipMasq` and `ipMasqBackend`: hide the container's address outside its subnet.
    pub(crate) masquerade: masq::Settings,
    /// `mtu` in bytes, of a bridge that is made and of both ends of the veth. `None`: the kernel's default.
    pub(crate) mtu: Option<u32>,
    /// `hairpinMode`: the port may send frames back to where they came from.
    pub(crate) hairpin: bool,
    /// `promiscMode`: the bridge takes every frame.
    pub(crate) promiscuous: bool,
    /// `vlan` and `vlanTrunk`.
    pub(crate) vlans: PortVlans,
    /// `macspoofchk`: drop frames from other source addresses than the container's.
    pub(crate) mac_spoof_check: bool,
    /// `enabledad`: duplicate address detection for IPv6 in the container.
    pub(crate) duplicate_address_detection: bool,
    /// `disableContainerInterface`: leave the container's end down.
    pub(crate) disable_container_interface: bool,
    /// `portIsolation`: no frames between isolated ports.
    pub(crate) isolated: bool,
}

/// The VLANs of the container's port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortVlans {
    /// `vlan`: frames without a tag belong to this VLAN.
    pub(crate) access: Option<u16>,
    /// `vlanTrunk`: VLANs whose frames pass with their tag, ascending.
    pub(crate) trunk: Vec<u16>,
    /// `vlanTrunk` is given, if only as an empty list: the bridge filters VLANs.
    pub(crate) is_trunk: bool,
    /// `preserveDefaultVlan`: keep the VLANs that the bridge gave the port by default.
    pub(crate) preserve_default: bool,
}

impl PortVlans {
    /// Whether the bridge has to filter VLANs for this port.
    pub(crate) fn is_filtered(&self) -> bool {
        self.access.is_some() || self.is_trunk
    }

    /// The VLAN of frames without a tag: the access VLAN, on a pure trunk the native one.
    pub(crate) fn untagged(&self) -> Option<u16> {
        self.access.or(self.is_trunk.then_some(NATIVE_VLAN))
    }
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// The bridge on the host, made if missing.
    #[cfg_attr(test, schemars(schema_with = "schemas::ifname", extend("default" = DEFAULT_BRIDGE)))]
    bridge: Option<IfName>,
    /// Give the bridge the address of the gateway, and forward packets.
    is_gateway: bool,
    /// As `isGateway`, and give the container a default route through it.
    is_default_gateway: bool,
    /// Replace an address of the bridge that conflicts with the gateway, instead of failing.
    force_address: bool,
    /// Masquerade what the container sends to outside its subnet.
    ip_masq: bool,
    /// Who masquerades: "nftables" or "iptables"; none for what this host has.
    #[cfg_attr(test, schemars(extend("enum" = ["", "nftables", "iptables"])))]
    ip_masq_backend: String,
    /// MTU in bytes of a bridge that is made and of both ends of the veth; 0: what the kernel likes.
    #[cfg_attr(test, schemars(schema_with = "schemas::mtu"))]
    mtu: u32,
    /// Let the port send frames back to where they came from. Not with `promiscMode`.
    hairpin_mode: bool,
    /// Have the bridge take every frame. Not with `hairpinMode`.
    promisc_mode: bool,
    /// The VLAN that frames without a tag belong to; 0: none.
    #[cfg_attr(test, schemars(range(max = 4094)))]
    vlan: u16,
    /// VLANs whose frames pass with their tag.
    vlan_trunk: Option<Vec<WireTrunk>>,
    /// Keep the VLANs that the bridge gives its ports by default.
    preserve_default_vlan: bool,
    /// Drop frames from other source addresses than the container's.
    macspoofchk: bool,
    /// Run duplicate address detection for IPv6 in the container.
    enabledad: bool,
    /// Leave the container's end down. Not with `ipam`.
    disable_container_interface: bool,
    /// No frames between this port and other isolated ones.
    port_isolation: bool,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct WireTrunk {
    /// The first VLAN of a range; with `maxID`.
    #[cfg_attr(test, schemars(range(min = 1, max = 4094)))]
    #[serde(rename = "minID")]
    min: Option<u16>,
    /// The last VLAN of a range; with `minID`.
    #[cfg_attr(test, schemars(range(min = 1, max = 4094)))]
    #[serde(rename = "maxID")]
    max: Option<u16>,
    /// One VLAN.
    #[cfg_attr(test, schemars(range(min = 1, max = 4094)))]
    id: Option<u16>,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, BridgeError> {
        let wire: Wire = call.config.decode()?;
        Self::check(wire).map_err(|fault| BridgeError::Config(ConfigError::Field(fault)))
    }

    fn check(wire: Wire) -> Result<Self, FieldError> {
        Ok(Self {
            bridge: match wire.bridge {
                Some(name) => name,
                None => DEFAULT_BRIDGE.parse().map_err(|e| FieldError::new("bridge", DEFAULT_BRIDGE, e))?,
            },
            is_gateway: wire.is_gateway || wire.is_default_gateway,
            is_default_gateway: wire.is_default_gateway,
            force_address: wire.force_address,
            masquerade: masq::Settings::new(wire.ip_masq, &wire.ip_masq_backend)?,
            mtu: link::configured_mtu(wire.mtu)?,
            hairpin: wire.hairpin_mode,
            promiscuous: wire.promisc_mode,
            vlans: PortVlans {
                access: access_vlan(wire.vlan)?,
                trunk: trunk_vlans(wire.vlan_trunk.as_deref().unwrap_or_default())?,
                is_trunk: wire.vlan_trunk.is_some(),
                preserve_default: wire.preserve_default_vlan,
            },
            mac_spoof_check: wire.macspoofchk,
            duplicate_address_detection: wire.enabledad,
            disable_container_interface: wire.disable_container_interface,
            isolated: wire.port_isolation,
        })
    }

    /// How the result is put on the container's end.
    pub(crate) fn apply_options(&self) -> iface::Options {
        let dad = if self.duplicate_address_detection { Dad::Run } else { Dad::Skip };
        iface::Options { dad, ..iface::Options::default() }
    }

    /// Combinations that cannot work. Only ADD asks: what was attached before must still be removable.
    pub(crate) fn require_consistent(&self, call: &Call<'_>) -> Result<(), BridgeError> {
        if self.disable_container_interface && call.config.ipam_type.is_some() {
            return Err(BridgeError::IpamOnDisabledInterface);
        }
        if self.hairpin && self.promiscuous {
            return Err(BridgeError::HairpinAndPromiscuous);
        }
        Ok(())
    }
}

/// The bridge where the configuration names none.
const DEFAULT_BRIDGE: &str = "cni0";

fn access_vlan(id: u16) -> Result<Option<u16>, FieldError> {
    match id {
        0 => Ok(None),
        id if VLAN_IDS.contains(&id) => Ok(Some(id)),
        _ => Err(FieldError {
            path: "vlan".to_owned(),
            problem: format!("invalid VLAN ID {id} (must be between 0 and 4094)"),
        }),
    }
}

fn trunk_vlans(items: &[WireTrunk]) -> Result<Vec<u16>, FieldError> {
    let mut ids = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let fault = |key: &str, problem: String| FieldError { path: format!("vlanTrunk[{i}]{key}"), problem };
        let in_range = |key: &str, id: Option<u16>| match id {
            Some(id) if !VLAN_IDS.contains(&id) => {
                Err(fault(key, format!("incorrect trunk{} parameter: {id}, expected 1 to 4094", key.replace('.', " "))))
            }
            _ => Ok(()),
        };
        in_range(".minID", item.min)?;
        in_range(".maxID", item.max)?;
        in_range(".id", item.id)?;
        match (item.min, item.max) {
            (Some(min), Some(max)) if min > max => {
                return Err(fault("", format!("minID is greater than maxID in trunk parameter: {min} > {max}")));
            }
            (Some(min), Some(max)) => ids.extend(min..=max),
            (None, Some(_)) => {
                return Err(fault(
                    "",
                    "minID and maxID should be configured simultaneously, minID is missing".to_owned(),
                ));
            }
            (Some(_), None) => {
                return Err(fault(
                    "",
                    "minID and maxID should be configured simultaneously, maxID is missing".to_owned(),
                ));
            }
            (None, None) => {}
        }
        ids.extend(item.id);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use libcni::json;
    use serde_json::{Value, json};

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("bridge", env!("CARGO_PKG_DESCRIPTION"))
            .with_part("mac")
            .with::<Wire>()
            .assert_is_current();
    }

    pub(crate) fn conf(value: &Value) -> Result<Conf, String> {
        json::decode::<Wire>(value).and_then(Conf::check).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_configuration_is_a_plain_bridge() {
        let conf = conf(&json!({})).unwrap();
        assert_eq!(conf.bridge.as_str(), "cni0");
        assert!(
            !conf.is_gateway
                && !conf.vlans.is_filtered()
                && conf.masquerade == masq::Settings::default()
                && conf.mtu.is_none()
        );
    }

    #[test]
    fn a_default_gateway_is_a_gateway() {
        assert!(conf(&json!({"isDefaultGateway": true})).unwrap().is_gateway);
    }

    #[test]
    fn trunks_are_sorted_without_repeats() {
        let vlans = conf(&json!({"vlanTrunk": [{"minID": 100, "maxID": 102, "id": 5}, {"id": 101}]})).unwrap().vlans;
        assert_eq!(vlans.trunk, [5, 100, 101, 102]);
        assert_eq!(vlans.untagged(), Some(NATIVE_VLAN));
        let access = conf(&json!({"vlan": 7, "vlanTrunk": []})).unwrap().vlans;
        assert_eq!((access.untagged(), access.is_filtered()), (Some(7), true));
    }

    #[test]
    fn bad_values_name_the_field() {
        let fault = |value: Value| conf(&value).unwrap_err();
        assert_eq!(fault(json!({"vlan": 4095})), "vlan: invalid VLAN ID 4095 (must be between 0 and 4094)");
        assert_eq!(
            fault(json!({"vlanTrunk": [{"id": 1}, {"minID": 0, "maxID": 3}]})),
            "vlanTrunk[1].minID: incorrect trunk minID parameter: 0, expected 1 to 4094"
        );
        assert_eq!(
            fault(json!({"vlanTrunk": [{"minID": 5, "maxID": 3}]})),
            "vlanTrunk[0]: minID is greater than maxID in trunk parameter: 5 > 3"
        );
        assert_eq!(
            fault(json!({"vlanTrunk": [{"maxID": 3}]})),
            "vlanTrunk[0]: minID and maxID should be configured simultaneously, minID is missing"
        );
        assert_eq!(
            fault(json!({"mtu": 67})),
            "mtu: invalid value 67, expected 0 (the kernel's default) or 68 to 65535"
        );
        assert_eq!(
            fault(json!({"mtu": "1500"})),
            "mtu: invalid value \"1500\", expected a whole number from 0 to 4294967295"
        );
        assert!(fault(json!({"bridge": "a/b"})).starts_with("bridge: invalid value \"a/b\""));
    }
}
