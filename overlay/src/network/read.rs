//! `[network]` and `net-conf.json` are the same things in two spellings.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use libcni::base64;

use super::pool::{Family, Pool, PoolFault};
use super::{Backend, Network, Vxlan, WireGuard};
use crate::settings::{SettingError, Settings};

/// Which of the two names keys have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// flannel's, in JSON.
    NetConf,
    Toml,
}

/// A key's names: flannel's and ours.
#[derive(Clone, Copy, Debug)]
struct Key(&'static str, &'static str);

const ENABLE_IPV4: &str = "EnableIPv4";
const ENABLE_IPV6: &str = "EnableIPv6";
const TYPE: Key = Key("Backend.Type", "network.backend.type");
const VNI: Key = Key("Backend.VNI", "network.backend.vni");
const PORT: Key = Key("Backend.Port", "network.backend.port");
const GBP: Key = Key("Backend.GBP", "network.backend.gbp");
const DIRECT_ROUTING: Key = Key("Backend.DirectRouting", "network.backend.direct_routing");
const MTU: Key = Key("Backend.MTU", "network.backend.mtu");
const LISTEN_PORT: Key = Key("Backend.ListenPort", "network.backend.listen_port");
const LISTEN_PORT_V6: Key = Key("Backend.ListenPortV6", "network.backend.listen_port_v6");
const PSK: Key = Key("Backend.PSK", "network.backend.psk");
const KEEPALIVE: Key = Key("Backend.PersistentKeepaliveInterval", "network.backend.keepalive");
/// flannel has keys that mean what is always so here, or that nobody can mean here.
const LEARNING: &str = "Backend.Learning";
const MODE: &str = "Backend.Mode";

/// The keys of a pool in one family.
struct PoolKeys {
    network: Key,
    subnet_len: Key,
    first: Key,
    last: Key,
    example: &'static str,
}

const V4: PoolKeys = PoolKeys {
    network: Key("Network", "network.ipv4"),
    subnet_len: Key("SubnetLen", "network.ipv4_subnet_len"),
    first: Key("SubnetMin", "network.ipv4_subnet_min"),
    last: Key("SubnetMax", "network.ipv4_subnet_max"),
    example: "a network such as 10.42.0.0/16",
};
const V6: PoolKeys = PoolKeys {
    network: Key("IPv6Network", "network.ipv6"),
    subnet_len: Key("IPv6SubnetLen", "network.ipv6_subnet_len"),
    first: Key("IPv6SubnetMin", "network.ipv6_subnet_min"),
    last: Key("IPv6SubnetMax", "network.ipv6_subnet_max"),
    example: "a network such as fd42::/56",
};

/// The smallest MTU of IPv4, and the largest of any link, in bytes; 0: as the external interface allows.
const MTU_LEAST: u32 = 68;
const MTU_MOST: u64 = 65_535;
/// The IANA's port for VXLAN is 4789; the kernel's own, and so flannel's, is this.
const VXLAN_PORT: u16 = 8472;
const VNI_MOST: u64 = (1 << 24) - 1;
const WIREGUARD_PORTS: [u16; 2] = [51820, 51821];
const UDP_PORT: u16 = 8285;

