//! flannel's keys, in `net-conf.json` and in `[network]`.

use ipnet::{Ipv4Net, Ipv6Net};
use libcni::base64;

use super::pool::{Family, Pool, PoolFault};
use super::{Backend, Network, Vxlan, WireGuard};
use crate::settings::{SettingError, Settings};

const ENABLE_IPV4: &str = "EnableIPv4";
const ENABLE_IPV6: &str = "EnableIPv6";
const TYPE: &str = "Backend.Type";
const VNI: &str = "Backend.VNI";
const PORT: &str = "Backend.Port";
const GBP: &str = "Backend.GBP";
const DIRECT_ROUTING: &str = "Backend.DirectRouting";
const LEARNING: &str = "Backend.Learning";
const MTU: &str = "Backend.MTU";
const LISTEN_PORT: &str = "Backend.ListenPort";
const LISTEN_PORT_V6: &str = "Backend.ListenPortV6";
const PSK: &str = "Backend.PSK";
const MODE: &str = "Backend.Mode";
const KEEPALIVE: &str = "Backend.PersistentKeepaliveInterval";
/// A switch of flannel's for what is always so here.
const ENABLE_NFTABLES: &str = "EnableNFTables";

/// The keys of a pool in one family.
struct PoolKeys {
    network: &'static str,
    subnet_len: &'static str,
    first: &'static str,
    last: &'static str,
    example: &'static str,
}

const V4: PoolKeys = PoolKeys {
    network: "Network",
    subnet_len: "SubnetLen",
    first: "SubnetMin",
    last: "SubnetMax",
    example: "a network such as 10.42.0.0/16",
};
const V6: PoolKeys = PoolKeys {
    network: "IPv6Network",
    subnet_len: "IPv6SubnetLen",
    first: "IPv6SubnetMin",
    last: "IPv6SubnetMax",
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

/// Reads the keys, wherever they stand.
pub(super) struct Reader<'a>(pub(super) &'a mut Settings);

