//! From the kernel's expressions to a line that `nft` might have written: for people, not for `nft`.
//!
//! What is loaded into registers is kept as text until something compares it, looks it up or uses it.

mod format;

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Family;
use super::abi::*;
use super::listing::word;
use super::rule::{Expression, RuleEntry, Verdict};
use crate::nl::{be32, find, text};
use format::{Format, fingerprint, prefix_length, write};

/// `NFTA_META_*`, `NFTA_CT_*` and `NFT_FIB_*` that the rules of this project do not use.
const NFT_META_LEN: u32 = 0;
const NFT_META_IIF: u32 = 4;
const NFT_META_OIF: u32 = 5;
const NFT_META_IIFTYPE: u32 = 8;
const NFT_META_SKUID: u32 = 10;
const NFT_META_PKTTYPE: u32 = 17;
const NFT_META_IIFKIND: u32 = 26;
const NFT_CT_DIRECTION: u32 = 1;
const NFT_CT_MARK: u32 = 3;
const NFT_FIB_RESULT_OIF: u32 = 1;
const NFT_FIB_RESULT_OIFNAME: u32 = 2;
const NFTA_FIB_F_SADDR: u32 = 1;
/// `NFTA_IMMEDIATE`, `NFTA_CMP`: the other operators.
const NFT_CMP_OPERATORS: [&str; 6] = ["", "!= ", "< ", "<= ", "> ", ">= "];
const NFT_NAT_SNAT: u32 = 0;
const NFTA_REDIR_REG_PROTO_MIN: u16 = 1;
const NFTA_LOG_PREFIX: u16 = 2;
const NFTA_TARGET_NAME: u16 = 1;
const NFTA_TARGET_INFO: u16 = 3;

/// What a register holds.
#[derive(Clone, Debug)]
struct Held {
    text: String,
    format: Format,
    /// Bytes that a constant has; none for what comes from a packet.
    constant: Option<Vec<u8>>,
    /// The bits that were kept, and those that were flipped.
    mask: Option<(Vec<u8>, Vec<u8>)>,
}

/// The rule as a line. `unnamed` gives the elements of a set that belongs to a rule.
pub(super) fn rule(family: Family, rule: &RuleEntry, unnamed: &dyn Fn(&str) -> Option<String>) -> String {
    let mut printer = Printer { family, registers: BTreeMap::new(), parts: Vec::new(), unnamed };
    for expression in &rule.expressions {
        if printer.expression(expression).is_none() {
            printer.unknown(expression);
        }
    }
    let parts = without_implied(printer.parts);
    let mut line = parts.join(" ");
    if let Some(comment) = &rule.comment {
        let _ = write!(line, "{}comment \"{comment}\"", if line.is_empty() { "" } else { " " });
    }
    line
}

/// Without the test of the IP version that goes before every look at an address.
fn without_implied(mut parts: Vec<String>) -> Vec<String> {
    for (test, addresses) in [
        (["meta nfproto ipv4", "meta protocol ip"], ["ip saddr", "ip daddr"]),
        (["meta nfproto ipv6", "meta protocol ip6"], ["ip6 saddr", "ip6 daddr"]),
    ] {
        if parts.iter().any(|part| addresses.iter().any(|address| part.contains(address))) {
            parts.retain(|part| !test.contains(&part.as_str()));
        }
    }
    parts
}

/// A verdict as `nft` writes it.
pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Return => "return".to_owned(),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Goto(chain) => format!("goto {chain}"),
    }
}

struct Printer<'a> {
    family: Family,
    /// By the word that it begins with.
    registers: BTreeMap<usize, Held>,
    parts: Vec<String>,
    unnamed: &'a dyn Fn(&str) -> Option<String>,
}

