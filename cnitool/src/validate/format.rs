//! The formats of texts that schemas name.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::names::{IfName, NetworkName};
use libcni::types::MacAddr;

/// What was expected of a text in the format `name`, if it is something else. An unknown format is any text.
pub(crate) fn problem(name: &str, text: &str) -> Option<&'static str> {
    let is_ip = || text.parse::<IpAddr>().is_ok();
    let is_net = || text.parse::<IpNet>().is_ok();
    let (fits, expected) = match name {
        "ip" => (is_ip(), "an address such as 10.1.0.1 or fd00:1::1"),
        "cidr" => (is_net(), "an address with its prefix length, such as 10.1.0.0/16 or fd00:1::/64"),
        "ip-or-cidr" => (is_ip() || is_net(), "an address such as 10.1.0.5, with or without a prefix length"),
        "mac" => (is_unicast(text), "a unicast MAC address such as 0a:58:0a:01:02:03"),
        "ifname" => (text.parse::<IfName>().is_ok(), "an interface name (1 to 15 characters, no / : or white space)"),
        "flag" => (text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"), "true or false"),
        "network-name" => (
            text.parse::<NetworkName>().is_ok(),
            "a network name (letters, digits, `_`, `.` and `-`, the first a letter or digit)",
        ),
        _ => return None,
    };
    (!fits).then_some(expected)
}

fn is_unicast(text: &str) -> bool {
    text.parse::<MacAddr>().is_ok_and(|mac| !mac.is_multicast() && mac != MacAddr::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_plugins_take_is_taken() {
        let good = [
            ("ip", "10.0.0.1"),
            ("ip", "::1"),
            ("cidr", "10.0.0.5/8"),
            ("ip-or-cidr", "fd00::1"),
            ("mac", "0A-58-0a-01-02-03"),
            ("ifname", "eth0.100"),
            ("flag", "True"),
            ("network-name", "a.b-c_d"),
            ("unheard-of", "x"),
        ];
        for (name, text) in good {
            assert_eq!(problem(name, text), None, "{name} {text}");
        }
        let bad = [
            ("ip", "10.0.0.256"),
            ("ip", "10.0.0.0/8"),
            ("cidr", "10.0.0.0"),
            ("cidr", "10.0.0.0/33"),
            ("ip-or-cidr", "x"),
            ("mac", "01:00:00:00:00:01"),
            ("mac", "00:00:00:00:00:00"),
            ("ifname", "a-name-of-16-chr"),
            ("flag", "yes"),
            ("network-name", "-x"),
        ];
        for (name, text) in bad {
            assert!(problem(name, text).is_some(), "{name} {text}");
        }
    }
}
