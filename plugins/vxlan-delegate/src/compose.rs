//! The delegate's configuration: what the operator wrote for it, completed by the node's subnet.

use libcni::json::{self, FieldError};
use libcni::plugin::{Call, Delegate, DelegateError};
use libcni::types::ConfigError;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::subnet::Subnet;

/// The delegate where the configuration names none.
const DEFAULT_TYPE: &str = "bridge";
/// The delegate's IPAM where the configuration names none.
const DEFAULT_IPAM: &str = "host-local";

/// A configuration for a delegate, whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DelegateConf {
    plugin: String,
    object: Map<String, Value>,
}

impl DelegateConf {
    /// What a cache of `network` holds; `None` if it is something else.
    pub(crate) fn of_cache(text: &[u8], network: &str) -> Option<Cached> {
        let Ok(Value::Object(object)) = json::parse(text) else { return Some(Cached::Garbled) };
        let (Some(Value::String(name)), Some(Value::String(plugin))) =
            (json::member(&object, "name"), json::member(&object, "type"))
        else {
            return Some(Cached::Garbled);
        };
        let plugin = plugin.clone();
        (name == network).then_some(Cached::Conf(Self { plugin, object }))
    }

    /// The plugin that it is for, to be called with it.
    pub(crate) fn delegate<'c>(&self, call: &'c Call<'c>) -> Result<Delegate<'c>, DelegateError> {
        call.delegate_with(&self.plugin, self.to_bytes())
    }

    /// As it is sent and kept.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        json!(self.object).to_string().into_bytes()
    }

    /// Takes over what the call's own configuration says under `key`, if anything.
    pub(crate) fn copy(&mut self, call: &Call<'_>, key: &str) {
        let own = call.config.raw.as_object().and_then(|object| json::member_or_null(object, key));
        if let Some(value) = own {
            set(&mut self.object, key, value.clone());
        }
    }
}

/// What a file of the cache turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cached {
    /// A delegate's configuration.
    Conf(DelegateConf),
    /// Nothing that anybody can use.
    Garbled,
}

/// Composes what `delegate` and `ipam` of the configuration and the node's subnet make together. Without a subnet, the
/// delegate can still remove attachments by it, and make none.
///
/// # Errors
/// If the configuration has what is not its to say, or says it wrong.
pub(crate) fn compose(
    call: &Call<'_>,
    mut delegate: Map<String, Value>,
    ipam: Map<String, Value>,
    subnet: Option<&Subnet>,
) -> Result<DelegateConf, Error> {
    let plugin = plugin_type(&delegate)?;
    for (key, instead) in [("name", "it has the network's"), ("ipam", "it gets the \"ipam\" beside \"delegate\"")] {
        if json::member_or_null(&delegate, key).is_some() {
            let problem = format!("not to be given to the delegate: {instead} (hint: remove it)");
            return Err(field(FieldError { path: format!("delegate.{key}"), problem }));
        }
    }
    set(&mut delegate, "name", json!(call.config.name.as_str()));
    default(&mut delegate, "type", || json!(plugin));
    if plugin == DEFAULT_TYPE {
        default(&mut delegate, "isGateway", || json!(true));
    }
    if let Some(subnet) = subnet {
        // One of the two masquerades.
        default(&mut delegate, "ipMasq", || json!(!subnet.masquerades));
        default(&mut delegate, "mtu", || json!(subnet.mtu));
    }
    set(&mut delegate, "ipam", Value::Object(compose_ipam(ipam, subnet)?));
    let mut composed = DelegateConf { plugin, object: delegate };
    composed.copy(call, "cniVersion");
    if call.config.raw.as_object().is_some_and(|own| json::member(own, "runtimeConfig").is_some()) {
        composed.copy(call, "runtimeConfig");
    }
    Ok(composed)
}

fn plugin_type(delegate: &Map<String, Value>) -> Result<String, Error> {
    match json::member_or_null(delegate, "type") {
        None => Ok(DEFAULT_TYPE.to_owned()),
        Some(Value::String(name)) => Ok(name.clone()),
        Some(other) => Err(field(FieldError::new("delegate.type", other, "the name of a plugin"))),
    }
}

/// `ipam` with the node's subnets as its ranges, one set for each family, and after the operator's routes one to each
/// network of the overlay.
fn compose_ipam(mut ipam: Map<String, Value>, subnet: Option<&Subnet>) -> Result<Map<String, Value>, Error> {
    let mut routes = match json::member(&ipam, "routes") {
        None => Vec::new(),
        Some(Value::Array(routes)) => routes.clone(),
        Some(other) => return Err(field(FieldError::new("ipam.routes", other, "a list of routes"))),
    };
    let subnets = subnet.map(|subnet| subnet.subnets.as_slice()).unwrap_or_default();
    let networks = subnet.map(|subnet| subnet.networks.as_slice()).unwrap_or_default();
    routes.extend(networks.iter().map(|network| json!({"dst": network.to_string()})));
    let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{"subnet": subnet.to_string()}])).collect();
    default(&mut ipam, "type", || json!(DEFAULT_IPAM));
    set(&mut ipam, "ranges", json!(ranges));
    set(&mut ipam, "routes", json!(routes));
    Ok(ipam)
}

/// Puts `value` under `key`, in place of what is there in any case: plugins read keys so.
fn set(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.retain(|present, _| !present.eq_ignore_ascii_case(key));
    object.insert(key.to_owned(), value);
}

/// Puts a value under `key` unless the operator did, in whatever case.
fn default(object: &mut Map<String, Value>, key: &str, value: impl FnOnce() -> Value) {
    if json::member_or_null(object, key).is_none() {
        object.insert(key.to_owned(), value());
    }
}

fn field(fault: FieldError) -> Error {
    Error::Config(ConfigError::Field(fault))
}
