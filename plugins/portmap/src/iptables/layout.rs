//! The chains and rules of the Go plugin's layout, written and read.

use std::net::SocketAddr;

use ipnet::IpNet;
use libcni::names::{ContainerId, NetworkName};
use linuxnet::iptables::{Batch, Family, Rule, Table};
use linuxnet::tag::Valid;

use super::chain_of;
use crate::conf::{Conf, Mark};
use crate::container::Container;
use crate::mapping::{Binding, HostPort, Mapping, Protocol, unspecified_like};

/// Jumps by port to the chains of attachments.
pub(super) const DNAT: &str = "CNI-HOSTPORT-DNAT";
/// Sets the mark of packets that must be masqueraded.
const SETMARK: &str = "CNI-HOSTPORT-SETMARK";
/// Masquerades marked packets.
const MASQ: &str = "CNI-HOSTPORT-MASQ";

/// How many ports the match multiport takes (`XT_MULTI_PORTS`).
const PORTS_PER_RULE: usize = 15;
/// The longest comment, in bytes (`XT_MAX_COMMENT_LEN` less the terminating zero).
const COMMENT_MAX: usize = 255;

/// The comment of an attachment's jumps: `dnat name: "<network>" id: "<container id>"`. Beyond 255 bytes the reference
/// keeps 253 and adds three dots, of which iptables keeps two.
fn comment_of(network: &NetworkName, container_id: &ContainerId) -> String {
    let mut comment = format!("dnat name: \"{network}\" id: \"{container_id}\"");
    if comment.len() > COMMENT_MAX {
        comment.truncate(COMMENT_MAX - 2);
        comment.push_str("..");
    }
    comment
}

/// The network and the container ID in such a comment, as far as they were kept.
pub(super) fn read_comment(comment: &str) -> Option<(String, String)> {
    let (network, rest) = comment.strip_prefix("dnat name: \"")?.split_once("\" id: \"")?;
    Some((network.to_owned(), rest.strip_suffix('"').unwrap_or(rest).to_owned()))
}

/// The chains of this network's attachments that are not valid. A container with one valid attachment keeps its chain:
/// it has one for all interfaces.
pub(super) fn stale_chains(table: &Table, valid: &Valid) -> Vec<String> {
    let keep: Vec<String> = valid.ids().iter().map(|id| comment_of(valid.network(), &id.container_id)).collect();
    let of_network = format!("dnat name: \"{}\" id: \"", valid.network());
    let is_stale = |comment: &str| comment.starts_with(&of_network) && !keep.iter().any(|kept| kept == comment);
    let mut chains: Vec<String> = table
        .rules_of(DNAT)
        .filter(|jump| jump.comment().is_some_and(is_stale))
        .filter_map(|jump| jump.target().map(str::to_owned))
        .collect();
    chains.dedup();
    chains
}

/// The mapping of a rule `-p tcp --dport 8080 [-d A] -j DNAT --to-destination B:Q`; `None` for other rules.
pub(super) fn read_binding(rule: &Rule, family: Family) -> Option<Binding> {
    let target: SocketAddr = rule.option("--to-destination")?.parse().ok()?;
    if Family::of(target.ip()) != family {
        return None;
    }
    let ip = match rule.option("-d") {
        Some(net) => net.parse::<IpNet>().ok()?.addr(),
        None => unspecified_like(target.ip()),
    };
    let protocol = Protocol::from_config(rule.option("-p")?)?;
    Some(Binding { host: HostPort { protocol, ip, port: rule.option("--dport")?.parse().ok()? }, target })
}

/// What an attachment has in the table nat of one address family.
#[derive(Debug)]
pub(crate) struct Layout<'c> {
    conf: &'c Conf,
    /// The container's address with its subnet.
    address: IpNet,
    chain: String,
    comment: String,
    bindings: Vec<Binding>,
}

impl<'c> Layout<'c> {
    /// `bindings` of other addresses are left out.
    pub(super) fn new(container: &Container, address: IpNet, conf: &'c Conf, bindings: &[Binding]) -> Self {
        let id = &container.id.container_id;
        Self {
            conf,
            address,
            chain: chain_of(&container.network, id),
            comment: comment_of(&container.network, id),
            bindings: bindings.iter().filter(|b| b.target.ip() == address.addr()).copied().collect(),
        }
    }

    pub(super) fn chain(&self) -> &str {
        &self.chain
    }

