//! Rules: built from conditions and actions, read back as expressions.

use std::fmt;

use ipnet::IpNet;

use super::Family;
use super::abi::*;
use super::encode::{Encoder, Step};
use super::load::Load;
use super::userdata;
use super::value::Field;
use crate::nl::{Attributes, attributes, be32, be64, find, text};

/// `XT_MAX_COMMENT_LEN`: a comment of iptables with its terminating zero.
const XT_COMMENT_BYTES: usize = 256;

/// `XT_ALIGN(sizeof(struct xt_mark_mtinfo1))`: a value, a mask, and whether to negate.
const XT_MARK_BYTES: usize = 16;

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It passes this hook's chain.
    Accept,
    /// It is dropped.
    Drop,
    /// The calling chain goes on.
    Return,
    /// That chain is called.
    Jump(String),
    /// That chain takes over.
    Goto(String),
}

impl Verdict {
    /// The chain that it jumps or goes to.
    #[must_use]
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept | Self::Drop | Self::Return => None,
        }
    }

    /// As the data of an element or of an immediate expression.
    pub(super) fn encode(&self, a: &mut Attributes) {
        let code = match self {
            Self::Accept => NF_ACCEPT,
            Self::Drop => NF_DROP,
            Self::Return => NFT_RETURN,
            Self::Jump(_) => NFT_JUMP,
            Self::Goto(_) => NFT_GOTO,
        };
        a.nest(NFTA_DATA_VERDICT, |v| {
            v.be32(NFTA_VERDICT_CODE, code.cast_unsigned());
            if let Some(chain) = self.chain() {
                v.string(NFTA_VERDICT_CHAIN, chain);
            }
        });
    }

    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let verdict = find(data, NFTA_DATA_VERDICT)?;
        let chain = || find(verdict, NFTA_VERDICT_CHAIN).map(text);
        match be32(find(verdict, NFTA_VERDICT_CODE)?)?.cast_signed() {
            NF_ACCEPT => Some(Self::Accept),
            NF_DROP => Some(Self::Drop),
            NFT_RETURN => Some(Self::Return),
            NFT_JUMP => chain().map(Self::Jump),
            NFT_GOTO => chain().map(Self::Goto),
            _ => None,
        }
    }
}

/// A rule: conditions, then what to do, in the order in which they are called here.
///
/// Conditions on IPv4 or IPv6 addresses imply the IP version, as in `nft`'s language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    steps: Vec<Step>,
    comment: Option<String>,
}

impl Rule {
    /// A rule without conditions or actions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if the property has this value: `iifname "eth0"`.
    #[must_use]
    pub fn equals(self, load: Load, value: impl Into<Field>) -> Self {
        self.then(Step::Compare { load, value: value.into().bytes(), negated: false })
    }

    /// Only if the property has another value: `iifname != "eth0"`.
    #[must_use]
    pub fn differs(self, load: Load, value: impl Into<Field>) -> Self {
        self.then(Step::Compare { load, value: value.into().bytes(), negated: true })
    }

    /// Only if the source is in this network: `ip saddr 10.1.0.0/16`.
    #[must_use]
    pub fn source_in(self, network: IpNet) -> Self {
        self.then(Step::Network { load: source(network), network, negated: false })
    }

    /// Only if the destination is in this network: `ip daddr 10.1.0.0/16`.
    #[must_use]
    pub fn destination_in(self, network: IpNet) -> Self {
        self.then(Step::Network { load: destination(network), network, negated: false })
    }

    /// Only if the destination is elsewhere: `ip daddr != 10.1.0.0/16`.
    #[must_use]
    pub fn destination_not_in(self, network: IpNet) -> Self {
        self.then(Step::Network { load: destination(network), network, negated: true })
    }

    /// Only if the properties, together, are a key of this set: `ip daddr . iifname . oifname @hairpin4`.
    #[must_use]
    pub fn in_set(self, loads: &[Load], set: impl Into<String>) -> Self {
        self.then(Step::Lookup { loads: loads.to_vec(), set: set.into(), negated: false })
    }

    /// Only if they are not: `ip daddr != @local4`.
    #[must_use]
    pub fn not_in_set(self, loads: &[Load], set: impl Into<String>) -> Self {
        self.then(Step::Lookup { loads: loads.to_vec(), set: set.into(), negated: true })
    }

    /// Only if the connection's destination was translated: `ct status dnat`.
    #[must_use]
    pub fn was_dnat(self) -> Self {
        self.then(Step::WasDnat)
    }

    /// Only if the packet answers another, or belongs to what another began: `ct state established,related`.
    #[must_use]
    pub fn is_answer(self) -> Self {
        self.then(Step::IsAnswer)
    }

    /// Only if these bits of the packet mark have this value: `meta mark & 0x1000 == 0x1000`.
    #[must_use]
    pub fn has_mark(self, mask: u32, value: u32) -> Self {
        self.then(Step::HasMark { mask, value })
    }

