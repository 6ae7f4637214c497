//! DHCP messages on the wire (RFC 2131, section 2). The layout is smoltcp's; what RFC 3396 (long options) and "option
//! overload" add is here.

mod domains;
mod options;
mod routes;

use std::net::Ipv4Addr;

use libcni::types::MacAddr;
use smoltcp::wire::{
    ArpHardware, DhcpFlags, DhcpMessageType, DhcpOpCode, DhcpOption, DhcpOptionWriter, DhcpPacket, EthernetAddress,
};

pub(crate) use domains::{is_domain, search_list};
pub(crate) use options::{Options, code};
pub(crate) use routes::{classful, classless};
pub(crate) use smoltcp::wire::DhcpMessageType as MessageType;

/// The port of clients, and that of servers.
pub(crate) const CLIENT_PORT: u16 = smoltcp::wire::DHCP_CLIENT_PORT;
pub(crate) const SERVER_PORT: u16 = smoltcp::wire::DHCP_SERVER_PORT;

/// What precedes the options: the fields of BOOTP and the magic cookie.
const HEADER_BYTES: usize = 240;
const MAGIC_COOKIE: u32 = 0x6382_5363;
/// The length of BOOTP's messages, below which some relays drop them (RFC 1542, section 2.1).
const LEAST_BYTES: usize = 300;
/// The longest value of an option; a longer one is sent in parts (RFC 3396).
const VALUE_BYTES: usize = 255;
/// The fields `sname` and `file`, which may hold options.
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
/// Bits of the option "overload": which fields hold options.
const OVERLOAD_FILE: u8 = 1;
const OVERLOAD_SNAME: u8 = 2;

/// A message, as far as a client needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What it is: DISCOVER, OFFER, …
    pub(crate) kind: DhcpMessageType,
    /// Which exchange it belongs to.
    pub(crate) xid: u32,
    /// Seconds since the client began.
    pub(crate) secs: u16,
    /// The client wants the answer broadcast.
    pub(crate) broadcast: bool,
    /// The client's address, if it has one and answers ARP for it; else 0.0.0.0.
    pub(crate) ciaddr: Ipv4Addr,
    /// The address that the server gives.
    pub(crate) yiaddr: Ipv4Addr,
    /// The client's hardware address.
    pub(crate) mac: MacAddr,
    /// Everything else, without the message type.
    pub(crate) options: Options,
}

/// Bytes that are no answer of a DHCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no DHCP answer: {0}")]
pub(crate) struct Malformed(&'static str);

impl Message {
    /// The bytes of a client's message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let kind = [u8::from(self.kind)];
        let parts = || {
            let values =
                self.options.iter().flat_map(|(code, value)| value.chunks(VALUE_BYTES).map(move |v| (code, v)));
            std::iter::once((code::MESSAGE_TYPE, &kind[..])).chain(values)
        };
        let options: usize = parts().map(|(_, value)| 2 + value.len()).sum();
        let mut bytes = vec![0; (HEADER_BYTES + options + 1).max(LEAST_BYTES)];
        let mut packet = DhcpPacket::new_unchecked(bytes.as_mut_slice());
        packet.set_opcode(DhcpOpCode::Request);
        packet.set_hardware_type(ArpHardware::Ethernet);
        packet.set_hardware_len(6);
        packet.set_transaction_id(self.xid);
        packet.set_secs(self.secs);
        packet.set_flags(if self.broadcast { DhcpFlags::BROADCAST } else { DhcpFlags::empty() });
        packet.set_client_ip(self.ciaddr);
        packet.set_your_ip(self.yiaddr);
        packet.set_client_hardware_address(EthernetAddress(self.mac.0));
        packet.set_magic_number(MAGIC_COOKIE);
        let mut writer = packet.options_mut();
        parts().for_each(|(code, value)| put(&mut writer, code, value));
        // There is room: it was counted.
        let _ = writer.end();
        bytes
    }

    /// Reads a server's message.
    ///
    /// # Errors
    /// [`Malformed`] for anything else that came to the port.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let packet = DhcpPacket::new_checked(bytes).map_err(|_short| Malformed("it is too short"))?;
        if packet.opcode() != DhcpOpCode::Reply {
            return Err(Malformed("it is no reply"));
        }
        if packet.hardware_type() != ArpHardware::Ethernet || packet.hardware_len() != 6 {
            return Err(Malformed("it is not for an Ethernet address"));
        }
        if packet.magic_number() != MAGIC_COOKIE {
            return Err(Malformed("the magic cookie is missing"));
        }
        let options = read_options(bytes, &packet);
        let Some(&[kind]) = options.value(code::MESSAGE_TYPE) else {
            return Err(Malformed("the message type is missing"));
        };
        let EthernetAddress(mac) = packet.client_hardware_address();
        Ok(Self {
            kind: DhcpMessageType::from(kind),
            xid: packet.transaction_id(),
            secs: packet.secs(),
            broadcast: packet.flags().contains(DhcpFlags::BROADCAST),
            ciaddr: packet.client_ip(),
            yiaddr: packet.your_ip(),
            mac: MacAddr(mac),
            options: options.without(code::MESSAGE_TYPE),
        })
    }
}

fn put(writer: &mut DhcpOptionWriter<'_>, code: u8, value: &[u8]) {
    // There is room: it was counted.
    let _ = writer.emit(DhcpOption { kind: code, data: value });
}

/// The options of all fields that hold any: first `options`, then `file`, then `sname` (RFC 2131, section 4.1). The
/// parts of one option are joined (RFC 3396).
fn read_options(bytes: &[u8], packet: &DhcpPacket<&[u8]>) -> Options {
    let mut options = Options::default();
    packet.options().for_each(|option| options.append(option.kind, option.data));
    let overload = match options.value(code::OVERLOAD) {
        Some(&[bits]) => bits,
        _ => 0,
    };
    for (bit, field) in [(OVERLOAD_FILE, FILE), (OVERLOAD_SNAME, SNAME)] {
        if overload & bit != 0 {
            // As a packet of its own, so that options are read in one place.
            let field = [&[0; HEADER_BYTES], bytes.get(field).unwrap_or_default()].concat();
            DhcpPacket::new_unchecked(field.as_slice()).options().for_each(|o| options.append(o.kind, o.data));
        }
    }
    options
}

#[cfg(test)]
mod tests;