    /// Whether we mark and masquerade ourselves, and by which bit.
    fn mark_value(&self) -> Option<String> {
        match (&self.conf.mark, self.conf.snat) {
            (Mark::Bit(bit), true) => Some(format!("0x{:x}/0x{:x}", 1_u32 << bit, 1_u32 << bit)),
            (Mark::Bit(_) | Mark::External(_), _) => None,
        }
    }

    fn mark_chain(&self) -> Option<&str> {
        match &self.conf.mark {
            _ if !self.conf.snat => None,
            Mark::Bit(_) => Some(SETMARK),
            Mark::External(chain) => Some(chain),
        }
    }

    /// What makes the table as it should be. The attachment's chain is made anew, and its jumps come before all others:
    /// what somebody left there cannot hide them.
    pub(super) fn batch(&self, table: &Table) -> Batch {
        let mut batch = Batch::default();
        self.shared_chains(table, &mut batch);
        for jump in table.rules_of(DNAT).filter(|jump| jump.target() == Some(&self.chain)) {
            batch.delete(jump);
        }
        batch.reset_chain(&self.chain);
        for words in self.rules() {
            batch.append(&self.chain, words.iter().map(String::as_str));
        }
        for words in self.jumps().iter().rev() {
            batch.insert(DNAT, words.iter().map(String::as_str));
        }
        batch
    }

    /// Adds what all attachments share and the table lacks.
    fn shared_chains(&self, table: &Table, batch: &mut Batch) {
        let leads = |from: &str, to: &str| table.rules_of(from).any(|rule| rule.target() == Some(to));
        if let Some(value) = self.mark_value() {
            for chain in [SETMARK, MASQ].into_iter().filter(|chain| !table.has_chain(chain)) {
                batch.reset_chain(chain);
            }
            if !table.rules_of(SETMARK).any(|rule| rule.option("--set-xmark") == Some(&value)) {
                let words =
                    ["-m", "comment", "--comment", "CNI portfwd masquerade mark", "-j", "MARK", "--set-xmark", &value];
                batch.append(SETMARK, words);
            }
            if !table.rules_of(MASQ).any(|rule| rule.option("--mark") == Some(&value)) {
                batch.append(MASQ, ["-m", "mark", "--mark", &value, "-j", "MASQUERADE"]);
            }
            if !leads("POSTROUTING", MASQ) {
                let words = ["-m", "comment", "--comment", "CNI portfwd requiring masquerade", "-j", MASQ];
                batch.insert("POSTROUTING", words);
            }
        }
        if !table.has_chain(DNAT) {
            batch.reset_chain(DNAT);
        }
        for hook in ["PREROUTING", "OUTPUT"].into_iter().filter(|hook| !leads(hook, DNAT)) {
            batch.append(hook, ["-m", "addrtype", "--dst-type", "LOCAL", "-j", DNAT]);
        }
    }

    /// The rules of the attachment's chain: for each mapping those that mark, then the one that translates.
    fn rules(&self) -> Vec<Vec<String>> {
        self.bindings.iter().flat_map(|binding| self.rules_of(binding)).collect()
    }

    fn rules_of(&self, binding: &Binding) -> Vec<Vec<String>> {
        let mut base = vec!["-p".to_owned(), binding.host.protocol.as_str().to_owned()];
        base.extend(["--dport".to_owned(), binding.host.port.to_string()]);
        if let Some(ip) = binding.host.specific_ip() {
            base.extend(["-d".to_owned(), ip.to_string()]);
        }
        let with = |words: [&str; 4]| base.iter().cloned().chain(words.map(str::to_owned)).collect::<Vec<_>>();
        let mut rules = Vec::new();
        if let Some(mark) = self.mark_chain() {
            rules.extend(self.masqueraded_sources().iter().map(|source| with(["-s", source, "-j", mark])));
        }
        rules.push(with(["-j", "DNAT", "--to-destination", &binding.target.to_string()]));
        rules
    }

    /// Whose connections are masqueraded: everybody's, or those of the container's subnet and of 127.0.0.1.
    fn masqueraded_sources(&self) -> Vec<String> {
        match (self.conf.masq_all, self.address) {
            (true, IpNet::V4(_)) => vec!["0.0.0.0/0".to_owned()],
            (true, IpNet::V6(_)) => vec!["::/0".to_owned()],
            (false, IpNet::V4(net)) => vec![net.trunc().to_string(), "127.0.0.1".to_owned()],
            (false, IpNet::V6(net)) => vec![net.trunc().to_string()],
        }
    }

