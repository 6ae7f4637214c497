//! The configuration of `firewall`: JSON in, checked values out.

use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use serde::Deserialize;

use crate::error::FirewallError;

/// The longest name of an iptables chain, in bytes (`XT_EXTENSION_MAXNAMELEN` less the terminating zero).
const CHAIN_NAME_MAX: usize = 28;

/// Where rules are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Elements of our nftables table, by nfnetlink.
    Nftables,
    /// The reference's chains, by iptables-restore.
    Iptables,
    /// A zone of firewalld, by D-Bus.
    Firewalld,
}

impl Backend {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Firewalld => "firewalld",
        }
    }

    fn from_config(name: &str) -> Result<Option<Self>, FieldError> {
        match name {
            "" => Ok(None),
            "nftables" => Ok(Some(Self::Nftables)),
            "iptables" => Ok(Some(Self::Iptables)),
            "firewalld" => Ok(Some(Self::Firewalld)),
            other => Err(FieldError::new(
                "backend",
                format_args!("{other:?}"),
                "\"nftables\", \"iptables\", \"firewalld\", or none for what this host has",
            )),
        }
    }
}

/// Who may reach the containers of a bridge (`ingressPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    /// Everybody.
    Open,
    /// Everybody but the containers of other bridges that have a policy.
    SameBridge,
    /// As [`Policy::SameBridge`], and not the other containers of this bridge either.
    Isolated,
}

impl Policy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::SameBridge => "same-bridge",
            Self::Isolated => "isolated",
        }
    }

    fn from_config(name: &str) -> Result<Self, FieldError> {
        match name {
            "" | "open" => Ok(Self::Open),
            "same-bridge" => Ok(Self::SameBridge),
            "isolated" => Ok(Self::Isolated),
            other => Err(FieldError {
                path: "ingressPolicy".to_owned(),
                problem: format!(
                    "unknown ingress policy: {other:?}, expected \"open\", \"same-bridge\" or \"isolated\""
                ),
            }),
        }
    }
}

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `backend`; `None`: what this host has.
    pub(crate) backend: Option<Backend>,
    /// `ingressPolicy`.
    pub(crate) policy: Policy,
    /// `iptablesAdminChainName`: the administrator's chain of iptables, asked before our rules.
    pub(crate) admin_chain: String,
    /// `firewalldZone`.
    pub(crate) zone: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// Where rules are made: "nftables", "iptables" or "firewalld"; none for what this host has.
    #[cfg_attr(test, schemars(extend("enum" = ["", "nftables", "iptables", "firewalld"])))]
    backend: String,
    /// Who may reach the containers of a bridge: "open": everybody; "same-bridge": not the containers of other
    /// bridges with a policy; "isolated": nor those of this bridge.
    #[cfg_attr(test, schemars(extend("enum" = ["", "open", "same-bridge", "isolated"], "default" = "open")))]
    ingress_policy: String,
    /// The administrator's chain of iptables, asked before the rules of this plugin.
    #[cfg_attr(test, schemars(length(max = 28), extend("default" = Conf::default().admin_chain)))]
    iptables_admin_chain_name: String,
    /// The zone of firewalld that the container becomes a source of.
    #[cfg_attr(test, schemars(extend("default" = Conf::default().zone)))]
    firewalld_zone: String,
}

impl Default for Conf {
    fn default() -> Self {
        Self { backend: None, policy: Policy::Open, admin_chain: "CNI-ADMIN".to_owned(), zone: "trusted".to_owned() }
    }
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, FirewallError> {
        let wire: Wire = call.config.decode()?;
        Self::check(wire).map_err(|fault| FirewallError::Config(ConfigError::Field(fault)))
    }

    /// As [`Conf::load`] for DEL and GC, which need no more than a hint: what is wrong is as if it were not there.
    pub(crate) fn load_lenient(call: &Call<'_>) -> Self {
        Self::load(call).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn from_value(value: &serde_json::Value) -> Result<Self, FieldError> {
        libcni::json::decode(value).and_then(|wire: Wire| Self::check(wire))
    }

    fn check(wire: Wire) -> Result<Self, FieldError> {
        let default = Self::default();
        let or = |text: String, default| if text.is_empty() { default } else { text };
        let conf = Self {
            backend: Backend::from_config(&wire.backend)?,
            policy: Policy::from_config(&wire.ingress_policy)?,
            admin_chain: or(wire.iptables_admin_chain_name, default.admin_chain),
            zone: or(wire.firewalld_zone, default.zone),
        };
        if !is_chain_name(&conf.admin_chain) {
            return Err(FieldError::new(
                "iptablesAdminChainName",
                format_args!("{:?}", conf.admin_chain),
                format_args!("the name of an iptables chain, 1 to {CHAIN_NAME_MAX} characters"),
            ));
        }
        Ok(conf)
    }
}

/// Whether iptables takes it as the name of a chain, and nothing else.
fn is_chain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"\"'\\!".contains(c);
    (1..=CHAIN_NAME_MAX).contains(&name.len()) && !name.starts_with('-') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("firewall", env!("CARGO_PKG_DESCRIPTION")).with::<Wire>().assert_is_current();
    }

    fn fault(value: &Value) -> String {
        Conf::from_value(value).unwrap_err().to_string()
    }

    #[test]
    fn what_is_empty_is_the_default() {
        let podman = json!({"backend": "", "ingressPolicy": "", "iptablesAdminChainName": "", "firewalldZone": ""});
        for config in [podman, json!({}), json!({"backend": null, "firewalldZone": null})] {
            assert_eq!(Conf::from_value(&config).unwrap(), Conf::default());
        }
    }

    #[test]
    fn every_value_is_read() {
        let conf = Conf::from_value(&json!({
            "Backend": "firewalld", "ingresspolicy": "isolated", "iptablesAdminChainName": "MINE", "firewalldZone": "dmz"
        }));
        let expected = Conf {
            backend: Some(Backend::Firewalld),
            policy: Policy::Isolated,
            admin_chain: "MINE".to_owned(),
            zone: "dmz".to_owned(),
        };
        assert_eq!(conf.unwrap(), expected);
    }

    #[test]
    fn what_is_unknown_is_told_with_what_is_known() {
        assert!(
            fault(&json!({"backend": "ipfw"})).starts_with("backend: invalid value \"ipfw\", expected \"nftables\"")
        );
        assert_eq!(
            fault(&json!({"ingressPolicy": "closed"})),
            "ingressPolicy: unknown ingress policy: \"closed\", expected \"open\", \"same-bridge\" or \"isolated\""
        );
        assert!(fault(&json!({"ingressPolicy": 1})).contains("expected a string"));
    }

    #[test]
    fn a_chain_name_cannot_become_part_of_a_command() {
        for name in ["a b", "-A", "a\nCOMMIT", "\"", &"x".repeat(29), "!"] {
            assert!(fault(&json!({"iptablesAdminChainName": name})).starts_with("iptablesAdminChainName: "), "{name}");
        }
    }
}
