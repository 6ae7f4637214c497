//! What the network configurations of this node ask for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use libcni::json;
use libcni::runtime::NetworkList;
use serde_json::{Map, Value};

use crate::node::config::{self, text};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// The setting that has the host forward its packets.
    pub(super) const fn forwarding_key(self) -> &'static str {
        match self {
            Self::V4 => "net/ipv4/ip_forward",
            Self::V6 => "net/ipv6/conf/all/forwarding",
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// One plugin of a network.
#[derive(Clone, Debug)]
pub(super) struct Plugin {
    pub(super) plugin_type: String,
    /// Its object in the list.
    pub(super) object: Map<String, Value>,
}

impl Plugin {
    /// The plugins of `list`, in their order.
    pub(super) fn of(list: &NetworkList) -> Vec<Self> {
        let plugin = |object: Map<String, Value>| Some(Self { plugin_type: text(&object, "type")?.to_owned(), object });
        config::plugins(list).into_iter().filter_map(plugin).collect()
    }

    /// Whether it is this plugin, under any of its names.
    pub(super) fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.plugin_type.as_str())
    }

    /// The type of every plugin that is run for it: its own, its IPAM plugin's, its delegate's.
    pub(super) fn types(&self) -> Vec<String> {
        let mut types = vec![self.plugin_type.clone()];
        if let Some(delegate) = self.delegate() {
            types.extend(delegate.types());
        }
        types.extend(self.object("ipam").and_then(|ipam| text(ipam, "type")).map(str::to_owned));
        types.retain(|name| !name.is_empty());
        types
    }

    /// The plugin that the overlay's delegate runs, as far as the configuration says it.
    pub(super) fn delegate(&self) -> Option<Self> {
        self.is(&["vxlan-delegate", "flannel"]).then_some(())?;
        let mut object = self.object("delegate").cloned().unwrap_or_default();
        let plugin_type = text(&object, "type").unwrap_or("bridge").to_owned();
        if plugin_type == "bridge" && json::member(&object, "isGateway").is_none() {
            object.insert("isGateway".to_owned(), Value::Bool(true));
        }
        let mut ipam = self.object("ipam").cloned().unwrap_or_default();
        if json::member(&ipam, "type").is_none() {
            ipam.insert("type".to_owned(), "host-local".into());
        }
        object.insert("ipam".to_owned(), Value::Object(ipam));
        Some(Self { plugin_type, object })
    }

    /// Whether the host routes the packets of its containers.
    pub(super) fn is_routed(&self) -> bool {
        match self.delegate() {
            Some(delegate) => delegate.is_routed(),
            None if self.is(&["ptp"]) => true,
            None => {
                self.is(&["bridge"]) && ["isGateway", "isDefaultGateway", "ipMasq"].iter().any(|key| self.flag(key))
            }
        }
    }

    /// The families of the addresses in its `ipam`; IPv4 where that names none.
    pub(super) fn families(&self) -> BTreeSet<Family> {
        let mut found = BTreeSet::new();
        if let Some(ipam) = json::member(&self.object, "ipam") {
            collect_families(ipam, &mut found);
        }
        if found.is_empty() {
            found.insert(Family::V4);
        }
        found
    }

    /// The subnets in its `ipam`.
    pub(super) fn subnets(&self) -> Vec<IpNet> {
        let mut found = Vec::new();
        if let Some(ipam) = json::member(&self.object, "ipam") {
            collect_subnets(ipam, &mut found);
        }
        found
    }

    /// Whether this key is true.
    pub(super) fn flag(&self, key: &str) -> bool {
        json::member(&self.object, key) == Some(&Value::Bool(true))
    }

    /// Whether this key is there and says something.
    pub(super) fn has(&self, key: &str) -> bool {
        match json::member(&self.object, key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Number(number)) => number.as_u64() != Some(0),
            Some(Value::String(_) | Value::Object(_) | Value::Bool(true)) => true,
        }
    }

    /// The text under this key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        text(&self.object, key)
    }

    fn object(&self, key: &str) -> Option<&Map<String, Value>> {
        json::member(&self.object, key)?.as_object()
    }
}

/// The families of all addresses and networks in `value`, however deep. Routes tell nothing: their destinations may be
/// anybody's.
fn collect_families(value: &Value, found: &mut BTreeSet<Family>) {
    match value {
        Value::Object(object) => {
            object.iter().filter(|(key, _)| *key != "routes").for_each(|(_, value)| collect_families(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_families(value, found)),
        Value::String(text) => {
            let address = text.parse::<IpNet>().map(|network| network.addr()).or_else(|_| text.parse::<IpAddr>());
            found.extend(address.ok().map(|address| if address.is_ipv4() { Family::V4 } else { Family::V6 }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The values of `subnet`, however deep.
fn collect_subnets(value: &Value, found: &mut Vec<IpNet>) {
    match value {
        Value::Object(object) => {
            found.extend(text(object, "subnet").and_then(|subnet| subnet.parse::<IpNet>().ok()).map(|net| net.trunc()));
            object.values().for_each(|value| collect_subnets(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_subnets(value, found)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plugins(plugins: Value) -> Vec<Plugin> {
        let list = json!({"cniVersion": "1.0.0", "name": "n", "plugins": plugins});
        Plugin::of(&NetworkList::from_bytes(list.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn the_types_of_delegates_and_ipam_count() {
        let all = plugins(json!([
            {"type": "macvlan", "ipam": {"type": "dhcp"}},
            {"type": "flannel", "delegate": {"type": "ipvlan"}},
            {"type": "bridge", "ipam": {}}
        ]));
        let types: Vec<_> = all.iter().map(Plugin::types).collect();
        assert_eq!(types, [vec!["macvlan", "dhcp"], vec!["flannel", "ipvlan", "host-local"], vec!["bridge"]]);
    }

    #[test]
    fn a_network_is_routed_where_the_host_is_its_gateway() {
        let all = plugins(json!([
            {"type": "bridge"}, {"type": "bridge", "isgateway": true}, {"type": "ptp"}, {"type": "macvlan"},
            {"type": "vxlan-delegate"}, {"type": "vxlan-delegate", "delegate": {"type": "ipvlan"}}
        ]));
        let routed: Vec<_> = all.iter().map(Plugin::is_routed).collect();
        assert_eq!(routed, [false, true, true, false, true, false]);
    }

    #[test]
    fn families_are_those_of_the_addresses() {
        let all = plugins(json!([
            {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "fd00::/64"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "fd00::/64"}], [{"subnet": "10.0.0.0/8"}]]}},
            {"type": "ptp", "ipam": {"type": "dhcp"}}
        ]));
        let families: Vec<Vec<_>> = all.iter().map(|plugin| plugin.families().into_iter().collect()).collect();
        assert_eq!(families, [vec![Family::V6], vec![Family::V4, Family::V6], vec![Family::V4]]);
    }
}