pub(super) struct Reader<'a> {
    settings: &'a mut Settings,
    spelling: Spelling,
}

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &'a mut Settings, spelling: Spelling) -> Self {
        Self { settings, spelling }
    }

    pub(super) fn network(mut self) -> Result<Network, SettingError> {
        let [wants_v4, wants_v6] = self.families()?;
        let network = Network {
            v4: self.pool::<Ipv4Net>(&V4, |text| text.parse().ok(), |text| text.parse::<Ipv4Addr>().ok(), wants_v4)?,
            v6: self.pool::<Ipv6Net>(&V6, |text| text.parse().ok(), |text| text.parse::<Ipv6Addr>().ok(), wants_v6)?,
            backend: self.backend()?,
        };
        if network.v4.is_none() && network.v6.is_none() {
            let key = format!("{} or {}", self.name(V4.network), self.name(V6.network));
            return Err(SettingError::Missing { key, expected: V4.example.to_owned() });
        }
        Ok(network)
    }

    fn name(&self, key: Key) -> &'static str {
        match self.spelling {
            Spelling::NetConf => key.0,
            Spelling::Toml => key.1,
        }
    }

    /// Whether each family is on: flannel has a switch for it, with us it is enough to give its network.
    fn families(&mut self) -> Result<[bool; 2], SettingError> {
        if self.spelling == Spelling::NetConf {
            let v4 = self.settings.boolean(ENABLE_IPV4)?.unwrap_or(true);
            return Ok([v4, self.settings.boolean(ENABLE_IPV6)?.unwrap_or(false)]);
        }
        Ok([V4, V6].map(|keys| self.settings.place(keys.network.1).is_some()))
    }

    fn pool<Net: Family>(
        &mut self,
        keys: &PoolKeys,
        net: impl Fn(&str) -> Option<Net>,
        address: impl Fn(&str) -> Option<Net::Address>,
        wanted: bool,
    ) -> Result<Option<Pool<Net>>, SettingError> {
        let [network, len, first, last] =
            [keys.network, keys.subnet_len, keys.first, keys.last].map(|key| self.name(key));
        let nets = |text: &str| net(text).map(|net| Net::at(net.base(), net.prefix_len()));
        let pool = (
            self.settings.parsed(network, keys.example, nets)?,
            self.settings.number(len, 0..=u64::from(Net::BITS))?.filter(|len| *len != 0),
            self.settings.parsed(first, "the address of a subnet", &address)?,
            self.settings.parsed(last, "the address of a subnet", &address)?,
        );
        match pool {
            (None, None, None, None) if !wanted => Ok(None),
            _ if !wanted && self.spelling == Spelling::NetConf => Ok(None),
            (None, ..) => Err(self.settings.invalid(network, keys.example)),
            (Some(net), subnet_len, min, max) => Pool::new(net, subnet_len, min, max).map(Some).map_err(|fault| {
                let (key, expected) = match fault {
                    PoolFault::Network(expected) => (network, expected),
                    PoolFault::SubnetLen(expected) => (len, expected),
                    PoolFault::First(expected) => (first, expected),
                    PoolFault::Last(expected) => (last, expected),
                };
                self.settings.invalid(key, expected)
            }),
        }
    }

    fn backend(&mut self) -> Result<Backend, SettingError> {
        const TYPES: &str = "\"vxlan\", \"host-gw\", \"ipip\", \"wireguard\", \"udp\" or \"bgp\"";
        let name = self.name(TYPE);
        // flannel's documents say that vxlan is the default; its code has udp.
        let kind = self.settings.text(name, TYPES)?.unwrap_or_else(|| "vxlan".to_owned());
        match kind.as_str() {
            "vxlan" => self.vxlan(),
            "host-gw" => Ok(Backend::HostGw),
            "ipip" => Ok(Backend::Ipip { direct_routing: self.boolean(DIRECT_ROUTING)? }),
            "wireguard" => self.wireguard(),
            "udp" => Ok(Backend::Udp { port: self.port(PORT, UDP_PORT)? }),
            "bgp" => Ok(Backend::Bgp),
            _ => Err(self.settings.invalid(name, TYPES)),
        }
    }

    fn vxlan(&mut self) -> Result<Backend, SettingError> {
        if self.spelling == Spelling::NetConf && self.settings.boolean(LEARNING)? == Some(true) {
            return Err(self.settings.invalid(LEARNING, "false: every node is known from the store"));
        }
        let vni = self.name(VNI);
        Ok(Backend::Vxlan(Vxlan {
            vni: self.settings.number(vni, 1..=VNI_MOST)?.unwrap_or(1),
            port: self.port(PORT, VXLAN_PORT)?,
            gbp: self.boolean(GBP)?,
            direct_routing: self.boolean(DIRECT_ROUTING)?,
            mtu: self.mtu()?,
        }))
    }

    fn wireguard(&mut self) -> Result<Backend, SettingError> {
        if self.spelling == Spelling::NetConf
            && self.settings.text(MODE, "\"separate\"")?.is_some_and(|mode| !matches!(mode.as_str(), "" | "separate"))
        {
            return Err(self.settings.invalid(MODE, "\"separate\": a tunnel for each family"));
        }
        let (psk, keepalive) = (self.name(PSK), self.name(KEEPALIVE));
        let expected = "a key of 32 bytes in base64, as `wg genpsk` prints it";
        // Before the value is in an error: it is a secret.
        let key = self.settings.secret(psk, expected, |text| match text {
            "" => Some(None),
            text => <[u8; 32]>::try_from(base64::decode(text)?).ok().map(Some),
        })?;
        Ok(Backend::WireGuard(WireGuard {
            port: self.port(LISTEN_PORT, WIREGUARD_PORTS[0])?,
            port_v6: self.port(LISTEN_PORT_V6, WIREGUARD_PORTS[1])?,
            psk: key.flatten(),
            keepalive: self.settings.number(keepalive, 0..=65_535)?.unwrap_or(0),
            mtu: self.mtu()?,
        }))
    }

    fn boolean(&mut self, key: Key) -> Result<bool, SettingError> {
        let name = self.name(key);
        Ok(self.settings.boolean(name)?.unwrap_or(false))
    }

    /// A UDP port; 0 is the default, as with flannel.
    fn port(&mut self, key: Key, default: u16) -> Result<u16, SettingError> {
        let name = self.name(key);
        Ok(self.settings.number(name, 0..=65_535)?.filter(|port| *port != 0).unwrap_or(default))
    }

    fn mtu(&mut self) -> Result<Option<u32>, SettingError> {
        let name = self.name(MTU);
        match self.settings.number(name, 0..=MTU_MOST)? {
            Some(1..MTU_LEAST) => Err(self.settings.invalid(name, "0, or a number of bytes from 68 to 65535")),
            mtu => Ok(mtu.filter(|mtu| *mtu != 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net_conf(text: &str) -> Result<Network, String> {
        Network::from_net_conf(text.as_bytes()).map_err(|e| e.to_string())
    }

    fn toml(text: &str) -> Result<Network, String> {
        let read = |mut settings: Settings| {
            let network = Network::from_settings(&mut settings)?;
            settings.require_known().map(|()| network)
        };
        Settings::of_toml(text).and_then(read).map_err(|e| e.to_string())
    }

    fn vxlan() -> Vxlan {
        Vxlan { vni: 1, port: 8472, gbp: false, direct_routing: false, mtu: None }
    }

    #[test]
    fn the_least_is_a_network() {
        let network = net_conf(r#"{"Network": "10.42.7.9/16"}"#).unwrap();
        assert_eq!(network.v4.unwrap().network, "10.42.0.0/16".parse().unwrap());
        assert_eq!((network.v6, network.backend), (None, Backend::Vxlan(vxlan())));
        assert_eq!(toml("[network]\nipv4 = \"10.42.7.9/16\""), net_conf(r#"{"Network": "10.42.0.0/16"}"#));
    }

    #[test]
    fn every_key_is_read_in_both_spellings_and_in_any_case_in_flannels() {
        let flannels = r#"{
            "network": "10.42.0.0/16", "ENABLEIPV4": true, "SubnetLen": 26, "SubnetMin": "10.42.1.64",
            "SubnetMax": "10.42.9.0", "EnableIPv6": true, "IPv6Network": "fd42::/48", "IPv6SubnetLen": 60,
            "IPv6SubnetMin": "fd42:0:0:10::", "ipv6SubnetMax": "fd42:0:0:f0::", "EnableNFTables": true, "More": [1],
            "backend": {"type": "vxlan", "vni": 7, "Port": 4789, "GBP": true, "DirectRouting": true, "MTU": 1400,
                        "Learning": false, "MacPrefix": "0E-2A"}
        }"#;
        let ours = r#"
            [network]
            ipv4 = "10.42.0.0/16"
            ipv4_subnet_len = 26
            ipv4_subnet_min = "10.42.1.64"
            ipv4_subnet_max = "10.42.9.0"
            ipv6 = "fd42::/48"
            ipv6_subnet_len = 60
            ipv6_subnet_min = "fd42:0:0:10::"
            ipv6_subnet_max = "fd42:0:0:f0::"
            [network.backend]
            type = "vxlan"
            vni = 7
            port = 4789
            gbp = true
            direct_routing = true
            mtu = 1400"#;
        let network = net_conf(flannels).unwrap();
        let (v4, v6) = (network.v4.unwrap(), network.v6.unwrap());
        assert_eq!([v4.first.to_string(), v4.last.to_string()], ["10.42.1.64/26", "10.42.9.0/26"]);
        assert_eq!([v6.first.to_string(), v6.last.to_string()], ["fd42:0:0:10::/60", "fd42:0:0:f0::/60"]);
        let wanted = Vxlan { vni: 7, port: 4789, gbp: true, direct_routing: true, mtu: Some(1400) };
        assert_eq!(network.backend, Backend::Vxlan(wanted));
        assert_eq!(toml(ours), Ok(network));
    }

    #[test]
    fn every_backend_has_its_keys() {
        let backend =
            |text: &str| net_conf(&format!(r#"{{"Network": "10.42.0.0/16", "Backend": {text}}}"#)).unwrap().backend;
        assert_eq!(backend("{}"), Backend::Vxlan(vxlan()));
        assert_eq!(backend(r#"{"Type": "vxlan", "Port": 0, "MTU": 0}"#), Backend::Vxlan(vxlan()));
        assert_eq!(backend(r#"{"Type": "host-gw"}"#), Backend::HostGw);
        assert_eq!(backend(r#"{"Type": "ipip", "DirectRouting": true}"#), Backend::Ipip { direct_routing: true });
        assert_eq!(backend(r#"{"Type": "udp"}"#), Backend::Udp { port: 8285 });
        assert_eq!(backend(r#"{"Type": "bgp"}"#), Backend::Bgp);
        let plain = WireGuard { port: 51820, port_v6: 51821, psk: None, keepalive: 0, mtu: None };
        assert_eq!(backend(r#"{"Type": "wireguard", "PSK": "", "Mode": "separate"}"#), Backend::WireGuard(plain));
        let psk = base64::encode(&[7; 32]);
        let text = format!(
            r#"{{"Type": "wireguard", "ListenPort": 1, "ListenPortV6": 2, "PSK": "{psk}", "MTU": 1420,
                 "PersistentKeepaliveInterval": 25}}"#
        );
        let all = WireGuard { port: 1, port_v6: 2, psk: Some([7; 32]), keepalive: 25, mtu: Some(1420) };
        assert_eq!(backend(&text), Backend::WireGuard(all));
    }

    #[test]
    fn ipv6_alone_and_switched_off_families() {
        let network = net_conf(r#"{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd42::/56"}"#).unwrap();
        assert!(network.v4.is_none() && network.v6.is_some());
        let network = net_conf(r#"{"Network": "10.42.0.0/16", "IPv6Network": "fd42::/56"}"#).unwrap();
        assert!(network.v4.is_some() && network.v6.is_none());
    }

    #[test]
    fn errors_name_the_key_the_value_and_what_was_expected() {
        let told = |text: &str| net_conf(text).unwrap_err();
        let v4 = |more: &str| told(&format!(r#"{{"Network": "10.42.0.0/16", {more}}}"#));
        let backend = |more: &str| v4(&format!(r#""Backend": {{{more}}}"#));
        assert_eq!(told("{"), "line 1, column 1: EOF while parsing an object");
        assert_eq!(told("[]"), "the document: invalid value [], expected an object");
        assert_eq!(told("{}"), "Network: missing, expected a network such as 10.42.0.0/16");
        let both_off = r#"{"EnableIPv4": false}"#;
        assert_eq!(told(both_off), "Network or IPv6Network: missing, expected a network such as 10.42.0.0/16");
        let host = r#"{"Network": "10.42.0.0"}"#;
        assert_eq!(told(host), "Network: invalid value \"10.42.0.0\", expected a network such as 10.42.0.0/16");
        assert_eq!(v4(r#""EnableIPv6": true"#), "IPv6Network: missing, expected a network such as fd42::/56");
        assert_eq!(v4(r#""EnableIPv6": 1"#), "EnableIPv6: invalid value 1, expected true or false");
        assert_eq!(
            v4(r#""SubnetLen": 31"#),
            "SubnetLen: invalid value 31, expected a prefix length from 18 (the network must have room for four \
             subnets) to 30"
        );
        assert_eq!(
            v4(r#""SubnetMin": "10.42.0.1""#),
            "SubnetMin: invalid value \"10.42.0.1\", expected the base of a /24 of the network"
        );
        assert_eq!(
            v4(r#""SubnetMin": "10.42.9.0", "SubnetMax": "10.42.8.0""#),
            "SubnetMax: invalid value \"10.42.8.0\", expected a subnet that is not before the first one"
        );
        assert_eq!(
            told(r#"{"Network": "10.42.0.0/30"}"#),
            "Network: invalid value \"10.42.0.0/30\", expected a network of prefix length 28 or shorter"
        );
        assert_eq!(
            backend(r#""Type": "ipsec""#),
            "Backend.Type: invalid value \"ipsec\", expected \"vxlan\", \"host-gw\", \"ipip\", \"wireguard\", \
             \"udp\" or \"bgp\""
        );
        assert_eq!(backend(r#""VNI": 0"#), "Backend.VNI: invalid value 0, expected a whole number from 1 to 16777215");
        assert_eq!(backend(r#""Port": -1"#), "Backend.Port: invalid value -1, expected a whole number from 0 to 65535");
        assert_eq!(
            backend(r#""MTU": 67"#),
            "Backend.MTU: invalid value 67, expected 0, or a number of bytes from 68 to 65535"
        );
        assert_eq!(
            backend(r#""Learning": true"#),
            "Backend.Learning: invalid value true, expected false: every node is known from the store"
        );
        assert_eq!(
            backend(r#""Type": "wireguard", "PSK": "secret""#),
            "Backend.PSK: invalid value (not shown), expected a key of 32 bytes in base64, as `wg genpsk` prints it"
        );
        assert_eq!(
            backend(r#""Type": "wireguard", "Mode": "auto""#),
            "Backend.Mode: invalid value \"auto\", expected \"separate\": a tunnel for each family"
        );
    }

    #[test]
    fn errors_in_toml_name_the_line_and_our_key() {
        let told = |text: &str| toml(text).unwrap_err();
        assert_eq!(
            told("[network]\nipv4 = 10"),
            "line 2: network.ipv4: invalid value 10, expected a network such as 10.42.0.0/16"
        );
        assert_eq!(
            told("[network]\nipv6 = \"fd42::/56\"\nipv4_subnet_len = 24"),
            "network.ipv4: missing, expected a network such as 10.42.0.0/16"
        );
        assert_eq!(
            told("[network]\nipv4 = \"10.42.0.0/16\"\n[network.backend]\ntype = \"host-gw\"\nvni = 2"),
            "line 5: network.backend.vni: unknown key, expected one of type"
        );
        assert_eq!(told(""), "network.ipv4 or network.ipv6: missing, expected a network such as 10.42.0.0/16");
    }
}
