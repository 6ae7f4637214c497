//! From what is written to what is meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use libcni::names::IfName;
use libcni::store::{self, StoreError};
use nix::sys::utsname::uname;
use regex_lite::Regex;

use super::{Config, External, KernelConf, Log, MasqueradeConf, Programming, StoreConf};
use crate::args::Sources;
use crate::bgp::BgpConf;
use crate::network::Network;
use crate::settings::{SettingError, Settings};
use crate::store::etcd::{EtcdConf, LEASE_TTL_SECONDS, Password};
use crate::store::file::FileConf;
use crate::store::kubernetes::{AnnotationPrefix, KubernetesConf, Records};

/// The file that is read if none is named and this one exists.
pub(crate) const DEFAULT_FILE: &str = "/etc/ferrule/overlayd.toml";
/// Where flannel's manifests put the cluster's network.
const DEFAULT_NET_CONF: &str = "/etc/kube-flannel/net-conf.json";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A flag or a variable is wrong, or something is missing.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// In this file.
    #[error("{}", path.display())]
    File { path: PathBuf, source: SettingError },
    #[error("the configuration cannot be read")]
    Read(#[from] StoreError),
    #[error("there is no file {} (hint: {hint})", path.display())]
    NoFile { path: PathBuf, hint: &'static str },
    #[error("the name of this host is not UTF-8, so this node has none (hint: set \"node\" or NODE_NAME)")]
    NoName,
    #[error(
        "POD_NAME is set but NODE_NAME is not (hint: give the container NODE_NAME from the field spec.nodeName, as \
         overlayd's manifest does)"
    )]
    PodName,
}

/// Reads the configuration: what flags say wins, then the environment, then the file.
///
/// # Errors
/// [`ConfigError`]
pub(crate) fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let path = sources.file();
    let text = match &path {
        Some(path) => read_text(path, "see --config")?,
        None => String::new(),
    };
    let in_file = |source: SettingError| match &path {
        Some(path) if !Settings::is_set_by_name(&source) => ConfigError::File { path: path.clone(), source },
        _ => ConfigError::Setting(source),
    };
    let mut settings = Settings::of_toml(&text).map_err(in_file)?;
    sources.apply(&mut settings)?;
    let network_table = settings.has_table("network").then(|| settings.take_table("network."));
    let mut config = understand(&mut settings).map_err(in_file)?;
    config.network = network_table.map(Network::from_settings).transpose().map_err(in_file)?;
    let net_conf = settings.text("net_conf", "a path").map_err(in_file)?;
    config.node = node_name(&mut settings, sources, &config.store).map_err(|e| match e {
        ConfigError::Setting(source) => in_file(source),
        other => other,
    })?;
    settings.require_known().map_err(in_file)?;
    if config.network.is_none() {
        config.network = network_of_file(net_conf, &config.store)?;
    }
    Ok(config)
}