    /// The jumps to the attachment's chain: of each protocol up to 15 ports a rule.
    fn jumps(&self) -> Vec<Vec<String>> {
        let conditions = self.conf.conditions.of(self.address.addr());
        let mut jumps = Vec::new();
        for protocol in [Protocol::Sctp, Protocol::Tcp, Protocol::Udp] {
            let of_protocol: Vec<&Mapping> = self.conf.mappings.iter().filter(|m| m.protocol == protocol).collect();
            for group in of_protocol.chunks(PORTS_PER_RULE) {
                let ports = group.iter().map(|mapping| mapping.host_port.to_string()).collect::<Vec<_>>().join(",");
                let words = ["-m", "comment", "--comment", &self.comment, "-m", "multiport", "-p", protocol.as_str()];
                let words = words.into_iter().chain(["--destination-ports", &ports]);
                let words = words.chain(conditions.iter().map(String::as_str)).chain(["-j", &self.chain]);
                jumps.push(words.map(str::to_owned).collect());
            }
        }
        jumps
    }

    /// What the table lacks of it.
    pub(super) fn differences(&self, table: &Table) -> Vec<String> {
        if !table.has_chain(&self.chain) {
            return vec![format!("chain {} not found in iptables table nat", self.chain)];
        }
        let family = Family::of(self.address.addr());
        let mut differences = Vec::new();
        for hook in ["PREROUTING", "OUTPUT"] {
            if !table.rules_of(hook).any(|rule| rule.target() == Some(DNAT)) {
                differences.push(format!("no jump from {hook} to {DNAT}"));
            }
        }
        for binding in &self.bindings {
            let Binding { host, target } = binding;
            if !table.rules_of(&self.chain).any(|rule| read_binding(rule, family) == Some(*binding)) {
                differences.push(format!("no rule from {host} to {target} in chain {}", self.chain));
            }
            if !self.is_jumped_to(table, host) {
                differences.push(format!("no jump from {DNAT} to chain {} for {host}", self.chain));
            }
            differences.extend(self.missing_marks(table, host));
        }
        differences
    }

    fn is_jumped_to(&self, table: &Table, host: &HostPort) -> bool {
        let port = host.port.to_string();
        table.rules_of(DNAT).filter(|jump| jump.target() == Some(&self.chain)).any(|jump| {
            jump.option("-p").and_then(Protocol::from_config) == Some(host.protocol)
                && jump.option("--dports").is_some_and(|ports| ports.split(',').any(|p| p == port))
        })
    }

