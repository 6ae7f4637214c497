//! The subnet file: what the daemon of the overlay says of this node.
//!
//! ```text
//! FLANNEL_NETWORK=10.42.0.0/16
//! FLANNEL_SUBNET=10.42.3.1/24
//! FLANNEL_IPV6_NETWORK=fd42::/56
//! FLANNEL_IPV6_SUBNET=fd42:0:0:3::1/64
//! FLANNEL_MTU=1450
//! FLANNEL_IPMASQ=true
//! ```

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use libcni::store::{self, StoreError};
use linuxnet::link;

const NETWORKS: [&str; 2] = ["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"];
const SUBNETS: [&str; 2] = ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"];
const MTU: &str = "FLANNEL_MTU";
const MASQUERADE: &str = "FLANNEL_IPMASQ";

/// What the subnet file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// `FLANNEL_NETWORK`, `FLANNEL_IPV6_NETWORK`: all nodes' addresses, IPv4 first.
    pub networks: Vec<IpNet>,
    /// `FLANNEL_SUBNET`, `FLANNEL_IPV6_SUBNET`: this node's addresses, IPv4 first; at most one of each family.
    pub subnets: Vec<IpNet>,
    /// `FLANNEL_MTU` in bytes: what fits through the overlay.
    pub mtu: u32,
    /// `FLANNEL_IPMASQ`: the daemon masquerades, so the delegate need not.
    pub masquerades: bool,
}

impl fmt::Display for Subnet {
    /// As flannel's daemon writes the file: of each subnet the first address after its base, the gateway's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_v6 = |net: &&IpNet| net.addr().is_ipv6();
        let listed = |nets: &[IpNet], v6: bool| {
            let of_family = nets.iter().filter(|net| is_v6(net) == v6);
            of_family.map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        let gateways: Vec<IpNet> = self.subnets.iter().map(|subnet| with_gateway(*subnet)).collect();
        for (family, v6) in [(0, false), (1, true)] {
            for (keys, nets) in [(NETWORKS, &self.networks), (SUBNETS, &gateways)] {
                let list = listed(nets, v6);
                if let Some(key) = keys.get(family)
                    && !list.is_empty()
                {
                    writeln!(f, "{key}={list}")?;
                }
            }
        }
        writeln!(f, "{MTU}={}\n{MASQUERADE}={}", self.mtu, self.masquerades)
    }
}

/// The subnet with the address of the gateway in it.
fn with_gateway(subnet: IpNet) -> IpNet {
    let gateway = match subnet.network() {
        IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from_bits(base.to_bits().saturating_add(1))),
        IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(base.to_bits().saturating_add(1))),
    };
    // The prefix length is that of a net already.
    IpNet::new(gateway, subnet.prefix_len()).unwrap_or(subnet)
}

/// Why the node has no subnet.
#[derive(Debug, thiserror::Error)]
pub enum SubnetFileError {
    /// There is no subnet file.
    #[error(
        "this node has no subnet of the overlay yet: {} does not exist (hint: the overlay's daemon, such as flanneld, \
         writes it when it has a subnet; see whether it runs on this node and what it logs)",
        .0.display()
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("the subnet of this node cannot be read")]
    Read(#[source] StoreError),
    /// It lacks what is needed: the daemon has not finished it, or was stopped while writing.
    #[error(
        "the subnet file {} is incomplete, it lacks {missing} (hint: the overlay's daemon, such as flanneld, writes it \
         anew when it is restarted; see what it logs)",
        path.display()
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The keys.
        missing: String,
    },
    /// A value makes no sense.
    #[error(
        "the subnet file {} is damaged: {key}: invalid value \"{value}\", expected {expected} (hint: the overlay's \
         daemon, such as flanneld, writes it anew when it is restarted)",
        path.display()
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl Subnet {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`SubnetFileError`] that tells an operator what to look at.
    pub fn read(path: &Path) -> Result<Self, SubnetFileError> {
        let text = store::read_if_present(path).map_err(SubnetFileError::Read)?;
        let text = text.ok_or_else(|| SubnetFileError::Missing(path.to_owned()))?;
        SubnetFile { path, values: assignments(&String::from_utf8_lossy(&text)) }.understand()
    }
}

