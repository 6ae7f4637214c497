//! What holds for any input: nothing panics, faults name their place, what was written is read again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, in its helpers too")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use libcni::convert::{self, ConvertError};
use libcni::json;
use libcni::names::{ContainerId, IfName, NetworkName};
use libcni::types::{AddResult, CniArgs, Dns, Interface, IpConfig, MacAddr, NetworkConfig, Route};
use libcni::{ErrorReply, SpecVersion};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

/// The keys that mean something anywhere in CNI, so that arbitrary documents get past the first look.
const KEYS: [&str; 30] = [
    "cniVersion",
    "name",
    "type",
    "ipam",
    "dns",
    "prevResult",
    "cni.dev/valid-attachments",
    "cni.dev/attachments",
    "containerID",
    "ifname",
    "ip4",
    "ip6",
    "ip",
    "gateway",
    "routes",
    "dst",
    "gw",
    "mtu",
    "scope",
    "interfaces",
    "mac",
    "sandbox",
    "ips",
    "version",
    "address",
    "interface",
    "nameservers",
    "search",
    "code",
    "msg",
];

fn any_version() -> impl Strategy<Value = SpecVersion> {
    select(&SpecVersion::ALL[..])
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![4 => select(&KEYS[..]).prop_map(str::to_owned), 1 => ".*"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        any_version().prop_map(|v| Value::from(v.as_str())),
        any_net().prop_map(|net| Value::from(net.to_string())),
        select(&["dbnet", "4", "6", "", "10.1.0.1"][..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key.clone(), inner), 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_net4() -> impl Strategy<Value = IpNet> {
    (any::<Ipv4Addr>(), 0..=32u8).prop_map(|(ip, length)| Ipv4Net::new(ip, length).unwrap().into())
}

fn any_net6() -> impl Strategy<Value = IpNet> {
    (any::<Ipv6Addr>(), 0..=128u8).prop_map(|(ip, length)| Ipv6Net::new(ip, length).unwrap().into())
}

fn any_net() -> impl Strategy<Value = IpNet> {
    prop_oneof![any_net4(), any_net6()]
}

fn any_dns() -> impl Strategy<Value = Dns> {
    (vec(".*", 0..3), ".*", vec(".*", 0..3), vec(".*", 0..3)).prop_map(|(nameservers, domain, search, options)| Dns {
        nameservers,
        domain,
        search,
        options,
    })
}

fn any_interface() -> impl Strategy<Value = Interface> {
    (".*", ".*", option::of(any::<u32>()), ".*", ".*", ".*").prop_map(
        |(name, mac, mtu, sandbox, socket_path, pci_id)| Interface { name, mac, mtu, sandbox, socket_path, pci_id },
    )
}

fn any_ip(net: impl Strategy<Value = IpNet>) -> impl Strategy<Value = IpConfig> {
    (net, option::of(any::<IpAddr>()), option::of(0..8usize)).prop_map(|(address, gateway, interface)| IpConfig {
        address,
        gateway,
        interface,
    })
}

fn any_route() -> impl Strategy<Value = Route> {
    let number = || option::of(any::<u32>());
    (any_net(), option::of(any::<IpAddr>()), number(), number(), number(), number(), option::of(any::<u8>())).prop_map(
        |(dst, gw, mtu, advmss, priority, table, scope)| Route { dst, gw, mtu, advmss, priority, table, scope },
    )
}

fn any_result() -> impl Strategy<Value = AddResult> {
    (vec(any_interface(), 0..4), vec(any_ip(any_net()), 0..4), vec(any_route(), 0..4), any_dns())
        .prop_map(|(interfaces, ips, routes, dns)| AddResult { interfaces, ips, routes, dns })
}

/// What 0.1.0 and 0.2.0 can say: an address of one family or of each, routes with destination and next hop, those of
/// IPv4 first.
fn any_old_result() -> impl Strategy<Value = AddResult> {
    fn family(net: impl Strategy<Value = IpNet> + Clone) -> impl Strategy<Value = (IpConfig, Vec<Route>)> {
        let hop = (net.clone(), option::of(any::<IpAddr>())).prop_map(|(dst, gw)| Route { gw, ..Route::to(dst) });
        (any_ip(net).prop_map(|ip| IpConfig { interface: None, ..ip }), vec(hop, 0..3))
    }
    (option::of(family(any_net4().boxed())), option::of(family(any_net6().boxed())), any_dns())
        .prop_filter("an address", |(four, six, _)| four.is_some() || six.is_some())
        .prop_map(|(four, six, dns)| {
            let mut result = AddResult { dns, ..AddResult::default() };
            for (ip, routes) in [four, six].into_iter().flatten() {
                result.ips.push(ip);
                result.routes.extend(routes);
            }
            result
        })
}

/// The places of all values that are neither object nor list: as JSON pointers, and as errors name them.
fn leaves(value: &Value, pointer: String, path: String, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (key, member) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(member, format!("{pointer}/{key}"), path, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, format!("{pointer}/{index}"), format!("{path}[{index}]"), found);
            }
        }
        _ => found.push((pointer, path)),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused_with_a_place(bytes in vec(any::<u8>(), 0..200)) {
        if let Err(fault) = json::parse(&bytes) {
            prop_assert!(fault.line >= 1);
            prop_assert!(!fault.problem.is_empty());
        }
        let _ = NetworkConfig::parse(&bytes);
    }

    #[test]
    fn any_json_is_read_or_refused(value in any_json(), version in any_version()) {
        let text = value.to_string();
        prop_assert_eq!(json::parse(text.as_bytes()).is_ok(), true);
        let _ = NetworkConfig::parse(text.as_bytes());
        let _ = json::decode::<ErrorReply>(&value);
        let _ = convert::result(&value, version);
        let _ = convert::prev_result(&value, version);
    }

    #[test]
    fn any_document_with_a_name_is_a_configuration_or_refused(mut value in any_json(), version in any_version()) {
        if let Some(object) = value.as_object_mut() {
            object.insert("name".into(), "dbnet".into());
            object.insert("cniVersion".into(), version.as_str().into());
            if let Ok(config) = NetworkConfig::from_value(value.clone()) {
                prop_assert_eq!(config.raw, value);
                prop_assert_eq!(config.cni_version, version);
            }
        }
    }

    #[test]
    fn a_wrong_value_anywhere_is_named(result in any_result(), version in any_version(), pick in any::<proptest::sample::Index>()) {
        let Ok(mut wire) = convert::to_wire(&result, version) else { return Ok(()) };
        let mut places = Vec::new();
        leaves(&wire, String::new(), String::new(), &mut places);
        let (pointer, path) = pick.get(&places);
        *wire.pointer_mut(pointer).unwrap() = Value::Bool(true);
        match convert::result(&wire, version) {
            Err(ConvertError::Field(fault)) => prop_assert_eq!(&fault.path, path),
            other => prop_assert!(false, "{:?}: {}", other, wire),
        }
    }

    #[test]
    fn the_newest_forms_say_everything(result in any_result()) {
        for version in [SpecVersion::V1_0_0, SpecVersion::V1_1_0] {
            let wire = convert::to_wire(&result, version).unwrap();
            prop_assert_eq!(&convert::result(&wire, SpecVersion::DEFAULT).unwrap(), &result);
        }
    }

    #[test]
    fn versioned_ips_say_all_but_an_interface_s_attributes(result in any_result()) {
        let mut expected = result.clone();
        for interface in &mut expected.interfaces {
            (interface.mtu, interface.socket_path, interface.pci_id) = (None, String::new(), String::new());
        }
        for version in [SpecVersion::V0_3_0, SpecVersion::V0_3_1, SpecVersion::V0_4_0] {
            let wire = convert::to_wire(&result, version).unwrap();
            prop_assert_eq!(&convert::result(&wire, SpecVersion::DEFAULT).unwrap(), &expected);
        }
    }

    #[test]
    fn the_old_forms_say_one_address_of_each_family(result in any_old_result()) {
        for version in [SpecVersion::V0_1_0, SpecVersion::V0_2_0] {
            let wire = convert::to_wire(&result, version).unwrap();
            prop_assert_eq!(&convert::result(&wire, SpecVersion::LATEST).unwrap(), &result);
        }
    }

    #[test]
    fn what_a_version_cannot_say_is_lost_only_once(result in any_result(), version in any_version()) {
        if let Ok(wire) = convert::to_wire(&result, version) {
            let again = convert::result(&wire, version).unwrap();
            prop_assert_eq!(convert::to_wire(&again, version).unwrap(), wire);
        } else {
            prop_assert!(result.ips.is_empty() && !version.has_interfaces());
        }
    }

    #[test]
    fn identifiers_are_what_the_specification_says(text in prop_oneof!["[a-zA-Z0-9_.-]{0,20}", ".*"]) {
        let letter = |c: char| c.is_ascii_alphanumeric();
        let valid = text.starts_with(letter) && text.chars().all(|c| letter(c) || "_.-".contains(c));
        prop_assert_eq!(text.parse::<ContainerId>().is_ok(), valid);
        prop_assert_eq!(text.parse::<NetworkName>().is_ok(), valid);
    }

    #[test]
    fn an_interface_name_is_one_path_component_that_fits(text in prop_oneof!["[a-z0-9./: -]{0,17}", ".*"]) {
        if let Ok(name) = text.parse::<IfName>() {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!((1..16).contains(&text.len()));
            prop_assert!(!text.contains(['/', ':', ' ', '\0', '\n']) && text != "." && text != "..");
        }
    }

    #[test]
    fn mac_addresses_are_read_as_they_are_written(bytes in any::<[u8; 6]>(), text in "[0-9a-fA-F:+-]{0,18}") {
        let mac = MacAddr(bytes);
        prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        prop_assert_eq!(mac.to_string().to_uppercase().replace(':', "-").parse(), Ok(mac));
        if let Ok(mac) = text.parse::<MacAddr>() {
            prop_assert_eq!(mac.to_string(), text.to_lowercase().replace('-', ":"));
        }
    }

    #[test]
    fn cni_args_are_what_was_joined(pairs in vec(("[^;=]{0,8}", "[^;=]{0,8}"), 1..6)) {
        let text = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";");
        let args = CniArgs::parse(&text).unwrap();
        for (key, _) in &pairs {
            let last = pairs.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
            prop_assert_eq!(args.value(key), last);
        }
    }

    #[test]
    fn cni_args_are_pairs_or_refused(text in "[A-Z=;]{0,12}") {
        let valid = text.is_empty() || text.split(';').all(|pair| pair.matches('=').count() == 1);
        prop_assert_eq!(CniArgs::parse(&text).is_ok(), valid);
    }
}
