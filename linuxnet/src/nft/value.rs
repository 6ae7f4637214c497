//! Values as they stand in the kernel's registers: keys and data of elements, operands of comparisons.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libcni::names::IfName;

use super::load::AddrType;

/// `IFNAMSIZ`: interface names are compared with all their bytes, zeros included.
const IF_NAME_BYTES: usize = 16;
/// The width of a register; each component of a concatenation starts in a new one.
pub(super) const REGISTER_BYTES: usize = 4;

/// The type of a set's key, of a map's data, or of one component of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// An IPv4 address (`ipv4_addr`).
    Ipv4Addr,
    /// An IPv6 address (`ipv6_addr`).
    Ipv6Addr,
    /// An Ethernet address (`ether_addr`).
    EtherAddr,
    /// A transport protocol (`inet_proto`).
    InetProto,
    /// A port (`inet_service`).
    InetService,
    /// A packet mark (`mark`).
    Mark,
    /// An interface name (`ifname`).
    IfName,
}

impl DataType {
    /// The number by which `nft` knows the type (`enum datatypes`); the kernel only keeps it for `nft`.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::EtherAddr => 9,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::Mark => 19,
            Self::IfName => 41,
        }
    }

    /// The size of a value, in bytes.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::InetProto => 1,
            Self::InetService => 2,
            Self::Ipv4Addr | Self::Mark => 4,
            Self::EtherAddr => 6,
            Self::Ipv6Addr | Self::IfName => 16,
        }
    }

    /// The value that the bytes of a register hold.
    fn decode(self, bytes: &[u8]) -> Option<Field> {
        Some(match self {
            Self::Ipv4Addr => Field::Ip(IpAddr::V4(bytes.first_chunk::<4>().copied()?.into())),
            Self::Ipv6Addr => Field::Ip(IpAddr::V6(bytes.first_chunk::<16>().copied()?.into())),
            Self::EtherAddr => Field::EtherAddr(bytes.first_chunk().copied()?),
            Self::InetProto => Field::InetProto(*bytes.first()?),
            Self::InetService => Field::InetService(u16::from_be_bytes(bytes.first_chunk().copied()?)),
            Self::Mark => Field::Mark(u32::from_ne_bytes(bytes.first_chunk().copied()?)),
            Self::IfName => Field::IfName(crate::nl::text(bytes.get(..IF_NAME_BYTES)?).parse().ok()?),
        })
    }
}

/// One component of a [`Value`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// An address of either family.
    Ip(IpAddr),
    /// An Ethernet address.
    EtherAddr([u8; 6]),
    /// A transport protocol: 6 TCP, 17 UDP, 132 SCTP.
    InetProto(u8),
    /// A port.
    InetService(u16),
    /// A packet mark.
    Mark(u32),
    /// An interface name.
    IfName(IfName),
    /// What kind of address the routing table says it is.
    AddrType(AddrType),
}

impl Field {
    /// The transport protocol TCP.
    pub const TCP: Self = Self::InetProto(6);
    /// The transport protocol UDP.
    pub const UDP: Self = Self::InetProto(17);
    /// The transport protocol SCTP.
    pub const SCTP: Self = Self::InetProto(132);

