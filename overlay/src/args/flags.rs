//! flannel's flags, and the settings that they mean.

use std::fmt::Write as _;

use serde_json::Value;

use crate::settings::{Place, SettingError};

/// A flag of flannel's, which is an environment variable, too: `--public-ip` is `FLANNELD_PUBLIC_IP`.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The setting that it means; empty if it is none by itself.
    pub(super) path: &'static str,
    help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// May be given several times.
    Texts,
    /// Separated by commas.
    List,
    Switch,
    /// A switch that turns its setting off.
    SwitchOff,
    /// klog's number.
    Verbosity,
    /// Makes a setting with others.
    Part,
    PartSwitch,
    /// Accepted; what it sets is not needed here.
    Ignored,
}

const fn flag(name: &'static str, kind: Kind, path: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, path, help }
}

pub(super) const FLAGS: &[Flag] = &[
    flag("etcd-endpoints", Kind::List, "store.etcd.endpoints", "URLs of etcd, separated by commas"),
    flag("etcd-prefix", Kind::Text, "store.etcd.prefix", "where the keys are (default /coreos.com/network)"),
    flag("etcd-keyfile", Kind::Text, "store.etcd.key_file", "the key of this client, PEM"),
    flag("etcd-certfile", Kind::Text, "store.etcd.cert_file", "its certificate"),
    flag("etcd-cafile", Kind::Text, "store.etcd.ca_file", "the certificate authority of the servers"),
    flag("etcd-username", Kind::Text, "store.etcd.username", "a user of etcd"),
    flag("etcd-password", Kind::Text, "store.etcd.password", "the password (better: FLANNELD_ETCD_PASSWORD)"),
    flag("kube-subnet-mgr", Kind::PartSwitch, "", "the Kubernetes API has the nodes, in flannel's annotations"),
    flag("kube-api-url", Kind::Text, "store.kubernetes.api_url", "the URL of the API server"),
    flag("kubeconfig-file", Kind::Text, "store.kubernetes.kubeconfig", "where the API and the credentials are"),
    flag("kube-annotation-prefix", Kind::Text, "store.kubernetes.annotation_prefix", "of flannel's annotations"),
    flag(
        "set-node-network-unavailable",
        Kind::Switch,
        "store.kubernetes.set_node_network_unavailable",
        "keep the Node's condition NetworkUnavailable",
    ),
    flag("iface", Kind::Texts, "external.interface", "the interface to the other nodes, or its address; repeatable"),
    flag("iface-regex", Kind::Texts, "external.interface_regex", "as a regular expression; repeatable"),
    flag("iface-can-reach", Kind::Text, "external.can_reach", "the one by which this address is reached"),
    flag("public-ip", Kind::Text, "external.public_ip", "what others are told to send to"),
    flag("public-ipv6", Kind::Text, "external.public_ipv6", "the same for IPv6"),
    flag("subnet-file", Kind::Text, "subnet_file", "what the CNI plugin reads (default /run/flannel/subnet.env)"),
    flag("net-config-path", Kind::Text, "net_conf", "the cluster's network (default /etc/kube-flannel/net-conf.json)"),
    flag("ip-masq", Kind::Switch, "masquerade.enabled", "masquerade what leaves the cluster"),
    flag("ip-masq-fully-random-disable", Kind::SwitchOff, "masquerade.random_fully", "do not choose ports at random"),
    flag("iptables-forward-rules", Kind::Switch, "masquerade.forward", "accept what the cluster forwards"),
    flag("ip-blackhole-route", Kind::Switch, "kernel.blackhole", "a route to nowhere for the cluster's networks"),
    flag("healthz-ip", Kind::Part, "", "where /healthz, /readyz and /metrics are served (default 127.0.0.1)"),
    flag("healthz-port", Kind::Part, "", "the port; 0: none (default)"),
    flag("v", Kind::Verbosity, "log", "how much is logged: 4 is debug, 6 and more trace"),
    flag("subnet-lease-renew-margin", Kind::Ignored, "", "no effect: leases are kept alive"),
    flag("iptables-resync", Kind::Ignored, "", "no effect: the rules are repaired when somebody changes them"),
];

impl Flag {
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch | Kind::SwitchOff | Kind::PartSwitch)
    }

    /// The table of its setting.
    pub(super) fn table(&self) -> Option<&'static str> {
        self.path.rsplit_once('.').map(|(table, _)| table)
    }

    pub(super) fn variable(&self) -> String {
        format!("FLANNELD_{}", self.name.replace('-', "_").to_uppercase())
    }

    /// The setting's value; `None` if the flag is no setting by itself.
    pub(super) fn value(&self, place: &str, values: &[String]) -> Result<Option<Value>, SettingError> {
        let last = values.last().map_or("", String::as_str);
        Ok(Some(match self.kind {
            Kind::Part | Kind::PartSwitch | Kind::Ignored => return Ok(None),
            // Go's flags cannot tell an empty string from none.
            Kind::Text if last.is_empty() => return Ok(None),
            Kind::Text => Value::from(last),
            Kind::Texts => Value::from(values),
            Kind::List => last.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
            Kind::Switch => Value::from(boolean(place, last)?),
            Kind::SwitchOff => Value::from(!boolean(place, last)?),
            Kind::Verbosity => Value::from(level(place, last)?),
        }))
    }
}

/// As Go's `strconv.ParseBool`.
pub(super) fn boolean(place: &str, value: &str) -> Result<bool, SettingError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(invalid(place, value, "true or false")),
    }
}

fn level(place: &str, value: &str) -> Result<&'static str, SettingError> {
    match value.parse() {
        Ok(..=3_u32) => Ok("info"),
        Ok(4 | 5) => Ok("debug"),
        Ok(_) => Ok("trace"),
        Err(_) => Err(invalid(place, value, "a whole number, 0 or more")),
    }
}

pub(super) fn invalid(place: &str, value: &str, expected: &str) -> SettingError {
    SettingError::Value {
        place: Place::Named(place.to_owned()),
        value: format!("{value:?}"),
        expected: expected.to_owned(),
    }
}

pub(super) fn usage() -> String {
    let mut text = String::from(
        "overlayd: reaches the other nodes' containers, as flanneld does.

usage: overlayd [--config FILE] [FLAG…]                run, until SIGTERM
       overlayd check-config [--config FILE] [FLAG…]   read the configuration and say what is wrong with it
       overlayd cleanup [--store] [--config FILE] [FLAG…]
                                                       remove all that it made here; with --store from the store, too
       overlayd --version | --help

  --config FILE  the configuration (default /etc/ferrule/overlayd.toml, if it exists)

flannel's flags, which win over the file, also as environment variables (--public-ip is FLANNELD_PUBLIC_IP):
",
    );
    for flag in FLAGS {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  --{:30} {}", flag.name, flag.help);
    }
    text.push_str(
        "\nFlags have one dash or two; values follow after a space or `=`.\n\
         Exit codes: 0 done, 1 failed, 2 the command line or the configuration is wrong.\n",
    );
    text
}
