//! Port mappings, and what becomes of them for the addresses that the container has.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// From `protocol`, in any case.
    pub(crate) fn from_config(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| name.eq_ignore_ascii_case(p.as_str()))
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.number() == number)
    }

    /// The protocol's number in IP headers (IANA).
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// One of `portMappings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) protocol: Protocol,
    /// `hostIP`. `None`: every address of the host. `0.0.0.0` and `::`: every one of that family.
    pub(crate) host_ip: Option<IpAddr>,
    /// `hostPort`, not 0.
    pub(crate) host_port: u16,
    /// `containerPort`, not 0.
    pub(crate) container_port: u16,
}

impl Mapping {
    /// Whether both ask for the same port of the same addresses: no `hostIP` includes every address of a family, but a
    /// specific one goes before it.
    pub(crate) fn is_same_host_port(&self, other: &Self) -> bool {
        let specific = |mapping: &Self| mapping.host_ip.filter(|ip| !ip.is_unspecified());
        let families = (self.host_ip.map(|ip| ip.is_ipv4()), other.host_ip.map(|ip| ip.is_ipv4()));
        let same_family = !matches!(families, (Some(a), Some(b)) if a != b);
        same_family
            && specific(self) == specific(other)
            && (self.protocol, self.host_port) == (other.protocol, other.host_port)
    }

    /// What becomes of the mapping for a container's address; `None` if `hostIP` is of the other family.
    fn binding(&self, container: IpAddr) -> Option<Binding> {
        if self.host_ip.is_some_and(|ip| ip.is_ipv4() != container.is_ipv4()) {
            return None;
        }
        Some(Binding {
            host: HostPort {
                protocol: self.protocol,
                ip: self.host_ip.unwrap_or(unspecified_like(container)),
                port: self.host_port,
            },
            target: SocketAddr::new(container, self.container_port),
        })
    }
}

/// The address that stands for every address of `address`'s family.
pub(crate) fn unspecified_like(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A port of the host, on one of its addresses or on all of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) protocol: Protocol,
    /// Unspecified: every address of the family.
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

impl HostPort {
    /// The address, if it is not every one.
    pub(crate) fn specific_ip(&self) -> Option<IpAddr> {
        Some(self.ip).filter(|ip| !ip.is_unspecified())
    }

    /// Whether a packet can be for both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.port == other.port
            && self.ip.is_ipv4() == other.ip.is_ipv4()
            && (self.ip == other.ip || self.ip.is_unspecified() || other.ip.is_unspecified())
    }
}

impl fmt::Display for HostPort {
    /// `tcp 0.0.0.0:8080`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol.as_str(), SocketAddr::new(self.ip, self.port))
    }
}

/// A port of the host that leads to a port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) host: HostPort,
    pub(crate) target: SocketAddr,
}

/// The bindings of `mappings` for a container with these addresses: of the first address all mappings in their order,
/// then of the next.
pub(crate) fn bindings(mappings: &[Mapping], containers: impl IntoIterator<Item = IpAddr>) -> Vec<Binding> {
    let mut bindings: Vec<Binding> = Vec::with_capacity(mappings.len());
    for container in containers {
        for binding in mappings.iter().filter_map(|mapping| mapping.binding(container)) {
            // A mapping of every address and one of every IPv4 address meet here.
            if !bindings.contains(&binding) {
                bindings.push(binding);
            }
        }
    }
    bindings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_ip: &str) -> Mapping {
        Mapping { protocol: Protocol::Tcp, host_ip: host_ip.parse().ok(), host_port: 8080, container_port: 80 }
    }

    fn shown(mappings: &[Mapping]) -> Vec<String> {
        let containers = ["10.1.0.2", "fd00::2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        bindings(mappings, containers).iter().map(|b| format!("{} -> {}", b.host, b.target)).collect()
    }

    #[test]
    fn a_mapping_becomes_a_binding_of_each_family_that_its_host_ip_allows() {
        assert_eq!(shown(&[mapping("")]), ["tcp 0.0.0.0:8080 -> 10.1.0.2:80", "tcp [::]:8080 -> [fd00::2]:80"]);
        assert_eq!(shown(&[mapping("0.0.0.0")]), ["tcp 0.0.0.0:8080 -> 10.1.0.2:80"]);
        assert_eq!(shown(&[mapping(""), mapping("0.0.0.0")]).len(), 2);
        assert_eq!(shown(&[mapping("fd00::1")]), ["tcp [fd00::1]:8080 -> [fd00::2]:80"]);
        assert!(bindings(&[mapping("fd00::1")], ["10.1.0.2".parse().unwrap()]).is_empty());
    }

    #[test]
    fn every_address_overlaps_each_address() {
        let host = |ip: &str| HostPort { protocol: Protocol::Tcp, ip: ip.parse().unwrap(), port: 80 };
        assert!(host("0.0.0.0").overlaps(&host("10.0.0.1")) && host("10.0.0.1").overlaps(&host("0.0.0.0")));
        assert!(host("10.0.0.1").overlaps(&host("10.0.0.1")));
        assert!(!host("10.0.0.1").overlaps(&host("10.0.0.2")));
        assert!(!host("0.0.0.0").overlaps(&host("::")));
        assert!(!host("0.0.0.0").overlaps(&HostPort { port: 81, ..host("0.0.0.0") }));
        assert!(!host("0.0.0.0").overlaps(&HostPort { protocol: Protocol::Udp, ..host("0.0.0.0") }));
    }
}