    /// The bytes as the packet, or the kernel's own structures, hold them: addresses and ports in network order,
    /// marks in the host's, names filled up with zeros.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Ip(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Ip(IpAddr::V6(address)) => address.octets().to_vec(),
            Self::EtherAddr(address) => address.to_vec(),
            Self::InetProto(number) => vec![*number],
            Self::InetService(port) => port.to_be_bytes().to_vec(),
            Self::Mark(mark) => mark.to_ne_bytes().to_vec(),
            Self::IfName(name) => {
                let mut bytes = name.as_str().as_bytes().to_vec();
                bytes.resize(IF_NAME_BYTES, 0);
                bytes
            }
            Self::AddrType(kind) => kind.number().to_ne_bytes().to_vec(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::EtherAddr([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Self::InetProto(6) => f.write_str("tcp"),
            Self::InetProto(17) => f.write_str("udp"),
            Self::InetProto(132) => f.write_str("sctp"),
            Self::InetProto(number) => write!(f, "{number}"),
            Self::InetService(port) => write!(f, "{port}"),
            Self::Mark(mark) => write!(f, "{mark:#x}"),
            Self::IfName(name) => write!(f, "\"{name}\""),
            Self::AddrType(kind) => f.write_str(kind.as_str()),
        }
    }
}

impl From<IpAddr> for Field {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<Ipv4Addr> for Field {
    fn from(address: Ipv4Addr) -> Self {
        Self::Ip(address.into())
    }
}

impl From<Ipv6Addr> for Field {
    fn from(address: Ipv6Addr) -> Self {
        Self::Ip(address.into())
    }
}

impl From<IfName> for Field {
    fn from(name: IfName) -> Self {
        Self::IfName(name)
    }
}

/// A value of one or more components: `10.1.0.2` or `tcp . 8080`.
///
/// What the kernel gives back has no types; [`Value::fields`] reads it by the set's definition. Two values are equal
/// if their bytes are. `Display` is for messages: the components as `nft` writes them, hexadecimal digits for a value
/// that the kernel sent.
#[derive(Clone)]
pub struct Value {
    bytes: Vec<u8>,
    /// For messages; none if the kernel sent the value.
    text: Option<String>,
}

impl Value {
    /// Adds a component: `10.1.0.2` becomes `10.1.0.2 . 80`.
    #[must_use]
    pub fn and(mut self, field: impl Into<Field>) -> Self {
        let field = field.into();
        self.text = Some(format!("{self} . {field}"));
        self.pad();
        self.bytes.extend_from_slice(&field.bytes());
        self.pad();
        self
    }

    /// The components, if the value is of these types.
    #[must_use]
    pub fn fields(&self, types: &[DataType]) -> Option<Vec<Field>> {
        let mut rest = self.bytes.as_slice();
        let mut fields = Vec::with_capacity(types.len());
        for kind in types {
            fields.push(kind.decode(rest)?);
            rest = rest.get(kind.size().next_multiple_of(REGISTER_BYTES)..).unwrap_or_default();
        }
        rest.is_empty().then_some(fields)
    }

    /// The bytes; every component of a concatenation is padded to a whole register.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the kernel sent.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), text: None }
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(REGISTER_BYTES), 0);
    }
}

impl<F: Into<Field>> From<F> for Value {
    fn from(field: F) -> Self {
        let field = field.into();
        Self { bytes: field.bytes(), text: Some(field.to_string()) }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Value {}

impl std::hash::Hash for Value {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => {
                f.write_str("0x")?;
                self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_start_in_registers_of_their_own() {
        let value = Value::from(Field::TCP).and(Field::InetService(8080));
        assert_eq!(value.as_bytes(), [6, 0, 0, 0, 0x1f, 0x90, 0, 0]); // as `nft --debug=netlink` shows it
        assert_eq!(Value::from(Field::InetService(80)).as_bytes(), [0, 80]); // alone: not padded
        assert_eq!(value.to_string(), "tcp . 8080");
    }

    #[test]
    fn fields_are_read_back() {
        use DataType::{EtherAddr, IfName, InetService, Ipv4Addr, Ipv6Addr, Mark};
        let fields: [Field; 6] = [
            Field::from("10.1.0.2".parse::<IpAddr>().unwrap()),
            Field::IfName("eth0".parse().unwrap()),
            Field::from("fd00::1".parse::<IpAddr>().unwrap()),
            Field::InetService(80),
            Field::EtherAddr([2, 0, 0, 0, 0, 1]),
            Field::Mark(0x2000),
        ];
        let [a, b, c, d, e, g] = fields.clone();
        let value = Value::from(a).and(b).and(c).and(d).and(e).and(g);
        let types = [Ipv4Addr, IfName, Ipv6Addr, InetService, EtherAddr, Mark];
        let from_kernel = Value::from_bytes(value.as_bytes());
        assert_eq!(from_kernel, value);
        assert!(from_kernel.to_string().starts_with("0x0a010002657468"), "{from_kernel}");
        assert_eq!(from_kernel.fields(&types).unwrap(), fields);
        assert_eq!(from_kernel.fields(&types[..5]), None, "too few types");
        assert_eq!(Value::from_bytes(&[1, 2]).fields(&[Ipv4Addr]), None, "too short");
    }
}
