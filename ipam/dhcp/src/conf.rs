//! The configuration: JSON in, checked types out.

use std::path::PathBuf;

use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::{ConfigError, NetworkConfig};
use serde::Deserialize;

use crate::error::Error;
use crate::packet::{Options, code};

/// Where the daemon listens, unless the configuration says otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/cni/dhcp.sock";

/// The longest value of an option.
const VALUE_BYTES: usize = 255;
/// Options by name (dhcp-options(5)).
const NAMES: [(&str, u8); 6] = [
    ("dhcp-client-identifier", code::CLIENT_ID),
    ("subnet-mask", code::SUBNET_MASK),
    ("routers", code::ROUTERS),
    ("host-name", code::HOST_NAME),
    ("user-class", code::USER_CLASS),
    ("vendor-class-identifier", code::VENDOR_CLASS),
];
/// What servers are asked for, unless `skipDefault`. Classless routes come before all other routes (RFC 3442).
const REQUESTED: [u8; 10] = [
    code::SUBNET_MASK,
    code::CLASSLESS_ROUTES,
    code::STATIC_ROUTES,
    code::ROUTERS,
    code::DNS_SERVERS,
    code::DOMAIN_NAME,
    code::DOMAIN_SEARCH,
    code::MTU,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
];
/// Options that the protocol itself uses: whoever sets them speaks another one.
const RESERVED: [u8; 7] = [
    code::PAD,
    code::REQUESTED_ADDRESS,
    code::OVERLOAD,
    code::MESSAGE_TYPE,
    code::SERVER,
    code::MAX_MESSAGE_SIZE,
    code::END,
];

