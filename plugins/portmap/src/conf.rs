//! The configuration of `portmap`: JSON in, checked values out.

use std::net::IpAddr;

use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use serde::Deserialize;

use crate::error::PortmapError;
use crate::mapping::{Mapping, Protocol};

/// The mark bit where the configuration names none: 0x2000.
const DEFAULT_MARK_BIT: u8 = 13;

/// The longest name of an iptables chain, in bytes (`XT_EXTENSION_MAXNAMELEN` less the terminating zero).
const CHAIN_NAME_MAX: usize = 28;

/// How packets are redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Elements of our nftables table, by nfnetlink.
    Nftables,
    /// The reference's chains, by iptables-restore.
    Iptables,
}

impl Backend {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }

    fn from_config(name: &str) -> Result<Option<Self>, FieldError> {
        match name {
            "" => Ok(None),
            "nftables" => Ok(Some(Self::Nftables)),
            "iptables" => Ok(Some(Self::Iptables)),
            other => Err(FieldError {
                path: "backend".to_owned(),
                problem: format!("unrecognized backend {other:?}, expected \"nftables\" or \"iptables\""),
            }),
        }
    }
}

/// How the iptables backend tells packets that must be masqueraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `markMasqBit`: by this bit of the packet mark, 0 to 31, which our own chains set and look for.
    Bit(u8),
    /// `externalSetMarkChain`: by what this chain of somebody else sets; they masquerade.
    External(String),
}

/// `conditionsV4` and `conditionsV6`: only packets that match these words are redirected. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    v4: Vec<String>,
    v6: Vec<String>,
}

impl Conditions {
    /// The first of the two that is not empty.
    pub(crate) fn first(&self) -> Option<&[String]> {
        [self.v4.as_slice(), self.v6.as_slice()].into_iter().find(|words| !words.is_empty())
    }