    /// Gives these bits of the packet mark this value: `meta mark set meta mark & 0xffffefff | 0x1000`.
    #[must_use]
    pub fn set_mark(self, mask: u32, value: u32) -> Self {
        self.then(Step::SetMark { mask, value: value & mask })
    }

    /// Only if these bits of the packet mark have this value, as iptables writes it (`-m mark --mark 0x1000/0x1000`).
    #[must_use]
    pub fn xt_mark(self, mask: u32, value: u32) -> Self {
        // `struct xt_mark_mtinfo1`, as large as `XT_ALIGN` makes it.
        let mut info = [value.to_ne_bytes(), mask.to_ne_bytes()].concat();
        info.resize(XT_MARK_BYTES, 0);
        self.then(Step::XtMatch { name: "mark", revision: 1, info })
    }

    /// An iptables comment, as iptables-nft writes and shows it (`-m comment --comment TEXT`): at most 255 bytes.
    #[must_use]
    pub fn xt_comment(self, text: &str) -> Self {
        // `struct xt_comment_info`.
        let mut info = text.as_bytes().to_vec();
        info.resize(XT_COMMENT_BYTES, 0);
        self.then(Step::XtMatch { name: "comment", revision: 0, info })
    }

    /// Counts what comes this far: `counter`.
    #[must_use]
    pub fn counter(self) -> Self {
        self.then(Step::Counter)
    }

    /// Ends with this verdict.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.then(Step::Verdict(verdict))
    }

    /// Jumps to this chain.
    #[must_use]
    pub fn jump(self, chain: impl Into<String>) -> Self {
        self.verdict(Verdict::Jump(chain.into()))
    }

    /// Does what the map of verdicts says for the properties: `ip saddr vmap @subnets`.
    #[must_use]
    pub fn verdict_by_map(self, loads: &[Load], map: impl Into<String>) -> Self {
        self.then(Step::VerdictMap { loads: loads.to_vec(), map: map.into() })
    }

    /// Sends the connection to the address and port that the map has for the properties:
    /// `dnat ip to meta l4proto . th dport map @published4`. `family` is that of the addresses.
    #[must_use]
    pub fn dnat_by_map(self, family: Family, loads: &[Load], map: impl Into<String>) -> Self {
        self.then(Step::DnatByMap { family, loads: loads.to_vec(), map: map.into() })
    }

    /// Gives the connection the address of the interface that it leaves by: `masquerade`.
    #[must_use]
    pub fn masquerade(self) -> Self {
        self.then(Step::Masquerade { fully_random: false })
    }

    /// The same with ports chosen at random: `masquerade fully-random`. Connections that begin at once do not then fight
    /// for a port.
    #[must_use]
    pub fn masquerade_fully_random(self) -> Self {
        self.then(Step::Masquerade { fully_random: true })
    }

    /// A comment of at most [`COMMENT_BYTES`](super::COMMENT_BYTES), which `nft` shows.
    #[must_use]
    pub fn comment(mut self, text: impl Into<String>) -> Self {
        self.comment = Some(text.into());
        self
    }

    pub(super) fn comment_text(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(super) fn encode(&self, family: Family, a: &mut Attributes) {
        a.nest(NFTA_RULE_EXPRESSIONS, |list| self.encode_expressions(family, list));
        if let Some(comment) = &self.comment {
            a.bytes(NFTA_RULE_USERDATA, &userdata::comment(comment));
        }
    }

    pub(super) fn encode_expressions(&self, family: Family, list: &mut Attributes) {
        let mut encoder = Encoder::new(family, list);
        self.steps.iter().for_each(|step| encoder.step(step));
    }
}

const fn source(network: IpNet) -> Load {
    match network {
        IpNet::V4(_) => Load::IpSaddr,
        IpNet::V6(_) => Load::Ip6Saddr,
    }
}

const fn destination(network: IpNet) -> Load {
    match network {
        IpNet::V4(_) => Load::IpDaddr,
        IpNet::V6(_) => Load::Ip6Daddr,
    }
}

/// One expression of a rule of the kernel.
#[derive(Clone, PartialEq, Eq)]
pub struct Expression {
    /// `meta`, `payload`, `cmp`, `lookup`, `immediate`, …
    pub name: String,
    /// Its attributes as the kernel sent them.
    pub attributes: Vec<u8>,
}