/// The assignments of an environment file: `KEY=value`, the value bare or in quotes, `#` for comments, `export` allowed.
/// The last of several wins. What is no assignment is not looked at: the end of a file may be missing.
fn assignments(text: &str) -> HashMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), unquoted(value.trim()).to_owned())).collect()
}

/// The value without its quotes, or without what follows a `#` after white space.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((inside, _comment)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inside.trim();
        }
    }
    value.split_once([' ', '\t']).filter(|(_, rest)| rest.trim_start().starts_with('#')).map_or(value, |(bare, _)| bare)
}

struct SubnetFile<'a> {
    path: &'a Path,
    values: HashMap<String, String>,
}

impl SubnetFile<'_> {
    fn understand(&self) -> Result<Subnet, SubnetFileError> {
        self.require_complete()?;
        Ok(Subnet {
            networks: self.nets(NETWORKS, "networks such as 10.42.0.0/16", "networks such as fd42::/56")?,
            subnets: self.subnets()?,
            mtu: self.parsed(MTU, "a number of bytes, 0 or 68 to 65535", |text| {
                text.parse().ok().filter(|mtu| link::configured_mtu(*mtu).is_ok())
            })?,
            // A file that ends too early must not turn masquerade on: flannel reads everything but `true` as false.
            masquerades: self.parsed(MASQUERADE, "true or false", |text| text.parse().ok())?,
        })
    }

    /// The value of a key; an empty one counts as none.
    fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn require_complete(&self) -> Result<(), SubnetFileError> {
        let needed: [&[&str]; 4] = [&NETWORKS, &SUBNETS, &[MTU], &[MASQUERADE]];
        let missing = needed.iter().filter(|keys| keys.iter().all(|key| self.value(key).is_none()));
        let missing: Vec<String> = missing.map(|keys| keys.join(" or ")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(SubnetFileError::Incomplete { path: self.path.to_owned(), missing: missing.join(", ") })
    }

    /// One subnet of each family at most; lists are of networks.
    fn subnets(&self) -> Result<Vec<IpNet>, SubnetFileError> {
        let [v4, v6] = ["one subnet such as 10.42.3.1/24", "one subnet such as fd42:0:0:3::1/64"];
        for (key, expected) in SUBNETS.into_iter().zip([v4, v6]) {
            if let Some(list) = self.value(key).filter(|list| list.contains(',')) {
                return Err(self.invalid(key, list, expected));
            }
        }
        self.nets(SUBNETS, v4, v6)
    }

    /// The nets of an IPv4 and an IPv6 key, without host bits, each once.
    fn nets(
        &self,
        [v4, v6]: [&'static str; 2],
        expected_v4: &'static str,
        expected_v6: &'static str,
    ) -> Result<Vec<IpNet>, SubnetFileError> {
        let is_v6 = |net: &IpNet| matches!(net, IpNet::V6(_));
        let mut nets = Vec::new();
        for (key, expected, wants_v6) in [(v4, expected_v4, false), (v6, expected_v6, true)] {
            for text in self.value(key).into_iter().flat_map(|list| list.split(',')) {
                let net = text.trim().parse().ok().filter(|net| is_v6(net) == wants_v6);
                let net = net.ok_or_else(|| self.invalid(key, text, expected))?.trunc();
                if !nets.contains(&net) {
                    nets.push(net);
                }
            }
        }
        Ok(nets)
    }

    fn parsed<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, SubnetFileError> {
        let text = self.value(key).unwrap_or_default();
        parse(text).ok_or_else(|| self.invalid(key, text, expected))
    }

    fn invalid(&self, key: &'static str, value: &str, expected: &'static str) -> SubnetFileError {
        SubnetFileError::Invalid { path: self.path.to_owned(), key, value: value.to_owned(), expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(text: &str) -> Result<Subnet, SubnetFileError> {
        SubnetFile { path: Path::new("subnet.env"), values: assignments(text) }.understand()
    }

    fn message(text: &str) -> String {
        understood(text).unwrap_err().to_string()
    }

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    const WHOLE: &str = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.3.1/24\nFLANNEL_IPV6_NETWORK=fd42::/56\n\
                         FLANNEL_IPV6_SUBNET=fd42:0:0:3::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    #[test]
    fn flannels_file_is_understood() {
        let subnet = understood(WHOLE).unwrap();
        assert_eq!(subnet.networks, nets(&["10.42.0.0/16", "fd42::/56"]));
        assert_eq!(subnet.subnets, nets(&["10.42.3.0/24", "fd42:0:0:3::/64"]), "the gateway's bits are masked");
        assert_eq!((subnet.mtu, subnet.masquerades), (1450, true));
    }

    #[test]
    fn what_is_written_is_as_flannel_writes_it() {
        assert_eq!(understood(WHOLE).unwrap().to_string(), WHOLE);
        let v6 = "FLANNEL_IPV6_NETWORK=fd42::/56,fd43::/56\nFLANNEL_IPV6_SUBNET=fd42::1/64\nFLANNEL_MTU=1430\n\
                  FLANNEL_IPMASQ=false\n";
        assert_eq!(understood(v6).unwrap().to_string(), v6);
    }

    #[test]
    fn what_people_and_shells_write_is_understood() {
        let text = "# by hand\n\n  export FLANNEL_NETWORK = \"10.42.0.0/16, 10.43.0.0/16,10.42.0.0/16\" # two\r\n\
                    FLANNEL_SUBNET='10.42.3.0/24'\nFLANNEL_MTU=9000\nFLANNEL_MTU=1450\t# measured\nCOLOR=red\nnonsense\n\
                    FLANNEL_IPV6_NETWORK=\nFLANNEL_IPMASQ=false";
        let subnet = understood(text).unwrap();
        assert_eq!(subnet.networks, nets(&["10.42.0.0/16", "10.43.0.0/16"]));
        assert_eq!(subnet.subnets, nets(&["10.42.3.0/24"]));
        assert_eq!((subnet.mtu, subnet.masquerades), (1450, false));
    }

    #[test]
    fn a_file_of_ipv6_alone_is_enough() {
        let text =
            "FLANNEL_IPV6_NETWORK=fd42::/56\nFLANNEL_IPV6_SUBNET=fd42::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=true";
        assert_eq!(understood(text).unwrap().subnets, nets(&["fd42::/64"]));
    }

    /// The reference panics on some of these, and on `FLANNEL_IPMASQ=tr` masquerades twice.
    #[test]
    fn wherever_the_file_ends_too_early_it_is_refused_or_says_the_same() {
        let whole = understood(WHOLE).unwrap();
        for end in 0..WHOLE.len() {
            match understood(&WHOLE[..end]) {
                Ok(subnet) => assert_eq!(subnet, whole, "cut at {end}"),
                Err(SubnetFileError::Incomplete { .. } | SubnetFileError::Invalid { .. }) => {}
                Err(other) => panic!("cut at {end}: {other}"),
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(message("").contains(
            "lacks FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET, FLANNEL_MTU, \
             FLANNEL_IPMASQ (hint: "
        ));
        assert!(
            message("FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.3.1/24\nFLANNEL_MTU=1450\nFLANN")
                .contains("lacks FLANNEL_IPMASQ")
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |line: &str| message(&format!("{WHOLE}{line}\n"));
        for (line, says) in [
            ("FLANNEL_NETWORK=10.42.0.0/33", "FLANNEL_NETWORK: invalid value \"10.42.0.0/33\", expected networks"),
            ("FLANNEL_NETWORK=10.42.0.0/16,fd42::/56", "FLANNEL_NETWORK: invalid value \"fd42::/56\""),
            ("FLANNEL_SUBNET=10.42.3.1", "FLANNEL_SUBNET: invalid value \"10.42.3.1\", expected one subnet such as"),
            ("FLANNEL_SUBNET=10.42.3.1/24,10.42.4.1/24", "expected one subnet"),
            ("FLANNEL_IPV6_SUBNET=10.42.3.1/24", "FLANNEL_IPV6_SUBNET: invalid value"),
            ("FLANNEL_MTU=14501450", "FLANNEL_MTU: invalid value \"14501450\", expected a number of bytes"),
            ("FLANNEL_MTU=-1", "FLANNEL_MTU: invalid value"),
            ("FLANNEL_IPMASQ=tr", "FLANNEL_IPMASQ: invalid value \"tr\", expected true or false"),
        ] {
            assert!(with(line).contains(says), "{}", with(line));
        }
    }
}
