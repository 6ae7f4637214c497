//! What a plugin reads on stdin (specification, section 3 "Derivation of execution configuration").

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::runtime::conflist::{NetworkList, PluginConf};
use crate::types::AttachmentId;

/// What the runtime adds to a plugin's configuration, besides `name` and `cniVersion` of the list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Additions<'a> {
    /// `prevResult`.
    pub(super) prev_result: Option<&'a Value>,
    /// Where `runtimeConfig` is taken from.
    pub(super) capability_args: Option<&'a Map<String, Value>>,
    /// `cni.dev/valid-attachments`, and the same under the older key `cni.dev/attachments`.
    pub(super) valid: Option<&'a [AttachmentId]>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Member<'a> {
    AsWritten(&'a RawValue),
    Text(&'a str),
    Value(&'a Value),
    Chosen(BTreeMap<&'a str, &'a Value>),
    Attachments(&'a [AttachmentId]),
}

/// The configuration of `plugin` as it is sent: its own keys as they were written, without `capabilities`, which
/// the specification keeps between administrator and runtime, and with `additions`.
///
/// `runtimeConfig` appears if there is a value for a capability that the plugin declares, and then replaces a static
/// one.
pub(super) fn stdin(
    list: &NetworkList,
    plugin: &PluginConf,
    additions: Additions<'_>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut members: BTreeMap<&str, Member<'_>> =
        plugin.members.iter().map(|(key, value)| (key.as_str(), Member::AsWritten(value))).collect();
    remove(&mut members, "capabilities");
    replace(&mut members, "name", Member::Text(list.name.as_str()));
    replace(&mut members, "cniVersion", Member::Text(list.cni_version.as_str()));
    if let Some(result) = additions.prev_result {
        replace(&mut members, "prevResult", Member::Value(result));
    }
    let chosen: BTreeMap<&str, &Value> = additions
        .capability_args
        .into_iter()
        .flatten()
        .filter(|(key, _)| plugin.capabilities.contains(*key))
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    if !chosen.is_empty() {
        replace(&mut members, "runtimeConfig", Member::Chosen(chosen));
    }
    if let Some(valid) = additions.valid {
        replace(&mut members, "cni.dev/valid-attachments", Member::Attachments(valid));
        replace(&mut members, "cni.dev/attachments", Member::Attachments(valid));
    }
    serde_json::to_vec(&members)
}

fn replace<'a>(members: &mut BTreeMap<&'a str, Member<'a>>, key: &'static str, value: Member<'a>) {
    remove(members, key);
    members.insert(key, value);
}

/// Plugins match keys in any case, so another spelling must not stay beside ours.
fn remove(members: &mut BTreeMap<&str, Member<'_>>, key: &str) {
    members.retain(|written, _| !written.eq_ignore_ascii_case(key));
}