impl Printer<'_> {
    /// `None`: there is something in it that is not known here.
    fn expression(&mut self, expression: &Expression) -> Option<()> {
        let number = |kind| find(&expression.attributes, kind).and_then(be32);
        match expression.name.as_str() {
            "meta" => self.meta(number(NFTA_META_KEY)?, number(NFTA_META_DREG), number(NFTA_META_SREG)),
            "payload" => {
                let load = payload(
                    self.family,
                    number(NFTA_PAYLOAD_BASE)?,
                    number(NFTA_PAYLOAD_OFFSET)?,
                    number(NFTA_PAYLOAD_LEN)?,
                );
                self.load(number(NFTA_PAYLOAD_DREG)?, load)
            }
            "ct" => {
                let load = connection(number(NFTA_CT_KEY)?)?;
                self.load(number(NFTA_CT_DREG)?, load)
            }
            "fib" => {
                let load = fib(number(NFTA_FIB_RESULT)?, number(NFTA_FIB_FLAGS)?)?;
                self.load(number(NFTA_FIB_DREG)?, load)
            }
            "cmp" => self.compare(number(NFTA_CMP_SREG)?, number(NFTA_CMP_OP)?, expression.constant()?),
            "bitwise" => self.mask(&expression.attributes),
            "lookup" => self.lookup(&expression.attributes),
            "immediate" => self.immediate(number(NFTA_IMMEDIATE_DREG)?, expression),
            "nat" => self.nat(&expression.attributes),
            "masq" => {
                self.say("masquerade");
                self.nat_flags(number(NFTA_MASQ_FLAGS));
                Some(())
            }
            "redir" => {
                let port = number(NFTA_REDIR_REG_PROTO_MIN).and_then(|register| self.take(register));
                self.say(port.map_or_else(|| "redirect".to_owned(), |port| format!("redirect to :{}", port.value())));
                Some(())
            }
            "counter" => self.say("counter"),
            "notrack" => self.say("notrack"),
            "reject" => self.say("reject"),
            "log" => {
                let prefix = find(&expression.attributes, NFTA_LOG_PREFIX).map(text);
                self.say(prefix.map_or_else(|| "log".to_owned(), |prefix| format!("log prefix \"{prefix}\"")));
                Some(())
            }
            _ => None,
        }
    }

    /// Adds a part to the line; always there is one, for those who end with it.
    fn say(&mut self, part: impl Into<String>) -> Option<()> {
        self.parts.push(part.into());
        Some(())
    }

    /// Names what cannot be written, so that it can be told from another.
    fn unknown(&mut self, expression: &Expression) {
        let attribute = |kind| find(&expression.attributes, kind);
        if let Some(comment) = expression.xt_comment() {
            self.say(format!("/* {comment} */"));
            return;
        }
        let (name, info) = match expression.name.as_str() {
            "match" => (attribute(NFTA_MATCH_NAME).map(text), attribute(NFTA_MATCH_INFO)),
            "target" => (attribute(NFTA_TARGET_NAME).map(text), attribute(NFTA_TARGET_INFO)),
            _ => (None, Some(expression.attributes.as_slice())),
        };
        let what = name.map_or_else(|| expression.name.clone(), |name| format!("xt {} {name}", expression.name));
        self.say(format!("[{what} {:08x}]", fingerprint(info.unwrap_or_default())));
    }

    fn load(&mut self, register: u32, (text, format): (String, Format)) -> Option<()> {
        self.registers.insert(word(register), Held { text, format, constant: None, mask: None });
        Some(())
    }

    fn take(&mut self, register: u32) -> Option<Held> {
        self.registers.remove(&word(register))
    }

    fn meta(&mut self, key: u32, into: Option<u32>, from: Option<u32>) -> Option<()> {
        let (name, format) = match key {
            NFT_META_LEN => ("meta length", Format::Host),
            NFT_META_PROTOCOL => ("meta protocol", Format::EtherType),
            NFT_META_MARK => ("meta mark", Format::Mark),
            NFT_META_IIF => ("iif", Format::Host),
            NFT_META_OIF => ("oif", Format::Host),
            NFT_META_IIFNAME => ("iifname", Format::Name),
            NFT_META_OIFNAME => ("oifname", Format::Name),
            NFT_META_IIFTYPE => ("iiftype", Format::Host),
            NFT_META_SKUID => ("meta skuid", Format::Host),
            NFT_META_NFPROTO => ("meta nfproto", Format::NfProto),
            NFT_META_L4PROTO => ("meta l4proto", Format::Protocol),
            NFT_META_PKTTYPE => ("pkttype", Format::Hex),
            NFT_META_IIFKIND => ("meta iifkind", Format::Name),
            _ => return None,
        };
        match (into, from) {
            (Some(into), _) => self.load(into, (name.to_owned(), format)),
            (None, Some(from)) => {
                let mut held = self.take(from)?;
                held.format = format;
                self.say(format!("{name} set {}", held.value()))
            }
            (None, None) => None,
        }
    }

    fn compare(&mut self, register: u32, operator: u32, constant: &[u8]) -> Option<()> {
        let held = self.take(register)?;
        let operator = *NFT_CMP_OPERATORS.get(usize::try_from(operator).ok()?)?;
        let is_zero = constant.iter().all(|byte| *byte == 0);
        let part = match (&held.mask, held.format) {
            // `& BITS != 0`: has one of them.
            (Some((bits, _)), Format::CtState | Format::CtStatus) if operator == "!= " && is_zero => {
                format!("{} {}", held.text, write(held.format, bits))
            }
            (Some((bits, _)), Format::Ip) => match prefix_length(bits) {
                Some(length) => format!("{} {operator}{}/{length}", held.text, write(held.format, constant)),
                None => {
                    format!("{} & {} {operator}{}", held.text, write(Format::Ip, bits), write(Format::Ip, constant))
                }
            },
            (Some((bits, _)), format) => {
                let operator = if operator.is_empty() { "== " } else { operator };
                format!("{} & {} {operator}{}", held.text, write(format, bits), write(format, constant))
            }
            // Whole bytes of an address.
            (None, Format::Ip) if !matches!(constant.len(), 4 | 16) => {
                let mut address = constant.to_vec();
                address.resize(if held.text.starts_with("ip6") { 16 } else { 4 }, 0);
                format!("{} {operator}{}/{}", held.text, write(Format::Ip, &address), constant.len() * 8)
            }
            (None, format) => format!("{} {operator}{}", held.text, write(format, constant)),
        };
        self.say(part)
    }

    fn mask(&mut self, attributes: &[u8]) -> Option<()> {
        let data = |kind| find(find(attributes, kind)?, NFTA_DATA_VALUE).map(<[u8]>::to_vec);
        let mut held = self.take(find(attributes, NFTA_BITWISE_SREG).and_then(be32)?)?;
        held.mask = Some((data(NFTA_BITWISE_MASK)?, data(NFTA_BITWISE_XOR)?));
        self.registers.insert(word(find(attributes, NFTA_BITWISE_DREG).and_then(be32)?), held);
        Some(())
    }

    fn lookup(&mut self, attributes: &[u8]) -> Option<()> {
        let number = |kind| find(attributes, kind).and_then(be32);
        let set = find(attributes, NFTA_LOOKUP_SET).map(text)?;
        let set = (self.unnamed)(&set).map_or_else(|| format!("@{set}"), |elements| format!("{{ {elements} }}"));
        // All that was loaded from this register on is the key.
        let key: Vec<String> =
            self.registers.split_off(&word(number(NFTA_LOOKUP_SREG)?)).into_values().map(|held| held.value()).collect();
        let key = key.join(" . ");
        let inverted = number(NFTA_LOOKUP_FLAGS).is_some_and(|flags| flags & NFT_LOOKUP_F_INV != 0);
        match number(NFTA_LOOKUP_DREG) {
            Some(NFT_REG_VERDICT) => self.say(format!("{key} vmap {set}")),
            Some(register) => self.load(register, (format!("{key} map {set}"), Format::Hex)),
            None => self.say(format!("{key} {}{set}", if inverted { "!= " } else { "" })),
        }
    }

    fn immediate(&mut self, register: u32, expression: &Expression) -> Option<()> {
        if let Some(is) = expression.verdict() {
            return self.say(verdict(&is));
        }
        let constant = expression.constant()?.to_vec();
        let held = Held { text: String::new(), format: Format::Hex, constant: Some(constant), mask: None };
        self.registers.insert(word(register), held);
        Some(())
    }

    fn nat(&mut self, attributes: &[u8]) -> Option<()> {
        let number = |kind| find(attributes, kind).and_then(be32);
        let verb = if number(NFTA_NAT_TYPE)? == NFT_NAT_SNAT { "snat" } else { "dnat" };
        let family = u8::try_from(number(NFTA_NAT_FAMILY)?).ok().and_then(Family::of_number)?;
        let mut take = |kind, format| {
            let mut held = number(kind).and_then(|register| self.take(register))?;
            held.format = format;
            Some(held.value())
        };
        let address = take(NFTA_NAT_REG_ADDR_MIN, Format::Ip);
        let port = take(NFTA_NAT_REG_PROTO_MIN, Format::Port).map(|port| format!(":{port}")).unwrap_or_default();
        let family = if family == self.family { String::new() } else { format!(" {}", family.as_str()) };
        self.say(format!("{verb}{family} to {}{port}", address.unwrap_or_default()));
        self.nat_flags(number(NFTA_NAT_FLAGS));
        Some(())
    }

    fn nat_flags(&mut self, flags: Option<u32>) {
        const RANDOM: u32 = 1 << 2;
        const PERSISTENT: u32 = 1 << 3;
        let flags = flags.unwrap_or_default();
        for (flag, word) in [(RANDOM, "random"), (NAT_RANDOM_FULLY, "fully-random"), (PERSISTENT, "persistent")] {
            if flags & flag != 0 {
                self.say(word);
            }
        }
    }
}

