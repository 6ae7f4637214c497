//! How addresses travel: as strings, with an empty string for "none".

/// `IpNet`: a string in CIDR notation. (ipnet's own serde support writes maps for binary formats.)
pub(crate) mod net {
    use std::fmt;

    use ipnet::IpNet;
    use serde::Serializer;
    use serde::de::{self, Deserializer, Unexpected, Visitor};

    pub(crate) fn serialize<S: Serializer>(net: &IpNet, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(net)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNet, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = IpNet;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address with a prefix length such as 10.1.0.0/16 or fd00::/64")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<IpNet, E> {
                text.parse().map_err(|_fault: ipnet::AddrParseError| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(V)
    }
}

/// `Option<IpAddr>`: the empty string and `null` are `None`, as for Go's `net.IP`.
pub(crate) mod ip {
    use std::fmt;
    use std::net::{AddrParseError, IpAddr};

    use serde::de::{self, Deserializer, Unexpected, Visitor};
    use serde::{Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(ip: &Option<IpAddr>, serializer: S) -> Result<S::Ok, S::Error> {
        ip.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Option<IpAddr>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an IP address such as 10.1.0.1 or fd00::1")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Option<IpAddr>, E> {
                Ok(None)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<IpAddr>, E> {
                if text.is_empty() {
                    return Ok(None);
                }
                text.parse().map(Some).map_err(|_fault: AddrParseError| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(V)
    }
}