fn read_text(path: &Path, hint: &'static str) -> Result<String, ConfigError> {
    let bytes = store::read_if_present(path)?.ok_or_else(|| ConfigError::NoFile { path: path.to_owned(), hint })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The network of a `net-conf.json`; none if etcd has it.
fn network_of_file(net_conf: Option<String>, store: &StoreConf) -> Result<Option<Network>, ConfigError> {
    const HINT: &str =
        "the cluster's network is in [network] of the configuration, or in the file that \"net_conf\" names";
    let path = match (net_conf, store) {
        (Some(path), _) => PathBuf::from(path),
        (None, StoreConf::Etcd(_)) => return Ok(None),
        (None, _) => PathBuf::from(DEFAULT_NET_CONF),
    };
    let text = read_text(&path, HINT)?;
    let network = Network::from_net_conf(text.as_bytes()).map_err(|source| ConfigError::File { path, source })?;
    Ok(Some(network))
}

fn node_name(settings: &mut Settings, sources: &Sources, store: &StoreConf) -> Result<String, ConfigError> {
    if let Some(name) = settings.parsed("node", "a name", |text| (!text.is_empty()).then(|| text.to_owned()))? {
        return Ok(name);
    }
    if matches!(store, StoreConf::Kubernetes(_)) && sources.variable("POD_NAME").is_some() {
        return Err(ConfigError::PodName);
    }
    // An error of the system call is as a name that is none: there is nothing to be done about it but to set one.
    uname().ok().and_then(|host| host.nodename().to_str().map(str::to_owned)).ok_or(ConfigError::NoName)
}

fn understand(settings: &mut Settings) -> Result<Config, SettingError> {
    Ok(Config {
        node: String::new(),
        subnet_file: path(settings, "subnet_file")?.unwrap_or_else(|| "/run/flannel/subnet.env".into()),
        state_dir: path(settings, "state_dir")?.unwrap_or_else(|| "/var/lib/overlayd".into()),
        socket: path(settings, "socket")?.unwrap_or_else(|| "/run/overlayd/overlayd.sock".into()),
        http: settings.parsed("http", "an address and a port such as \"127.0.0.1:9410\"", parse::<SocketAddr>)?,
        external: external(settings)?,
        network: None,
        store: store_conf(settings)?,
        masquerade: masquerade(settings)?,
        kernel: kernel(settings)?,
        bgp: bgp(settings)?,
        log: log(settings)?,
    })
}

fn parse<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn path(settings: &mut Settings, key: &'static str) -> Result<Option<PathBuf>, SettingError> {
    settings.parsed(key, "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text)))
}

fn external(settings: &mut Settings) -> Result<External, SettingError> {
    let regex = "a list of regular expressions";
    Ok(External {
        interface: settings
            .list("external.interface", "a list of names or addresses", |text| {
                let is_name = text.parse::<IfName>().is_ok() || text.parse::<IpAddr>().is_ok();
                is_name.then(|| text.to_owned())
            })?
            .unwrap_or_default(),
        interface_regex: settings
            .list("external.interface_regex", regex, |text| Regex::new(text).ok().map(|_| text.to_owned()))?
            .unwrap_or_default(),
        can_reach: settings.parsed("external.can_reach", "an address", parse::<IpAddr>)?,
        public_ip: settings.parsed("external.public_ip", "an IPv4 address", parse::<Ipv4Addr>)?,
        public_ipv6: settings.parsed("external.public_ipv6", "an IPv6 address", parse::<Ipv6Addr>)?,
    })
}

const STORES: [&str; 3] = ["store.file", "store.etcd", "store.kubernetes"];

fn store_conf(settings: &mut Settings) -> Result<StoreConf, SettingError> {
    let given: Vec<&str> = STORES.into_iter().filter(|table| settings.has_table(table)).collect();
    match given.as_slice() {
        ["store.file"] => Ok(StoreConf::File(file_store(settings)?)),
        ["store.etcd"] => Ok(StoreConf::Etcd(etcd_store(settings)?)),
        ["store.kubernetes"] => Ok(StoreConf::Kubernetes(kubernetes_store(settings)?)),
        [] => Err(SettingError::Missing {
            key: "store".to_owned(),
            expected: "one of the tables [store.file], [store.etcd] and [store.kubernetes]".to_owned(),
        }),
        several => Err(settings.conflict("store", format!("expected one table, not {}", several.join(" and ")))),
    }
}

fn file_store(settings: &mut Settings) -> Result<FileConf, SettingError> {
    Ok(FileConf {
        path: path(settings, "store.file.path")?
            .ok_or_else(|| settings.invalid("store.file.path", "a file of nodes, or a directory"))?,
        publish: settings.boolean("store.file.publish")?.unwrap_or(false),
    })
}

fn etcd_store(settings: &mut Settings) -> Result<EtcdConf, SettingError> {
    let url = |text: &str| {
        let is_url = text.starts_with("http://") || text.starts_with("https://");
        is_url.then(|| text.trim_end_matches('/').to_owned())
    };
    let endpoints = settings.list("store.etcd.endpoints", "a list of URLs such as \"https://192.0.2.1:2379\"", url)?;
    if endpoints.as_ref().is_some_and(Vec::is_empty) {
        return Err(settings.invalid("store.etcd.endpoints", "at least one URL"));
    }
    let prefix = settings.parsed("store.etcd.prefix", "a path that begins with \"/\"", |text| {
        text.starts_with('/').then(|| text.trim_end_matches('/').to_owned())
    })?;
    let default = EtcdConf::default();
    let conf = EtcdConf {
        endpoints: endpoints.unwrap_or(default.endpoints),
        prefix: prefix.unwrap_or(default.prefix),
        ca_file: path(settings, "store.etcd.ca_file")?,
        cert_file: path(settings, "store.etcd.cert_file")?,
        key_file: path(settings, "store.etcd.key_file")?,
        username: settings.text("store.etcd.username", "a name")?.filter(|name| !name.is_empty()),
        password: settings.secret("store.etcd.password", "a password", |text| Some(Password(text.to_owned())))?,
        password_file: path(settings, "store.etcd.password_file")?,
        lease_ttl: settings
            .number("store.etcd.lease_ttl_seconds", LEASE_TTL_SECONDS)?
            .map_or(default.lease_ttl, Duration::from_secs),
    };
    let has_password = conf.password.is_some() || conf.password_file.is_some();
    if conf.username.is_some() != has_password {
        return Err(settings.conflict("store.etcd.username", "needs \"password_file\", and that needs it"));
    }
    if conf.password.is_some() && conf.password_file.is_some() {
        return Err(settings.conflict("store.etcd.password", "is not needed besides \"password_file\""));
    }
    for (is_given, other, key) in [
        (conf.cert_file.is_some(), conf.key_file.is_some(), "store.etcd.cert_file"),
        (conf.key_file.is_some(), conf.cert_file.is_some(), "store.etcd.key_file"),
    ] {
        if is_given && !other {
            return Err(settings.conflict(key, "needs the other of \"cert_file\" and \"key_file\" too"));
        }
    }
    Ok(conf)
}

fn kubernetes_store(settings: &mut Settings) -> Result<KubernetesConf, SettingError> {
    let records = settings.parsed(
        "store.kubernetes.records",
        "\"overlay-nodes\", \"annotations\" or \"both\"",
        |text| match text {
            "overlay-nodes" => Some(Records::OverlayNodes),
            "annotations" => Some(Records::Annotations),
            "both" => Some(Records::Both),
            _ => None,
        },
    )?;
    Ok(KubernetesConf {
        kubeconfig: path(settings, "store.kubernetes.kubeconfig")?,
        api_url: settings.text("store.kubernetes.api_url", "a URL")?.filter(|url| !url.is_empty()),
        records: records.unwrap_or_default(),
        annotation_prefix: settings.parsed(
            "store.kubernetes.annotation_prefix",
            AnnotationPrefix::EXPECTED,
            AnnotationPrefix::new,
        )?,
        set_node_network_unavailable: settings.boolean("store.kubernetes.set_node_network_unavailable")?,
    })
}

fn masquerade(settings: &mut Settings) -> Result<Option<MasqueradeConf>, SettingError> {
    let is_on = settings.boolean("masquerade.enabled")?.unwrap_or(settings.has_table("masquerade"));
    let conf = MasqueradeConf {
        except: settings
            .list("masquerade.except", "a list of networks such as \"192.0.2.0/24\"", parse::<IpNet>)?
            .unwrap_or_default(),
        random_fully: settings.boolean("masquerade.random_fully")?.unwrap_or(true),
        forward: settings.boolean("masquerade.forward")?.unwrap_or(true),
    };
    Ok(is_on.then_some(conf))
}

/// What the socket for the kernel's notifications holds, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How often all is compared with the kernel, in seconds.
const CHECK_SECONDS: u64 = 60;

fn kernel(settings: &mut Settings) -> Result<KernelConf, SettingError> {
    let programming =
        settings.parsed("kernel.programming", "\"auto\", \"neighbours\" or \"nexthops\"", |text| match text {
            "auto" => Some(Programming::Auto),
            "neighbours" => Some(Programming::Neighbours),
            "nexthops" => Some(Programming::Nexthops),
            _ => None,
        })?;
    Ok(KernelConf {
        device: settings.parsed("kernel.device", "the name of an interface", |text| {
            text.parse::<IfName>().is_ok().then(|| text.to_owned())
        })?,
        programming: programming.unwrap_or_default(),
        check: Duration::from_secs(settings.number("kernel.check_seconds", 1..=86_400)?.unwrap_or(CHECK_SECONDS)),
        blackhole: settings.boolean("kernel.blackhole")?.unwrap_or(false),
        receive_buffer: settings.number("kernel.receive_buffer", 1024..=1 << 30)?.unwrap_or(RECEIVE_BUFFER),
    })
}

fn bgp(settings: &mut Settings) -> Result<BgpConf, SettingError> {
    let default = BgpConf::default();
    let reflectors = settings.list("bgp.reflectors", "a list of addresses of route reflectors", parse::<IpAddr>)?;
    Ok(BgpConf {
        // RFC 7607, RFC 6793: 0 is nobody's.
        number: settings.number("bgp.as", 1..=u64::from(u32::MAX))?.unwrap_or(default.number),
        include: path(settings, "bgp.include")?.unwrap_or(default.include),
        socket: path(settings, "bgp.socket")?.unwrap_or(default.socket),
        reflectors: reflectors.unwrap_or_default(),
        // RFC 4271: not one or two; 0 would be for ever.
        hold_seconds: settings.number("bgp.hold_seconds", 3..=65_535)?.unwrap_or(default.hold_seconds),
        connect_seconds: settings.number("bgp.connect_seconds", 1..=3_600)?.unwrap_or(default.connect_seconds),
    })
}

fn log(settings: &mut Settings) -> Result<Log, SettingError> {
    let level = settings.parsed("log", "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"", |text| {
        text.parse().ok().filter(|_| !text.chars().any(|c| c.is_ascii_digit()))
    })?;
    let json = settings.parsed("log_format", "\"text\" or \"json\"", |text| match text {
        "text" => Some(false),
        "json" => Some(true),
        _ => None,
    })?;
    Ok(Log { level: level.unwrap_or(tracing::Level::INFO), json: json.unwrap_or(false) })
}
