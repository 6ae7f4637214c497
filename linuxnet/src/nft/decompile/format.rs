//! How the bytes of a rule are written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::abi::IPS_DST_NAT;
use super::super::value::Field;
use super::Family;
use crate::nl::text;

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Ip,
    Mac,
    Port,
    Protocol,
    Name,
    /// An integer in the host's byte order.
    Host,
    Mark,
    AddrType,
    NfProto,
    EtherType,
    CtState,
    CtStatus,
    Hex,
}

/// Bytes as `nft` writes them; hexadecimal digits for those of another length than theirs.
pub(super) fn write(format: Format, bytes: &[u8]) -> String {
    let host = || bytes.try_into().ok().map(u32::from_ne_bytes);
    let big = || bytes.try_into().ok().map(u16::from_be_bytes);
    let written = match format {
        Format::Ip => match bytes.len() {
            4 => bytes.try_into().ok().map(|bytes: [u8; 4]| IpAddr::from(Ipv4Addr::from(bytes)).to_string()),
            16 => bytes.try_into().ok().map(|bytes: [u8; 16]| IpAddr::from(Ipv6Addr::from(bytes)).to_string()),
            _ => None,
        },
        Format::Mac => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")),
        Format::Port => big().map(|port| port.to_string()),
        Format::Protocol => bytes.first().map(|number| Field::InetProto(*number).to_string()),
        Format::Name if bytes.len() < 16 => Some(format!("\"{}*\"", text(bytes))),
        Format::Name => Some(format!("\"{}\"", text(bytes))),
        Format::Host => host().map(|number| number.to_string()),
        Format::Mark => host().map(|number| format!("{number:#010x}")),
        Format::AddrType => host().map(addr_type),
        Format::NfProto => bytes.first().and_then(|number| Family::of_number(*number)).map(|family| match family {
            Family::Ipv4 => "ipv4".to_owned(),
            Family::Ipv6 => "ipv6".to_owned(),
            other => other.as_str().to_owned(),
        }),
        Format::EtherType => big().map(|number| match number {
            0x0800 => "ip".to_owned(),
            0x86dd => "ip6".to_owned(),
            0x0806 => "arp".to_owned(),
            other => format!("{other:#06x}"),
        }),
        Format::CtState => host().map(|bits| {
            names(bits, &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")])
        }),
        Format::CtStatus => host().map(|bits| {
            names(
                bits,
                &[
                    (1, "expected"),
                    (2, "seen-reply"),
                    (4, "assured"),
                    (8, "confirmed"),
                    (16, "snat"),
                    (IPS_DST_NAT, "dnat"),
                ],
            )
        }),
        Format::Hex => None,
    };
    written.unwrap_or_else(|| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("0x{digits}")
    })
}

/// `RTN_*` of linux/rtnetlink.h.
fn addr_type(number: u32) -> String {
    let name = match number {
        1 => "unicast",
        2 => "local",
        3 => "broadcast",
        4 => "anycast",
        5 => "multicast",
        6 => "blackhole",
        7 => "unreachable",
        8 => "prohibit",
        _ => return number.to_string(),
    };
    name.to_owned()
}

/// The names of bits; those without one as a number.
fn names(bits: u32, known: &[(u32, &str)]) -> String {
    let mut all: Vec<String> =
        known.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
    let rest = known.iter().fold(bits, |rest, (bit, _)| rest & !bit);
    if rest != 0 || all.is_empty() {
        all.push(format!("{rest:#x}"));
    }
    all.join(",")
}

/// How many bits are set at the beginning; `None`: others are, too.
pub(super) fn prefix_length(mask: &[u8]) -> Option<u32> {
    let ones = mask.iter().take_while(|byte| **byte == 0xff).count();
    let length = ones * 8 + mask.get(ones).map_or(0, |byte| usize::try_from(byte.leading_ones()).unwrap_or_default());
    let set: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    (usize::try_from(set).ok()? == length).then_some(set)
}

/// A number that differs where bytes do (FNV-1a, 32 bits).
pub(super) fn fingerprint(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
