//! From the steps of a rule to the kernel's expressions: registers, masks, and the checks that a step implies.

use ipnet::IpNet;

use super::Family;
use super::abi::*;
use super::load::{Load, Network};
use super::rule::Verdict;
use super::value::REGISTER_BYTES;
use crate::nl::Attributes;

/// A condition or an action of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Compare { load: Load, value: Vec<u8>, negated: bool },
    Network { load: Load, network: IpNet, negated: bool },
    Lookup { loads: Vec<Load>, set: String, negated: bool },
    VerdictMap { loads: Vec<Load>, map: String },
    DnatByMap { family: Family, loads: Vec<Load>, map: String },
    WasDnat,
    IsAnswer,
    HasMark { mask: u32, value: u32 },
    SetMark { mask: u32, value: u32 },
    XtMatch { name: &'static str, revision: u32, info: Vec<u8> },
    Counter,
    Masquerade { fully_random: bool },
    Verdict(Verdict),
}

/// The kernel has 16 registers of 32 bits. Every fourth has a name of its own, from the time when registers had 128
/// bits; the kernel itself uses these names in dumps, and so do we.
fn register(word: usize) -> u32 {
    let word = u32::try_from(word).unwrap_or_default();
    if word % 4 == 0 { NFT_REG_1 + word / 4 } else { NFT_REG32_00 + word }
}