/// What ADD needs.
#[derive(Debug)]
pub(crate) struct Conf {
    /// Where the daemon listens.
    pub(crate) socket: PathBuf,
    /// What the client says of itself: `provide`, and the list of options that it asks for.
    pub(crate) options: Options,
    /// The metric of the routes; `None`: as the kernel likes.
    pub(crate) priority: Option<u32>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct SocketDocument {
    /// Of this plugin.
    ipam: Option<SocketIpam>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SocketIpam {
    /// Where the daemon (`dhcp daemon`) listens.
    #[cfg_attr(test, schemars(extend("default" = DEFAULT_SOCKET)))]
    daemon_socket_path: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    /// Of this plugin.
    ipam: Ipam,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    /// What the client says of itself.
    provide: Vec<Provide>,
    /// What the server is asked for, besides the usual.
    request: Vec<Request>,
    /// The metric of the routes; 0: as the kernel likes.
    priority: u32,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Provide {
    /// The option: a number from 0 to 255, or a name of dhcp-options(5).
    option: String,
    /// Its value, up to 255 bytes.
    value: String,
    /// The key of `CNI_ARGS` that has the value, if it is there.
    from_arg: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    /// The option: a number from 0 to 255, or a name of dhcp-options(5).
    option: String,
    /// Ask for no more than what is listed.
    skip_default: bool,
}

/// Where the daemon of the network of `config` listens. A fault in another key must not keep an address from being
/// released.
///
/// # Errors
/// [`Error::IpamMissing`], [`Error::Config`].
pub(crate) fn socket(config: &NetworkConfig) -> Result<PathBuf, Error> {
    let ipam = config.decode::<SocketDocument>()?.ipam.ok_or(Error::IpamMissing)?;
    let path = ipam.daemon_socket_path;
    Ok(if path.is_empty() { DEFAULT_SOCKET.into() } else { path.into() })
}

impl Conf {
    /// Reads the configuration of a call, and of `CNI_ARGS` what it refers to.
    ///
    /// # Errors
    /// What is wrong with it, with the path of the field.
    pub(crate) fn parse(call: &Call<'_>) -> Result<Self, Error> {
        let socket = socket(&call.config)?;
        let ipam = call.config.decode::<Document>()?.ipam;
        let args = call.env.var("CNI_ARGS").unwrap_or_default();
        let mut options = provided(&ipam.provide, args)?;
        let requested = requested(&ipam.request)?;
        if !requested.is_empty() {
            options.set(code::REQUEST_LIST, requested);
        }
        Ok(Self { socket, options, priority: Some(ipam.priority).filter(|priority| *priority != 0) })
    }
}

fn provided(entries: &[Provide], args: &str) -> Result<Options, Error> {
    let mut options = Options::default();
    for (i, entry) in entries.iter().enumerate() {
        let path = format!("ipam.provide[{i}]");
        let code = option(&path, &entry.option)?;
        if RESERVED.contains(&code) {
            let expected = "an option that DHCP itself does not set";
            return Err(fault(format!("{path}.option"), &entry.option, expected));
        }
        let from_arg = Some(entry.from_arg.as_str()).filter(|key| !key.is_empty()).and_then(|key| arg(args, key));
        let value = Some(entry.value.as_str()).filter(|value| !value.is_empty());
        for (key, value) in [("value", value), ("fromArg", from_arg)] {
            let Some(value) = value else { continue };
            if value.len() > VALUE_BYTES {
                return Err(fault(format!("{path}.{key}"), value, "at most 255 bytes"));
            }
            options.set(code, value);
        }
    }
    Ok(options)
}

/// The list of options that are asked for: the configuration's, then those of [`REQUESTED`] that it lacks.
fn requested(entries: &[Request]) -> Result<Vec<u8>, Error> {
    let mut codes = Vec::new();
    for (i, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.option.is_empty()) {
        codes.push(option(&format!("ipam.request[{i}]"), &entry.option)?);
    }
    if !entries.iter().any(|entry| entry.skip_default) {
        codes.extend(REQUESTED);
    }
    let mut seen = [false; 256];
    codes.retain(|code| seen.get_mut(usize::from(*code)).is_some_and(|seen| !std::mem::replace(seen, true)));
    Ok(codes)
}

/// The number of an option that is named at `path`.
fn option(path: &str, name: &str) -> Result<u8, Error> {
    let by_name = NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
    by_name.or_else(|| name.parse().ok()).ok_or_else(|| {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        fault(format!("{path}.option"), name, format_args!("a number from 0 to 255, or one of {}", names.join(", ")))
    })
}

fn fault(path: String, value: &str, expected: impl std::fmt::Display) -> Error {
    Error::Config(ConfigError::Field(FieldError::new(path, format_args!("{value:?}"), expected)))
}

/// The value of `key` in `CNI_ARGS`; the last one where it is repeated. Other parts may look as they like.
fn arg<'a>(args: &'a str, key: &str) -> Option<&'a str> {
    args.split(';')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(k, _)| *k == key)
        .map(|(_, value)| value)
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_ipam("dhcp", env!("CARGO_PKG_DESCRIPTION"))
            .with::<SocketDocument>()
            .with::<Document>()
            .assert_is_current();
    }

    fn request(option: &str, skip_default: bool) -> Request {
        Request { option: option.to_owned(), skip_default }
    }

    fn provide(option: &str, value: &str, from_arg: &str) -> Provide {
        Provide { option: option.to_owned(), value: value.to_owned(), from_arg: from_arg.to_owned() }
    }

    #[test]
    fn what_is_asked_for_comes_before_the_defaults_and_once() {
        let codes = requested(&[request("42", false), request("routers", false)]).unwrap();
        assert_eq!(codes, [42, 3, 1, 121, 33, 6, 15, 119, 26, 58, 59]);
        assert_eq!(requested(&[]).unwrap(), REQUESTED);
        assert_eq!(requested(&[request("", true), request("1", false)]).unwrap(), [1]);
        assert!(requested(&[request("", true)]).unwrap().is_empty());
    }

    #[test]
    fn values_come_from_the_configuration_or_from_cni_args() {
        let entries = [provide("host-name", "web", ""), provide("60", "a", "K8S_POD_NAME"), provide("12", "", "NONE")];
        let options = provided(&entries, "odd;K8S_POD_NAME=pod=1;IgnoreUnknown=1").unwrap();
        assert_eq!(options.value(12), Some(&b"web"[..]));
        assert_eq!(options.value(60), Some(&b"pod=1"[..]));
        let long = "x".repeat(256);
        let text = |entries: &[Provide]| provided(entries, "").unwrap_err().reply_text();
        assert!(text(&[provide("12", &long, "")]).contains("ipam.provide[0].value"));
        assert!(text(&[provide("53", "x", "")]).contains("ipam.provide[0].option: invalid value \"53\""));
        assert!(text(&[provide("hostname", "x", "")]).contains("expected a number from 0 to 255, or one of"));
    }

    impl Error {
        fn reply_text(&self) -> String {
            libcni::CniError::reply(self).to_string()
        }
    }
}