impl Reader<'_> {
    pub(super) fn network(mut self) -> Result<Network, SettingError> {
        let settings = &mut *self.0;
        let wants_v4 = settings.boolean(ENABLE_IPV4)?.unwrap_or(true);
        let wants_v6 = settings.boolean(ENABLE_IPV6)?.unwrap_or(false);
        settings.boolean(ENABLE_NFTABLES)?;
        let network = Network {
            v4: self.pool::<Ipv4Net>(&V4, |text| text.parse().ok(), |text| text.parse().ok(), wants_v4)?,
            v6: self.pool::<Ipv6Net>(&V6, |text| text.parse().ok(), |text| text.parse().ok(), wants_v6)?,
            backend: self.backend()?,
        };
        if network.v4.is_none() && network.v6.is_none() {
            return Err(self.0.conflict(ENABLE_IPV4, "EnableIPv4 or EnableIPv6 must be true"));
        }
        if network.v6.is_some() && matches!(network.backend, Backend::Ipip { .. } | Backend::Udp { .. }) {
            return Err(self.0.conflict(ENABLE_IPV6, "ipip and udp carry IPv4 alone"));
        }
        Ok(network)
    }

    fn pool<Net: Family>(
        &mut self,
        keys: &PoolKeys,
        net: impl Fn(&str) -> Option<Net>,
        address: impl Fn(&str) -> Option<Net::Address>,
        wanted: bool,
    ) -> Result<Option<Pool<Net>>, SettingError> {
        let PoolKeys { network, subnet_len: len, first, last, .. } = *keys;
        let nets = |text: &str| net(text).map(|net| Net::at(net.base(), net.prefix_len()));
        let pool = (
            self.0.parsed(network, keys.example, nets)?,
            self.0.number(len, 0..=u64::from(Net::BITS))?.filter(|len| *len != 0),
            self.0.parsed(first, "the address of a subnet", &address)?,
            self.0.parsed(last, "the address of a subnet", &address)?,
        );
        match pool {
            _ if !wanted => Ok(None),
            (None, ..) => Err(self.0.invalid(network, keys.example)),
            (Some(net), subnet_len, min, max) => Pool::new(net, subnet_len, min, max).map(Some).map_err(|fault| {
                let (key, expected) = match fault {
                    PoolFault::Network(expected) => (network, expected),
                    PoolFault::SubnetLen(expected) => (len, expected),
                    PoolFault::First(expected) => (first, expected),
                    PoolFault::Last(expected) => (last, expected),
                };
                self.0.invalid(key, expected)
            }),
        }
    }

    fn backend(&mut self) -> Result<Backend, SettingError> {
        const TYPES: &str = "\"vxlan\", \"host-gw\", \"ipip\", \"wireguard\", \"udp\" or \"bgp\"";
        // flannel's documents say that vxlan is the default; its code has udp.
        let kind = self.0.text(TYPE, TYPES)?.unwrap_or_else(|| "vxlan".to_owned());
        match kind.as_str() {
            "vxlan" => self.vxlan(),
            "host-gw" => Ok(Backend::HostGw),
            "ipip" => Ok(Backend::Ipip { direct_routing: self.boolean(DIRECT_ROUTING)? }),
            "wireguard" => self.wireguard(),
            "udp" => Ok(Backend::Udp { port: self.port(PORT, UDP_PORT)? }),
            "bgp" => Ok(Backend::Bgp),
            _ => Err(self.0.invalid(TYPE, TYPES)),
        }
    }

    fn vxlan(&mut self) -> Result<Backend, SettingError> {
        if self.0.boolean(LEARNING)? == Some(true) {
            return Err(self.0.invalid(LEARNING, "false: every node is known from the store"));
        }
        Ok(Backend::Vxlan(Vxlan {
            vni: self.0.number(VNI, 1..=VNI_MOST)?.unwrap_or(1),
            port: self.port(PORT, VXLAN_PORT)?,
            gbp: self.boolean(GBP)?,
            direct_routing: self.boolean(DIRECT_ROUTING)?,
            mtu: self.mtu()?,
        }))
    }

    fn wireguard(&mut self) -> Result<Backend, SettingError> {
        let mode = self.0.text(MODE, "\"separate\"")?;
        if mode.is_some_and(|mode| !matches!(mode.as_str(), "" | "separate")) {
            return Err(self.0.invalid(MODE, "\"separate\": a tunnel for each family"));
        }
        let expected = "a key of 32 bytes in base64, as `wg genpsk` prints it";
        // Before the value is in an error: it is a secret.
        let key = self.0.secret(PSK, expected, |text| match text {
            "" => Some(None),
            text => <[u8; 32]>::try_from(base64::decode(text)?).ok().map(Some),
        })?;
        Ok(Backend::WireGuard(WireGuard {
            port: self.port(LISTEN_PORT, WIREGUARD_PORTS[0])?,
            port_v6: self.port(LISTEN_PORT_V6, WIREGUARD_PORTS[1])?,
            psk: key.flatten(),
            keepalive: self.0.number(KEEPALIVE, 0..=65_535)?.unwrap_or(0),
            mtu: self.mtu()?,
        }))
    }

    fn boolean(&mut self, key: &'static str) -> Result<bool, SettingError> {
        Ok(self.0.boolean(key)?.unwrap_or(false))
    }

    /// A UDP port; 0 is the default, as with flannel.
    fn port(&mut self, key: &'static str, default: u16) -> Result<u16, SettingError> {
        Ok(self.0.number(key, 0..=65_535)?.filter(|port| *port != 0).unwrap_or(default))
    }

    fn mtu(&mut self) -> Result<Option<u32>, SettingError> {
        match self.0.number(MTU, 0..=MTU_MOST)? {
            Some(1..MTU_LEAST) => Err(self.0.invalid(MTU, "0, or a number of bytes from 68 to 65535")),
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
        let read = |mut settings: Settings| Network::from_settings(settings.take_table("network."));
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
        assert_eq!(toml("[network]\nNetwork = \"10.42.7.9/16\""), net_conf(r#"{"Network": "10.42.0.0/16"}"#));
    }

    #[test]
    fn every_key_is_read_in_json_and_toml_and_in_any_case() {
        let flannels = r#"{
            "network": "10.42.0.0/16", "ENABLEIPV4": true, "SubnetLen": 26, "SubnetMin": "10.42.1.64",
            "SubnetMax": "10.42.9.0", "EnableIPv6": true, "IPv6Network": "fd42::/48", "IPv6SubnetLen": 60,
            "IPv6SubnetMin": "fd42:0:0:10::", "ipv6SubnetMax": "fd42:0:0:f0::", "EnableNFTables": true, "More": [1],
            "backend": {"type": "vxlan", "vni": 7, "Port": 4789, "GBP": true, "DirectRouting": true, "MTU": 1400,
                        "Learning": false, "MacPrefix": "0E-2A"}
        }"#;
        let ours = r#"
            [network]
            Network = "10.42.0.0/16"
            SubnetLen = 26
            SubnetMin = "10.42.1.64"
            SubnetMax = "10.42.9.0"
            EnableIPv6 = true
            IPv6Network = "fd42::/48"
            IPv6SubnetLen = 60
            IPv6SubnetMin = "fd42:0:0:10::"
            IPv6SubnetMax = "fd42:0:0:f0::"
            [network.Backend]
            Type = "vxlan"
            VNI = 7
            Port = 4789
            GBP = true
            DirectRouting = true
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
        assert_eq!(told(both_off), "EnableIPv4: EnableIPv4 or EnableIPv6 must be true");
        for backend in ["ipip", "udp"] {
            let both = format!(
                r#"{{"Network": "10.42.0.0/16", "EnableIPv6": true, "IPv6Network": "fd42::/48", "Backend": {{"Type": "{backend}"}}}}"#
            );
            assert_eq!(told(&both), "EnableIPv6: ipip and udp carry IPv4 alone");
        }
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
    fn errors_in_toml_name_the_line_and_unknown_keys() {
        let told = |text: &str| toml(text).unwrap_err();
        assert_eq!(
            told("[network]\nNetwork = 10"),
            "line 2: network.Network: invalid value 10, expected a network such as 10.42.0.0/16"
        );
        assert_eq!(
            told("[network]\nnetwork = \"10.42.0.0/16\"\n[network.backend]\ntype = \"host-gw\"\nvni = 2"),
            "line 5: network.backend.vni: unknown key, expected one of Type"
        );
        assert_eq!(told(""), "network.Network: missing, expected a network such as 10.42.0.0/16");
    }
}