/// Writes expressions into a rule's list of them.
pub(super) struct Encoder<'a> {
    family: Family,
    list: &'a mut Attributes,
    /// The IP version that the rule is certain of.
    network: Option<Network>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(family: Family, list: &'a mut Attributes) -> Self {
        let network = match family {
            Family::Ipv4 => Some(Network::V4),
            Family::Ipv6 => Some(Network::V6),
            Family::Inet | Family::Bridge | Family::Arp | Family::Netdev => None,
        };
        Self { family, list, network }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Compare { load, value, negated } => {
                self.load(*load, 0, load.size());
                self.compare(value, *negated);
            }
            Step::Network { load, network, negated } => self.network(*load, *network, *negated),
            Step::Lookup { loads, set, negated } => {
                self.load_all(loads);
                self.lookup(set, None, *negated);
            }
            Step::VerdictMap { loads, map } => {
                self.load_all(loads);
                self.lookup(map, Some(NFT_REG_VERDICT), false);
            }
            Step::DnatByMap { family, loads, map } => {
                self.load_all(loads);
                self.lookup(map, Some(register(0)), false);
                self.dnat(*family);
            }
            Step::WasDnat => self.connection(NFT_CT_STATUS, IPS_DST_NAT),
            Step::IsAnswer => self.connection(NFT_CT_STATE, CT_ESTABLISHED_RELATED),
            Step::HasMark { mask, value } => {
                self.load(Load::Mark, 0, Load::Mark.size());
                self.mask(&mask.to_ne_bytes(), &[0; 4]);
                self.compare(&value.to_ne_bytes(), false);
            }
            Step::SetMark { mask, value } => {
                self.load(Load::Mark, 0, Load::Mark.size());
                self.mask(&(!mask).to_ne_bytes(), &value.to_ne_bytes());
                self.expression("meta", |a| {
                    a.be32(NFTA_META_KEY, NFT_META_MARK).be32(NFTA_META_SREG, register(0));
                });
            }
            Step::XtMatch { name, revision, info } => self.expression("match", |a| {
                a.string(NFTA_MATCH_NAME, name).be32(NFTA_MATCH_REV, *revision).bytes(NFTA_MATCH_INFO, info);
            }),
            Step::Counter => self.expression("counter", |a| {
                a.be64(NFTA_COUNTER_BYTES, 0).be64(NFTA_COUNTER_PACKETS, 0);
            }),
            Step::Masquerade { fully_random } => self.expression("masq", |a| {
                if *fully_random {
                    a.be32(NFTA_MASQ_FLAGS, NAT_RANDOM_FULLY);
                }
            }),
            Step::Verdict(verdict) => self.expression("immediate", |a| {
                a.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT).nest(NFTA_IMMEDIATE_DATA, |d| verdict.encode(d));
            }),
        }
    }

    fn expression(&mut self, name: &str, attributes: impl FnOnce(&mut Attributes)) {
        self.list.nest(NFTA_LIST_ELEM, |element| {
            element.string(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, attributes);
        });
    }

    /// Loads a property into the register that starts at `word`, after making sure that the packet has it.
    fn load(&mut self, load: Load, word: usize, bytes: usize) {
        if let Some(needed) = load.needs()
            && self.network != Some(needed)
        {
            self.require(needed);
        }
        self.expression(load.expression(), |a| load.encode(register(word), bytes, a));
    }

    /// Loads the components of a concatenation, each into registers of its own, one after the other.
    fn load_all(&mut self, loads: &[Load]) {
        // First what makes the properties readable: its comparison uses the first register too.
        for needed in loads.iter().filter_map(|load| load.needs()) {
            if self.network != Some(needed) {
                self.require(needed);
            }
        }
        let mut word = 0;
        for load in loads {
            self.load(*load, word, load.size());
            word += load.size().div_ceil(REGISTER_BYTES);
        }
    }

    /// `meta nfproto ipv4`; in a bridge, `meta protocol ip`.
    fn require(&mut self, network: Network) {
        let (key, value): (u32, &[u8]) = match (self.family, network) {
            (Family::Bridge, Network::V4) => (NFT_META_PROTOCOL, &[0x08, 0x00]),
            (Family::Bridge, Network::V6) => (NFT_META_PROTOCOL, &[0x86, 0xdd]),
            (_, Network::V4) => (NFT_META_NFPROTO, &[Family::Ipv4.number()]),
            (_, Network::V6) => (NFT_META_NFPROTO, &[Family::Ipv6.number()]),
        };
        self.expression("meta", |a| {
            a.be32(NFTA_META_DREG, register(0)).be32(NFTA_META_KEY, key);
        });
        self.compare(value, false);
        self.network = Some(network);
    }

    /// Compares the first register.
    fn compare(&mut self, value: &[u8], negated: bool) {
        let operator = if negated { NFT_CMP_NEQ } else { NFT_CMP_EQ };
        self.expression("cmp", |a| {
            a.be32(NFTA_CMP_SREG, register(0)).be32(NFTA_CMP_OP, operator).nest(NFTA_CMP_DATA, |d| {
                d.bytes(NFTA_DATA_VALUE, value);
            });
        });
    }

    /// A prefix of whole bytes is compared as that many bytes; any other is masked out first. So does `nft`.
    fn network(&mut self, load: Load, network: IpNet, negated: bool) {
        let (address, mask) = match network {
            IpNet::V4(net) => (net.network().octets().to_vec(), net.netmask().octets().to_vec()),
            IpNet::V6(net) => (net.network().octets().to_vec(), net.netmask().octets().to_vec()),
        };
        let (bytes, bits) = (usize::from(network.prefix_len() / 8), network.prefix_len() % 8);
        match address.get(..bytes) {
            Some(prefix) if bits == 0 && bytes > 0 => {
                self.load(load, 0, bytes);
                self.compare(prefix, negated);
            }
            _ => {
                self.load(load, 0, load.size());
                self.mask(&mask, &vec![0; mask.len()]);
                self.compare(&address, negated);
            }
        }
    }

    /// Keeps only the bits of `mask` in the first register, then flips those of `flip`.
    fn mask(&mut self, mask: &[u8], flip: &[u8]) {
        self.expression("bitwise", |a| {
            a.be32(NFTA_BITWISE_SREG, register(0))
                .be32(NFTA_BITWISE_DREG, register(0))
                .be32(NFTA_BITWISE_LEN, u32::try_from(mask.len()).unwrap_or_default())
                .nest(NFTA_BITWISE_MASK, |d| {
                    d.bytes(NFTA_DATA_VALUE, mask);
                })
                .nest(NFTA_BITWISE_XOR, |d| {
                    d.bytes(NFTA_DATA_VALUE, flip);
                });
        });
    }

    /// Looks the first registers up; `into` is where a map's data goes.
    fn lookup(&mut self, set: &str, into: Option<u32>, negated: bool) {
        self.expression("lookup", |a| {
            a.string(NFTA_LOOKUP_SET, set).be32(NFTA_LOOKUP_SREG, register(0));
            if let Some(register) = into {
                a.be32(NFTA_LOOKUP_DREG, register);
            }
            a.be32(NFTA_LOOKUP_FLAGS, if negated { NFT_LOOKUP_F_INV } else { 0 });
        });
    }

    /// Sends the connection to the address in the first registers and the port after it.
    fn dnat(&mut self, family: Family) {
        let address = if family == Family::Ipv6 { 16 } else { 4 };
        self.expression("nat", |a| {
            a.be32(NFTA_NAT_TYPE, NFT_NAT_DNAT)
                .be32(NFTA_NAT_FAMILY, u32::from(family.number()))
                .be32(NFTA_NAT_REG_ADDR_MIN, register(0))
                .be32(NFTA_NAT_REG_PROTO_MIN, register(address / REGISTER_BYTES));
        });
    }

    /// Only if this property of the connection has one of these bits.
    fn connection(&mut self, key: u32, bits: u32) {
        self.expression("ct", |a| {
            a.be32(NFTA_CT_DREG, register(0)).be32(NFTA_CT_KEY, key);
        });
        self.mask(&bits.to_ne_bytes(), &[0; 4]);
        self.compare(&[0; 4], true);
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::AddrType;
    use super::super::rule::{Expression, Rule};
    use super::super::value::Field;
    use super::*;
    use crate::nl::find;

    /// Two rules of `tests/fixtures/nft-1.0.6-rules.hex`: the attributes of NEWRULE messages that nft 1.0.6 sent, taken with strace.
    const CAPTURED: &str = include_str!("../../tests/fixtures/nft-1.0.6-rules.hex");

    fn captured() -> Vec<Vec<Expression>> {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let message = |line: &str| line.as_bytes().chunks(2).map(byte).collect::<Vec<u8>>();
        let rules = CAPTURED.lines().filter(|line| !line.starts_with('#')).map(message);
        rules.map(|rule| Expression::decode_all(find(&rule, NFTA_RULE_EXPRESSIONS).unwrap())).collect()
    }

    #[test]
    fn rules_are_what_nft_sends() {
        let rules = [
            Rule::new().equals(Load::FibDaddrType, Field::AddrType(AddrType::Local)).dnat_by_map(
                Family::Ipv4,
                &[Load::L4Proto, Load::ThDport],
                "m",
            ),
            Rule::new()
                .source_in("10.1.0.0/16".parse().unwrap())
                .destination_not_in("224.0.0.0/4".parse().unwrap())
                .verdict(Verdict::Return),
        ];
        assert_eq!(captured().len(), rules.len());
        for (theirs, rule) in captured().iter().zip(&rules) {
            let mut list = Attributes::new();
            rule.encode_expressions(Family::Inet, &mut list);
            let ours = Expression::decode_all(list.as_bytes());
            assert_eq!(ours.len(), theirs.len());
            assert!(ours.iter().zip(theirs).all(|(a, b)| a.is_same(b)), "{ours:#?}\n{theirs:#?}");
        }
    }

    #[test]
    fn the_ip_version_is_made_sure_of_once_and_only_where_it_is_open() {
        let rule = Rule::new().source_in("10.0.0.0/8".parse().unwrap()).in_set(&[Load::IpDaddr, Load::Oifname], "s");
        let names = |family| {
            let mut list = Attributes::new();
            rule.encode_expressions(family, &mut list);
            Expression::decode_all(list.as_bytes()).into_iter().map(|e| e.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(Family::Inet), "meta cmp payload cmp payload meta lookup");
        assert_eq!(names(Family::Bridge), "meta cmp payload cmp payload meta lookup");
        assert_eq!(names(Family::Ipv4), "payload cmp payload meta lookup");
    }

    #[test]
    fn registers_have_the_kernels_names() {
        assert_eq!([0, 1, 3, 4, 5, 8, 15].map(register), [1, 9, 11, 2, 13, 3, 23]);
    }
}
