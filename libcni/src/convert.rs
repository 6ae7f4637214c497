//! The wire forms of results in every specification version, and the way between them and [`AddResult`].
//!
//! There are three forms: `ip4`/`ip6` (0.1.0 and 0.2.0), `ips` with a `version` each (0.3.0 to 0.4.0), and the one
//! used inside (1.0.0 and 1.1.0). Whatever is converted goes through the newest; only going back to an older form
//! loses something, and what it loses stands at the form's writer.

mod ip4_ip6;
mod versioned_ips;

use serde::Serialize;
use serde_json::{Value, json};

use crate::json::{self, FieldError, SyntaxError};
use crate::types::AddResult;
use crate::version::SpecVersion;

/// Why a result cannot be read, or written in a version.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It is no JSON.
    #[error("failed to unmarshal raw result")]
    Syntax(#[source] SyntaxError),
    /// A value of the wrong type, or one that contradicts another.
    #[error("failed to unmarshal raw result")]
    Field(#[source] FieldError),
    /// Its `cniVersion` is none of ours.
    #[error("unsupported CNI result version \"{0}\"")]
    UnsupportedVersion(String),
    /// A `prevResult` in another form than its configuration's.
    #[error(
        "result type supports [{}] but unmarshalled CNIVersion is \"{found}\" (hint: a prevResult has the form of its \
         configuration's cniVersion)",
        .expected.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(" ")
    )]
    OtherForm {
        /// The versions that share the configuration's form.
        expected: &'static [SpecVersion],
        /// The version of the `prevResult`.
        found: SpecVersion,
    },
    /// It has no address, and the version cannot say that.
    #[error("cannot convert: no valid IP addresses")]
    NoAddresses,
}

/// A wire form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Ip4Ip6,
    VersionedIps,
    Newest,
}

impl Form {
    fn of(version: SpecVersion) -> Self {
        match version {
            SpecVersion::V0_1_0 | SpecVersion::V0_2_0 => Self::Ip4Ip6,
            SpecVersion::V0_3_0 | SpecVersion::V0_3_1 | SpecVersion::V0_4_0 => Self::VersionedIps,
            SpecVersion::V1_0_0 | SpecVersion::V1_1_0 => Self::Newest,
        }
    }

    fn versions(self) -> &'static [SpecVersion] {
        match self {
            Self::Ip4Ip6 => &[SpecVersion::V0_1_0, SpecVersion::V0_2_0],
            Self::VersionedIps => &[SpecVersion::V0_3_0, SpecVersion::V0_3_1, SpecVersion::V0_4_0],
            Self::Newest => &[SpecVersion::V1_0_0, SpecVersion::V1_1_0],
        }
    }
}

/// Reads a result in the version it names, or in `fallback` where it names none (or the empty one). `null` is the
/// empty result.
///
/// # Errors
/// [`ConvertError::UnsupportedVersion`], [`ConvertError::Field`].
pub fn result(value: &Value, fallback: SpecVersion) -> Result<AddResult, ConvertError> {
    read(value, named_version(value)?.unwrap_or(fallback))
}

/// Reads a `prevResult`, which must be in the form of its configuration's version, though it may name another
/// version with the same form.
///
/// # Errors
/// As [`result`], and [`ConvertError::OtherForm`].
pub fn prev_result(value: &Value, config: SpecVersion) -> Result<AddResult, ConvertError> {
    let version = named_version(value)?.unwrap_or(config);
    let expected = Form::of(config);
    if Form::of(version) != expected {
        return Err(ConvertError::OtherForm { expected: expected.versions(), found: version });
    }
    read(value, version)
}

/// The result in the form of `version`, with its `cniVersion`.
///
/// # Errors
/// [`ConvertError::NoAddresses`] for 0.1.0 and 0.2.0, which have no form for a result without addresses.
pub fn to_wire(result: &AddResult, version: SpecVersion) -> Result<Value, ConvertError> {
    Ok(match Form::of(version) {
        Form::Ip4Ip6 => labelled(ip4_ip6::write(result).ok_or(ConvertError::NoAddresses)?, version),
        Form::VersionedIps => labelled(versioned_ips::write(result), version),
        Form::Newest => labelled(result, version),
    })
}

/// The `cniVersion` that `value` names.
fn named_version(value: &Value) -> Result<Option<SpecVersion>, ConvertError> {
    match value.as_object().and_then(|object| json::member(object, "cniVersion")) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            text.parse().map(Some).map_err(|_unknown| ConvertError::UnsupportedVersion(text.clone()))
        }
        Some(other) => Err(ConvertError::Field(FieldError::new("cniVersion", other, "a string"))),
    }
}