impl Expression {
    /// The verdict, if it is one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        (self.name == "immediate").then(|| Verdict::decode(find(&self.attributes, NFTA_IMMEDIATE_DATA)?))?
    }

    /// The set or map that it looks into, if it does.
    #[must_use]
    pub fn looks_into(&self) -> Option<String> {
        (self.name == "lookup").then(|| find(&self.attributes, NFTA_LOOKUP_SET).map(text))?
    }

    /// The constant that it compares with (`cmp`) or puts into a register (`immediate`): bytes as packets have them.
    #[must_use]
    pub fn constant(&self) -> Option<&[u8]> {
        let data = match self.name.as_str() {
            "cmp" => find(&self.attributes, NFTA_CMP_DATA)?,
            "immediate" => find(&self.attributes, NFTA_IMMEDIATE_DATA)?,
            _ => return None,
        };
        find(data, NFTA_DATA_VALUE)
    }

    /// The iptables comment that it is (`-m comment`), if it is one.
    #[must_use]
    pub fn xt_comment(&self) -> Option<String> {
        let is_comment = self.name == "match" && text(find(&self.attributes, NFTA_MATCH_NAME)?) == "comment";
        is_comment.then(|| find(&self.attributes, NFTA_MATCH_INFO).map(text))?
    }

    pub(super) fn decode_all(list: &[u8]) -> Vec<Self> {
        let decode = |(_, element)| {
            let name = find(element, NFTA_EXPR_NAME).map(text)?;
            Some(Self { name, attributes: find(element, NFTA_EXPR_DATA).unwrap_or_default().to_vec() })
        };
        attributes(list).filter_map(decode).collect()
    }

    /// Whether both do the same: what counts packets, and what the kernel adds of itself, does not matter.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.verdict() == other.verdict() && self.essence().eq(other.essence())
    }

    fn essence(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let ignored: &[u16] = match self.name.as_str() {
            "nat" => &[NFTA_NAT_REG_ADDR_MAX, NFTA_NAT_REG_PROTO_MAX, NFTA_NAT_FLAGS],
            "lookup" => &[NFTA_LOOKUP_SET_ID],
            "bitwise" => &[NFTA_BITWISE_OP],
            "counter" => &[NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS, NFTA_COUNTER_PAD],
            "immediate" => &[NFTA_IMMEDIATE_DATA],
            _ => &[],
        };
        // Without flags is with none.
        let no_flags = |kind, value: &[u8]| {
            self.name == "lookup" && kind == NFTA_LOOKUP_FLAGS && value.iter().all(|byte| *byte == 0)
        };
        let mut all: Vec<_> = attributes(&self.attributes)
            .filter(|(kind, value)| !ignored.contains(kind) && !no_flags(*kind, value))
            .collect();
        all.sort_unstable();
        all.into_iter()
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        f.debug_list().entries(self.essence()).finish()
    }
}

/// A rule of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleEntry {
    /// The chain that it stands in.
    pub chain: String,
    /// The kernel's number for it, by which it is removed.
    pub handle: u64,
    /// Its comment.
    pub comment: Option<String>,
    /// What it consists of.
    pub expressions: Vec<Expression>,
}

impl RuleEntry {
    /// What it ends with, if that is a verdict.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.expressions.last().and_then(Expression::verdict)
    }

    /// Whether it drops or rejects every packet, whatever it is.
    #[must_use]
    pub fn drops_all(&self) -> bool {
        let has_no_condition = |e: &Expression| matches!(e.name.as_str(), "counter" | "log" | "reject" | "immediate");
        self.expressions.iter().all(has_no_condition)
            && (self.verdict() == Some(Verdict::Drop) || self.expressions.iter().any(|e| e.name == "reject"))
    }

    /// Whether something is compared with this constant: bytes as packets have them.
    #[must_use]
    pub fn compares_with(&self, constant: &[u8]) -> bool {
        self.expressions.iter().any(|e| e.name == "cmp" && e.constant() == Some(constant))
    }

    /// Whether it does the same as `rule` would in a table of this family. Comments and counts are not compared.
    #[must_use]
    pub fn is_like(&self, family: Family, rule: &Rule) -> bool {
        let mut list = Attributes::new();
        rule.encode_expressions(family, &mut list);
        let wanted = Expression::decode_all(list.as_bytes());
        wanted.len() == self.expressions.len() && wanted.iter().zip(&self.expressions).all(|(a, b)| a.is_same(b))
    }

    /// From the attributes of a NEWRULE message; `None` if it is of another table or chain.
    pub(super) fn decode(table: &str, chain: &str, payload: &[u8]) -> Option<Self> {
        Self::decode_any(payload).filter(|(of, rule)| of == table && rule.chain == chain).map(|(_, rule)| rule)
    }

    /// From the attributes of a NEWRULE message, with the name of its table; `None` if it makes no sense.
    pub(super) fn decode_any(payload: &[u8]) -> Option<(String, Self)> {
        let rule = Self {
            chain: find(payload, NFTA_RULE_CHAIN).map(text)?,
            handle: be64(find(payload, NFTA_RULE_HANDLE)?)?,
            comment: find(payload, NFTA_RULE_USERDATA).and_then(userdata::read_comment),
            expressions: Expression::decode_all(find(payload, NFTA_RULE_EXPRESSIONS).unwrap_or_default()),
        };
        Some((find(payload, NFTA_RULE_TABLE).map(text)?, rule))
    }
}