    fn missing_marks(&self, table: &Table, host: &HostPort) -> Vec<String> {
        let Some(mark) = self.mark_chain() else { return Vec::new() };
        let port = host.port.to_string();
        let marks = |source: &str| {
            // iptables-save leaves out what means everything, and shows a length with every address.
            let source = Some(source)
                .filter(|s| !s.ends_with("/0"))
                .map(|s| s.parse::<IpNet>().map_or(format!("{s}/32"), |n| n.to_string()));
            table.rules_of(&self.chain).any(|rule| {
                rule.target() == Some(mark)
                    && rule.option("--dport") == Some(&port)
                    && rule.option("-s") == source.as_deref()
            })
        };
        let missing = self.masqueraded_sources().into_iter().filter(|source| !marks(source));
        missing.map(|source| format!("no rule that marks {host} from {source} in chain {}", self.chain)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Conf;
    use crate::container::Reach;
    use crate::mapping::bindings;
    use libcni::types::AttachmentId;
    use linuxnet::tag::Tag;
    use serde_json::{Value, json};

    const V4: &str = "10.1.0.2/16";
    const V6: &str = "fd00::2/64";

    fn container(addresses: &[&str]) -> Container {
        let network: NetworkName = "net".parse().unwrap();
        let id = AttachmentId { container_id: "c1".parse().unwrap(), ifname: "eth0".parse().unwrap() };
        let reaches = addresses.iter().map(|a| Reach { address: a.parse().unwrap(), link: None }).collect();
        Container { tag: Tag::new(&network, &id), network, id, reaches }
    }

    /// What is written for this configuration and address into this table.
    fn written(config: &Value, address: &str, table: &Table) -> String {
        let conf = Conf::from_value(config).unwrap();
        let container = container(&[address]);
        let address: IpNet = address.parse().unwrap();
        let bindings = bindings(&conf.mappings, [address.addr()]);
        Layout::new(&container, address, &conf, &bindings).batch(table).text("nat")
    }

    fn config(mappings: Value, settings: Value) -> Value {
        let mut config = settings;
        config["runtimeConfig"] = json!({"portMappings": mappings});
        config
    }

    fn mappings() -> Value {
        json!([
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"},
            {"hostPort": 8443, "containerPort": 443, "protocol": "tcp", "hostIP": "::"},
        ])
    }

    #[test]
    fn an_empty_table_gets_all_of_it() {
        let empty = Table::default();
        let plain = config(mappings(), json!({}));
        assert_eq!(written(&plain, V4, &empty), include_str!("../../tests/fixtures/restore-v4.txt"));
        assert_eq!(written(&plain, V6, &empty), include_str!("../../tests/fixtures/restore-v6.txt"));
        let marked = json!({
            "masqAll": true, "externalSetMarkChain": "KUBE-MARK-MASQ", "conditionsV4": ["!", "-s", "192.0.2.9"]
        });
        let marked = config(mappings(), marked);
        assert_eq!(written(&marked, V4, &empty), include_str!("../../tests/fixtures/restore-external-mark.txt"));
    }

    /// What iptables-save prints after the reference's ADD of tcp 8080 and udp 5353.
    fn saved() -> Table {
        Table::parse(include_str!("../../tests/fixtures/iptables-save-1.8.9-go-portmap.txt"))
    }

    #[test]
    fn a_table_that_has_it_gets_the_attachments_part_anew() {
        let again = config(mappings(), json!({"markMasqBit": 5}));
        assert_eq!(written(&again, V4, &saved()), include_str!("../../tests/fixtures/restore-again.txt"));
    }

    #[test]
    fn the_references_rules_are_read() {
        let bindings: Vec<String> = saved()
            .rules()
            .filter_map(|rule| read_binding(rule, Family::V4))
            .map(|b| format!("{} -> {}", b.host, b.target))
            .collect();
        assert_eq!(bindings, ["tcp 0.0.0.0:8080 -> 10.1.0.2:80", "udp 192.0.2.1:5353 -> 10.1.0.2:53"]);
        let jump = saved().rules_of(DNAT).next().unwrap().comment().and_then(read_comment);
        assert_eq!(jump, Some(("net".to_owned(), "c1".to_owned())));
    }

    #[test]
    fn what_is_missing_is_told() {
        let differences = |config: &Value, table: &Table| {
            let conf = Conf::from_value(config).unwrap();
            let address: IpNet = V4.parse().unwrap();
            let bindings = bindings(&conf.mappings, [address.addr()]);
            Layout::new(&container(&[V4]), address, &conf, &bindings).differences(table)
        };
        assert_eq!(differences(&config(mappings(), json!({})), &saved()), Vec::<String>::new());
        let other = json!([{"hostPort": 8081, "containerPort": 80, "protocol": "tcp"}]);
        assert_eq!(
            differences(&config(other, json!({"snat": false})), &saved()),
            [
                "no rule from tcp 0.0.0.0:8081 to 10.1.0.2:80 in chain CNI-DN-623e1c388032b20529218",
                "no jump from CNI-HOSTPORT-DNAT to chain CNI-DN-623e1c388032b20529218 for tcp 0.0.0.0:8081",
            ]
        );
        assert_eq!(
            differences(&config(mappings(), json!({"masqAll": true})), &saved()).len(),
            2,
            "each mapping lacks the mark for all"
        );
        assert!(differences(&config(mappings(), json!({})), &Table::default())[0].contains("not found in iptables"));
    }

    #[test]
    fn stale_chains_are_of_this_network_and_of_no_valid_container() {
        let id = |container_id: &str| AttachmentId {
            container_id: container_id.parse().unwrap(),
            ifname: "eth9".parse().unwrap(),
        };
        let stale = |network: &str, valid: &[AttachmentId]| {
            stale_chains(&saved(), &Valid::new(&network.parse().unwrap(), valid))
        };
        assert_eq!(stale("net", &[id("c2")]), ["CNI-DN-623e1c388032b20529218"]);
        assert!(stale("net", &[id("c1")]).is_empty(), "one interface is enough");
        assert!(stale("ne", &[]).is_empty() && stale("net2", &[]).is_empty());
    }

    #[test]
    fn long_comments_are_cut_as_the_reference_cuts_them() {
        let comment = comment_of(&"net".parse().unwrap(), &"c".repeat(300).parse().unwrap());
        assert_eq!(comment.len(), 255);
        assert!(comment.ends_with("c.."));
        assert_eq!(read_comment(&comment).unwrap().0, "net");
    }
}