    /// Those for packets to a container's address.
    pub(crate) fn of(&self, container: IpAddr) -> &[String] {
        if container.is_ipv4() { &self.v4 } else { &self.v6 }
    }
}

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `backend`; `None`: nftables where the kernel has it. What only iptables can do chooses iptables.
    pub(crate) backend: Option<Backend>,
    /// `snat`: masquerade what could not be answered otherwise: the container's own connections to its host port, those
    /// of its neighbours, and those from 127.0.0.1.
    pub(crate) snat: bool,
    /// `masqAll`: masquerade every redirected connection.
    pub(crate) masq_all: bool,
    /// `markMasqBit` or `externalSetMarkChain`.
    pub(crate) mark: Mark,
    /// `conditionsV4` and `conditionsV6`.
    pub(crate) conditions: Conditions,
    /// `runtimeConfig.portMappings`, without repetitions.
    pub(crate) mappings: Vec<Mapping>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// How packets are redirected: "nftables" or "iptables"; none for what this host has.
    #[cfg_attr(test, schemars(extend("enum" = ["", "nftables", "iptables"])))]
    backend: String,
    /// Masquerade what could not be answered otherwise: the container's own connections to its host port, those of
    /// its neighbours, and those from 127.0.0.1.
    snat: bool,
    /// Masquerade every redirected connection.
    masq_all: bool,
    /// The bit of the packet mark that packets to be masqueraded get, with iptables. Not with `externalSetMarkChain`.
    #[cfg_attr(test, schemars(range(min = 0, max = 31), extend("default" = DEFAULT_MARK_BIT)))]
    mark_masq_bit: Option<i64>,
    /// A chain of somebody else that marks packets, and who masquerades them then; with iptables.
    #[cfg_attr(test, schemars(length(max = 28)))]
    external_set_mark_chain: String,
    /// Words of a rule: only IPv4 packets that match are redirected.
    #[serde(rename = "conditionsV4")]
    conditions_v4: Vec<String>,
    /// Words of a rule: only IPv6 packets that match are redirected.
    #[serde(rename = "conditionsV6")]
    conditions_v6: Vec<String>,
    /// What the runtime says.
    runtime_config: WireRuntime,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            backend: String::new(),
            snat: true,
            masq_all: false,
            mark_masq_bit: None,
            external_set_mark_chain: String::new(),
            conditions_v4: Vec::new(),
            conditions_v6: Vec::new(),
            runtime_config: WireRuntime::default(),
        }
    }
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireRuntime {
    /// The published ports (capability `portMappings`).
    port_mappings: Vec<WireMapping>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireMapping {
    /// The port of the host.
    #[cfg_attr(test, schemars(range(min = 0, max = 65535)))]
    host_port: i64,
    /// The port of the container.
    #[cfg_attr(test, schemars(range(min = 0, max = 65535)))]
    container_port: i64,
    /// "tcp", "udp" or "sctp".
    protocol: String,
    /// Only packets to this address of the host; none for all.
    #[cfg_attr(test, schemars(schema_with = "schemas::ip"))]
    #[serde(rename = "hostIP")]
    host_ip: String,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, PortmapError> {
        let wire: Wire = call.config.decode()?;
        Self::check(&wire).map_err(|fault| PortmapError::Config(ConfigError::Field(fault)))
    }

    /// As [`Conf::load`] for DEL: what ADD would refuse was never made, so it is no fault here. Only JSON of the wrong
    /// type is.
    pub(crate) fn load_lenient(call: &Call<'_>) -> Result<Option<Self>, PortmapError> {
        let wire: Wire = call.config.decode()?;
        Ok(Self::check(&wire).ok())
    }

    #[cfg(test)]
    pub(crate) fn from_value(value: &serde_json::Value) -> Result<Self, FieldError> {
        libcni::json::decode(value).and_then(|wire: Wire| Self::check(&wire))
    }

    fn check(wire: &Wire) -> Result<Self, FieldError> {
        let backend = Backend::from_config(&wire.backend)?;
        let conditions = Conditions {
            v4: conditions("conditionsV4", &wire.conditions_v4)?,
            v6: conditions("conditionsV6", &wire.conditions_v6)?,
        };
        let mark = mark(wire.mark_masq_bit, &wire.external_set_mark_chain)?;
        let backend = backend_for(backend, &mark, &conditions)?;
        let mappings = mappings(&wire.runtime_config.port_mappings)
            .map_err(|fault| fault.within("portMappings").within("runtimeConfig"))?;
        Ok(Self { backend, snat: wire.snat, masq_all: wire.masq_all, mark, conditions, mappings })
    }
}

fn conditions(path: &str, words: &[String]) -> Result<Vec<String>, FieldError> {
    // The words become part of a command for nft or iptables-restore; they must not end it.
    let ends_command = |c: char| c.is_control() || matches!(c, ';' | '#');
    match words.iter().position(|word| word.contains(ends_command)) {
        Some(at) => Err(FieldError::new(
            format!("{path}[{at}]"),
            format_args!("{:?}", words.get(at).map_or("", String::as_str)),
            "a condition without ; # and control characters",
        )),
        None if words.iter().all(String::is_empty) => Ok(Vec::new()),
        None => Ok(words.to_vec()),
    }
}

fn mark(bit: Option<i64>, external: &str) -> Result<Mark, FieldError> {
    let fault = |path: &str, problem: String| Err(FieldError { path: path.to_owned(), problem });
    let has_bad = |c: char| c.is_control() || c.is_whitespace();
    match bit {
        Some(_) if !external.is_empty() => fault(
            "externalSetMarkChain",
            "Cannot specify externalSetMarkChain and markMasqBit (hint: remove one of the two)".to_owned(),
        ),
        None if external.len() > CHAIN_NAME_MAX || external.contains(has_bad) => fault(
            "externalSetMarkChain",
            format!(
                "invalid value {external:?}, expected the name of an iptables chain, 1 to {CHAIN_NAME_MAX} characters"
            ),
        ),
        None if !external.is_empty() => Ok(Mark::External(external.to_owned())),
        None => Ok(Mark::Bit(DEFAULT_MARK_BIT)),
        Some(bit) => match u8::try_from(bit) {
            Ok(bit @ 0..=31) => Ok(Mark::Bit(bit)),
            _ => fault("markMasqBit", format!("MasqMarkBit must be between 0 and 31, not {bit}")),
        },
    }
}

/// The backend that the conditions are written for: iptables' begin with an option or `!`, nftables' never do.
fn language_of(words: &[String]) -> Option<Backend> {
    match words.first()?.chars().next()? {
        '-' | '!' => Some(Backend::Iptables),
        _ => Some(Backend::Nftables),
    }
}

/// The backend asked for, or the one that the other options are for; an error if these disagree.
fn backend_for(asked: Option<Backend>, mark: &Mark, conditions: &Conditions) -> Result<Option<Backend>, FieldError> {
    let external = matches!(mark, Mark::External(_)).then_some(Backend::Iptables);
    let options = [
        ("externalSetMarkChain", external),
        ("conditionsV4", language_of(&conditions.v4)),
        ("conditionsV6", language_of(&conditions.v6)),
    ];
    let backend = asked.or_else(|| options.iter().find_map(|(_, backend)| *backend));
    let against: Vec<&str> =
        options.iter().filter(|(_, option)| option.is_some() && *option != backend).map(|(name, _)| *name).collect();
    let Some(backend) = backend.filter(|_| !against.is_empty()) else { return Ok(backend) };
    let other = match backend {
        Backend::Nftables => Backend::Iptables,
        Backend::Iptables => Backend::Nftables,
    };
    Err(FieldError {
        path: "backend".to_owned(),
        problem: format!(
            "{} backend was requested but configuration contains {}-specific options [{}]",
            backend.as_str(),
            other.as_str(),
            against.join(" ")
        ),
    })
}

fn mappings(wire: &[WireMapping]) -> Result<Vec<Mapping>, FieldError> {
    let mut mappings: Vec<Mapping> = Vec::with_capacity(wire.len());
    for (i, item) in wire.iter().enumerate() {
        let mapping = mapping(item).map_err(|fault| fault.within(&format!("[{i}]")))?;
        match mappings.iter().find(|earlier| earlier.is_same_host_port(&mapping)) {
            Some(earlier) if *earlier == mapping => {}
            Some(earlier) if earlier.container_port != mapping.container_port => {
                return Err(FieldError::new(
                    format!("[{i}].hostPort"),
                    mapping.host_port,
                    format_args!("a port that is not published already, to container port {}", earlier.container_port),
                ));
            }
            Some(_) | None => mappings.push(mapping),
        }
    }
    Ok(mappings)
}

fn mapping(wire: &WireMapping) -> Result<Mapping, FieldError> {
    Ok(Mapping {
        container_port: port("containerPort", "container", wire.container_port)?,
        host_port: port("hostPort", "host", wire.host_port)?,
        protocol: Protocol::from_config(&wire.protocol)
            .ok_or_else(|| FieldError::new("protocol", format_args!("{:?}", wire.protocol), "tcp, udp or sctp"))?,
        host_ip: host_ip(&wire.host_ip)?,
    })
}

fn port(key: &str, which: &str, number: i64) -> Result<u16, FieldError> {
    match u16::try_from(number) {
        Ok(port @ 1..) => Ok(port),
        _ => Err(FieldError {
            path: key.to_owned(),
            problem: format!("Invalid {which} port number: {number}, expected 1 to 65535"),
        }),
    }
}

/// An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address, as for the reference.
fn host_ip(text: &str) -> Result<Option<IpAddr>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(Some(address.to_canonical())),
        Err(_) => Err(FieldError::new("hostIP", format_args!("{text:?}"), "an IP address, or none for any")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("portmap", env!("CARGO_PKG_DESCRIPTION")).with::<Wire>().assert_is_current();
    }

    fn conf(value: &Value) -> Result<Conf, String> {
        Conf::from_value(value).map_err(|e| e.to_string())
    }

    fn fault(value: &Value) -> String {
        conf(value).unwrap_err()
    }

    fn with_mapping(mapping: &Value) -> Value {
        json!({"runtimeConfig": {"portMappings": [mapping]}})
    }

    #[test]
    fn an_empty_configuration_masquerades_and_leaves_the_backend_open() {
        let conf = conf(&json!({})).unwrap();
        assert!(conf.snat && !conf.masq_all && conf.backend.is_none() && conf.mappings.is_empty());
        assert_eq!(conf.mark, Mark::Bit(13));
    }

    #[test]
    fn mappings_are_read_as_containerd_and_as_podman_write_them() {
        let containerd = json!({"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""});
        let podman = json!({"hostPort": 8080, "containerPort": 80, "protocol": "TCP"});
        let expected = Mapping { protocol: Protocol::Tcp, host_ip: None, host_port: 8080, container_port: 80 };
        for spelling in [containerd, podman] {
            assert_eq!(conf(&with_mapping(&spelling)).unwrap().mappings, [expected]);
        }
    }

    #[test]
    fn bad_mappings_name_the_field() {
        let good = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
        for (key, value, problem) in [
            ("hostPort", json!(0), "Invalid host port number: 0, expected 1 to 65535"),
            ("hostPort", json!(65536), "Invalid host port number: 65536, expected 1 to 65535"),
            ("containerPort", json!(-1), "Invalid container port number: -1, expected 1 to 65535"),
            ("hostPort", json!("80"), "invalid value \"80\", expected a whole number"),
            ("protocol", json!("icmp"), "invalid value \"icmp\", expected tcp, udp or sctp"),
            ("protocol", json!(""), "invalid value \"\", expected tcp, udp or sctp"),
            ("hostIP", json!("10.0.0.01"), "invalid value \"10.0.0.01\", expected an IP address, or none for any"),
        ] {
            let mut mapping = good.clone();
            mapping[key] = value;
            assert_eq!(fault(&with_mapping(&mapping)), format!("runtimeConfig.portMappings[0].{key}: {problem}"));
        }
    }

    #[test]
    fn a_port_published_twice_is_one_mapping_or_a_fault() {
        let to = |port: u16, ip: &str| json!({"hostPort": 80, "containerPort": port, "protocol": "tcp", "hostIP": ip});
        let list = |mappings: Value| json!({"runtimeConfig": {"portMappings": mappings}});
        assert_eq!(conf(&list(json!([to(80, ""), to(80, "")]))).unwrap().mappings.len(), 1);
        assert_eq!(conf(&list(json!([to(80, ""), to(81, "10.0.0.1")]))).unwrap().mappings.len(), 2);
        assert_eq!(conf(&list(json!([to(80, "0.0.0.0"), to(81, "::")]))).unwrap().mappings.len(), 2);
        assert!(fault(&list(json!([to(80, "0.0.0.0"), to(81, "")]))).contains("published already"));
        assert_eq!(
            fault(&list(json!([to(80, ""), to(81, "")]))),
            "runtimeConfig.portMappings[1].hostPort: invalid value 80, \
             expected a port that is not published already, to container port 80"
        );
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_ipv4() {
        let mapping = json!({"hostPort": 1, "containerPort": 1, "protocol": "udp", "hostIP": "::ffff:10.0.0.1"});
        assert_eq!(conf(&with_mapping(&mapping)).unwrap().mappings[0].host_ip, Some([10, 0, 0, 1].into()));
    }

    #[test]
    fn options_of_one_backend_choose_it_and_contradict_the_other() {
        let backend = |value: Value| conf(&value).map(|conf| conf.backend);
        assert_eq!(backend(json!({"conditionsV4": ["!", "-d", "1.2.3.4"]})), Ok(Some(Backend::Iptables)));
        assert_eq!(backend(json!({"conditionsV6": ["ip6 daddr fd00::1"]})), Ok(Some(Backend::Nftables)));
        assert_eq!(backend(json!({"externalSetMarkChain": "MARK-IT"})), Ok(Some(Backend::Iptables)));
        assert_eq!(backend(json!({"conditionsV4": [""]})), Ok(None));
        assert_eq!(
            fault(&json!({"backend": "nftables", "externalSetMarkChain": "X", "conditionsV4": ["-d", "1.2.3.4"]})),
            "backend: nftables backend was requested but configuration contains iptables-specific options \
             [externalSetMarkChain conditionsV4]"
        );
        assert!(
            fault(&json!({"conditionsV4": ["-s", "::"], "conditionsV6": ["ip6 saddr ::"]})).contains("[conditionsV6]")
        );
        assert!(fault(&json!({"backend": "ipfw"})).starts_with("backend: unrecognized backend \"ipfw\""));
    }

    #[test]
    fn marks_are_bits_or_a_chain() {
        assert_eq!(conf(&json!({"markMasqBit": 0})).unwrap().mark, Mark::Bit(0));
        assert_eq!(fault(&json!({"markMasqBit": 32})), "markMasqBit: MasqMarkBit must be between 0 and 31, not 32");
        assert!(
            fault(&json!({"markMasqBit": 1, "externalSetMarkChain": "X"}))
                .contains("Cannot specify externalSetMarkChain and markMasqBit")
        );
        assert!(fault(&json!({"externalSetMarkChain": "a b"})).contains("\"a b\""));
    }

    #[test]
    fn conditions_cannot_end_the_command_they_become_part_of() {
        for word in ["a\nflush ruleset", "x; flush ruleset", "# x"] {
            assert!(fault(&json!({"conditionsV4": ["ip saddr", word]})).starts_with("conditionsV4[1]: invalid value"));
        }
    }
}