impl Held {
    /// What is in the register, as text.
    fn value(&self) -> String {
        let text = match &self.constant {
            Some(bytes) => write(self.format, bytes),
            None => self.text.clone(),
        };
        let Some((kept, flipped)) = &self.mask else { return text };
        let flipped = if flipped.iter().all(|byte| *byte == 0) {
            String::new()
        } else {
            format!(" ^ {}", write(self.format, flipped))
        };
        format!("{text} & {}{flipped}", write(self.format, kept))
    }
}

/// What is read from a packet: header, offset and length in bytes.
fn payload(family: Family, base: u32, offset: u32, length: u32) -> (String, Format) {
    let v6 = family == Family::Ipv6;
    let (name, format) = match (base, offset, length) {
        (NFT_PAYLOAD_LL_HEADER, 0, 6) => ("ether daddr", Format::Mac),
        (NFT_PAYLOAD_LL_HEADER, 6, 6) => ("ether saddr", Format::Mac),
        (NFT_PAYLOAD_LL_HEADER, 12, 2) => ("ether type", Format::EtherType),
        (NFT_PAYLOAD_NETWORK_HEADER, 9, 1) => ("ip protocol", Format::Protocol),
        (NFT_PAYLOAD_NETWORK_HEADER, 6, 1) => ("ip6 nexthdr", Format::Protocol),
        (NFT_PAYLOAD_NETWORK_HEADER, 12, 1..=4) if !v6 => ("ip saddr", Format::Ip),
        (NFT_PAYLOAD_NETWORK_HEADER, 16, 1..=4) if !v6 => ("ip daddr", Format::Ip),
        (NFT_PAYLOAD_NETWORK_HEADER, 8, 1..=16) => ("ip6 saddr", Format::Ip),
        (NFT_PAYLOAD_NETWORK_HEADER, 24, 1..=16) => ("ip6 daddr", Format::Ip),
        (NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2) => ("th sport", Format::Port),
        (NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2) => ("th dport", Format::Port),
        _ => {
            let base = match base {
                NFT_PAYLOAD_LL_HEADER => "ll",
                NFT_PAYLOAD_NETWORK_HEADER => "nh",
                _ => "th",
            };
            return (format!("@{base},{},{}", offset * 8, length * 8), Format::Hex);
        }
    };
    (name.to_owned(), format)
}

fn connection(key: u32) -> Option<(String, Format)> {
    let (name, format) = match key {
        NFT_CT_STATE => ("ct state", Format::CtState),
        NFT_CT_DIRECTION => ("ct direction", Format::Hex),
        NFT_CT_STATUS => ("ct status", Format::CtStatus),
        NFT_CT_MARK => ("ct mark", Format::Mark),
        _ => return None,
    };
    Some((name.to_owned(), format))
}

fn fib(result: u32, flags: u32) -> Option<(String, Format)> {
    let of = [(NFTA_FIB_F_SADDR, "saddr"), (NFTA_FIB_F_DADDR, "daddr"), (4, "mark"), (8, "iif"), (16, "oif")];
    let of: Vec<&str> = of.into_iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| name).collect();
    let (what, format) = match result {
        NFT_FIB_RESULT_OIF => ("oif", Format::Host),
        NFT_FIB_RESULT_OIFNAME => ("oifname", Format::Name),
        NFT_FIB_RESULT_ADDRTYPE => ("type", Format::AddrType),
        _ => return None,
    };
    Some((format!("fib {} {what}", of.join(" . ")), format))
}