fn read(value: &Value, version: SpecVersion) -> Result<AddResult, ConvertError> {
    if value.is_null() {
        return Ok(AddResult::default());
    }
    match Form::of(version) {
        Form::Ip4Ip6 => json::decode(value).and_then(ip4_ip6::read),
        Form::VersionedIps => json::decode(value).and_then(versioned_ips::read),
        Form::Newest => json::decode(value),
    }
    .map_err(ConvertError::Field)
}

/// `form` as JSON, with its `cniVersion`.
fn labelled(form: impl Serialize, version: SpecVersion) -> Value {
    let mut value = json!(form);
    if let Some(object) = value.as_object_mut() {
        object.insert("cniVersion".to_owned(), version.as_str().into());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(outcome: Result<AddResult, ConvertError>) -> String {
        let fault = outcome.unwrap_err();
        let causes = crate::error::causes(std::error::Error::source(&fault));
        if causes.is_empty() { fault.to_string() } else { format!("{fault}: {causes}") }
    }

    #[test]
    fn a_result_without_version_has_the_fallback_and_null_is_empty() {
        let value = json!({"ip4": {"ip": "10.1.0.5/16"}});
        assert_eq!(result(&value, SpecVersion::V0_2_0).unwrap().ips.len(), 1);
        assert_eq!(result(&value, SpecVersion::V1_0_0).unwrap(), AddResult::default(), "1.0.0 has no ip4");
        let empty = json!({"cniVersion": "", "ips": [{"address": "10.1.0.5/16"}]});
        assert_eq!(result(&empty, SpecVersion::V1_0_0).unwrap().ips.len(), 1, "not 0.1.0");
        for version in SpecVersion::ALL {
            assert_eq!(result(&Value::Null, version).unwrap(), AddResult::default());
            assert_eq!(result(&json!({"cniVersion": null}), version).unwrap(), AddResult::default());
        }
    }

    #[test]
    fn versions_that_are_none_are_named() {
        let read = |value| message(result(&value, SpecVersion::LATEST));
        assert_eq!(read(json!({"cniVersion": "1.2.0"})), "unsupported CNI result version \"1.2.0\"");
        assert_eq!(
            read(json!({"cniVersion": 1})),
            "failed to unmarshal raw result: cniVersion: invalid value 1, expected a string"
        );
    }

    #[test]
    fn a_prev_result_of_another_form_is_refused_and_of_the_same_form_read() {
        for config in SpecVersion::ALL {
            for found in SpecVersion::ALL {
                let outcome = prev_result(&json!({"cniVersion": found}), config);
                assert_eq!(outcome.is_ok(), Form::of(config) == Form::of(found), "{found} in {config}: {outcome:?}");
            }
        }
        assert!(
            message(prev_result(&json!({"cniVersion": "0.4.0"}), SpecVersion::V1_0_0))
                .starts_with("result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is \"0.4.0\"")
        );
    }

    #[test]
    fn faults_have_a_path() {
        let read = |value| message(result(&value, SpecVersion::LATEST));
        assert_eq!(
            read(json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.5/16"}, {"Address": "10.1.0.6"}]})),
            "failed to unmarshal raw result: ips[1].Address: invalid value \"10.1.0.6\", expected an address with a \
             prefix length such as 10.1.0.0/16 or fd00::/64"
        );
        assert_eq!(
            read(json!({"cniVersion": "0.2.0", "ip4": {"ip": "fd00::5/64"}})),
            "failed to unmarshal raw result: ip4.ip: invalid value \"fd00::5/64\", expected an IPv4 address"
        );
        assert_eq!(
            read(json!({"cniVersion": "0.4.0", "ips": [{"version": "6", "address": "10.1.0.5/16"}]})),
            "failed to unmarshal raw result: ips[0].version: invalid value \"6\", expected \"4\", the version of \
             10.1.0.5/16"
        );
        assert_eq!(read(json!([])), "failed to unmarshal raw result: invalid value […], expected an object");
    }

    #[test]
    fn an_empty_gateway_is_no_gateway() {
        for value in [
            json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.5/16", "gateway": "", "routes": [{"dst": "0.0.0.0/0", "gw": ""}]}}),
            json!({"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.1.0.5/16", "gateway": ""}], "routes": [{"dst": "0.0.0.0/0", "gw": ""}]}),
            json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.5/16", "gateway": ""}], "routes": [{"dst": "0.0.0.0/0", "gw": ""}]}),
        ] {
            let read = result(&value, SpecVersion::LATEST).unwrap();
            assert_eq!(read.ips[0].gateway, None);
            assert_eq!(read.routes[0].gw, None);
        }
    }
}
