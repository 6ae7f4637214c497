//! What a rule can look at: each kind becomes one expression that loads a register.

use super::abi::*;
use super::value::DataType;
use crate::nl::Attributes;

/// A property of the packet, of its connection, or of the routing table's view of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// The interface it came in by (`iifname`).
    Iifname,
    /// The interface it leaves by (`oifname`).
    Oifname,
    /// The transport protocol (`meta l4proto`).
    L4Proto,
    /// The packet mark (`meta mark`).
    Mark,
    /// The IPv4 source address (`ip saddr`).
    IpSaddr,
    /// The IPv4 destination address (`ip daddr`).
    IpDaddr,
    /// The IPv6 source address (`ip6 saddr`).
    Ip6Saddr,
    /// The IPv6 destination address (`ip6 daddr`).
    Ip6Daddr,
    /// The Ethernet source address, in bridge tables (`ether saddr`).
    EtherSaddr,
    /// The transport protocol's destination port (`th dport`).
    ThDport,
    /// The kind of the destination address (`fib daddr type`).
    FibDaddrType,
}

/// What the routing table says an address is (`RTN_*` of linux/rtnetlink.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddrType {
    /// Routed to somebody else.
    Unicast,
    /// This machine's own.
    Local,
    /// A broadcast address.
    Broadcast,
    /// A multicast address.
    Multicast,
}

impl AddrType {
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Unicast => 1,
            Self::Local => 2,
            Self::Broadcast => 3,
            Self::Multicast => 5,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
        }
    }
}

/// The IP version whose header a load reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    V4,
    V6,
}

/// Where the kernel finds the property.
enum Source {
    Meta(u32),
    /// Header, offset in bytes.
    Payload(u32, u32),
    FibDaddrType,
}

impl Load {
    const fn source(self) -> Source {
        match self {
            Self::Iifname => Source::Meta(NFT_META_IIFNAME),
            Self::Oifname => Source::Meta(NFT_META_OIFNAME),
            Self::L4Proto => Source::Meta(NFT_META_L4PROTO),
            Self::Mark => Source::Meta(NFT_META_MARK),
            Self::IpSaddr => Source::Payload(NFT_PAYLOAD_NETWORK_HEADER, 12),
            Self::IpDaddr => Source::Payload(NFT_PAYLOAD_NETWORK_HEADER, 16),
            Self::Ip6Saddr => Source::Payload(NFT_PAYLOAD_NETWORK_HEADER, 8),
            Self::Ip6Daddr => Source::Payload(NFT_PAYLOAD_NETWORK_HEADER, 24),
            Self::EtherSaddr => Source::Payload(NFT_PAYLOAD_LL_HEADER, 6),
            Self::ThDport => Source::Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2),
            Self::FibDaddrType => Source::FibDaddrType,
        }
    }

    /// The size of what is loaded, in bytes.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::Iifname | Self::Oifname => DataType::IfName.size(),
            Self::L4Proto => DataType::InetProto.size(),
            Self::Mark | Self::FibDaddrType => DataType::Mark.size(),
            Self::IpSaddr | Self::IpDaddr => DataType::Ipv4Addr.size(),
            Self::Ip6Saddr | Self::Ip6Daddr => DataType::Ipv6Addr.size(),
            Self::EtherSaddr => DataType::EtherAddr.size(),
            Self::ThDport => DataType::InetService.size(),
        }
    }

    /// The IP version that must be certain before this is read.
    pub(super) const fn needs(self) -> Option<Network> {
        match self {
            Self::IpSaddr | Self::IpDaddr => Some(Network::V4),
            Self::Ip6Saddr | Self::Ip6Daddr => Some(Network::V6),
            Self::Iifname
            | Self::Oifname
            | Self::L4Proto
            | Self::Mark
            | Self::EtherSaddr
            | Self::ThDport
            | Self::FibDaddrType => None,
        }
    }

    /// The name of the expression.
    pub(super) const fn expression(self) -> &'static str {
        match self.source() {
            Source::Meta(_) => "meta",
            Source::Payload(..) => "payload",
            Source::FibDaddrType => "fib",
        }
    }

    /// The attributes of the expression. `bytes`: how much of the property, from its start.
    pub(super) fn encode(self, register: u32, bytes: usize, a: &mut Attributes) {
        match self.source() {
            Source::Meta(key) => a.be32(NFTA_META_DREG, register).be32(NFTA_META_KEY, key),
            Source::Payload(base, offset) => a
                .be32(NFTA_PAYLOAD_DREG, register)
                .be32(NFTA_PAYLOAD_BASE, base)
                .be32(NFTA_PAYLOAD_OFFSET, offset)
                .be32(NFTA_PAYLOAD_LEN, u32::try_from(bytes).unwrap_or_default()),
            Source::FibDaddrType => a
                .be32(NFTA_FIB_DREG, register)
                .be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE)
                .be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR),
        };
    }
}
