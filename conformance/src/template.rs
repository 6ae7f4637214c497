//! `${a.ip4}` in the strings of a case: what is known only when it runs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::expect::addresses_of;
use crate::node::Container;
use crate::trial::TrialError;

/// Names and what they stand for.
pub(crate) type Facts = BTreeMap<String, String>;

/// What is known of each container: `id`, `netns`, `ifname`, `n` (its number), and of its result `ip4`, `ip6`
/// (addresses), `net4`, `net6` (with prefix lengths), `gw4`, `gw6` (gateways) and `host` (the last interface on the
/// host).
pub(crate) fn facts(containers: &BTreeMap<String, Container>, ifname: &str) -> Facts {
    let mut facts = Facts::new();
    for (name, container) in containers {
        let mut know = |key: &str, value: String| drop(facts.insert(format!("{name}.{key}"), value));
        know("id", container.id.clone());
        know("netns", container.netns.display().to_string());
        know("ifname", ifname.to_owned());
        know("n", container.number.to_string());
        let Some(result) = &container.result else { continue };
        for net in addresses_of(result).into_iter().rev() {
            let family = if net.contains(':') { '6' } else { '4' };
            know(&format!("ip{family}"), net.split('/').next().unwrap_or_default().to_owned());
            know(&format!("net{family}"), net);
        }
        let ips = result.get("ips").and_then(Value::as_array).into_iter().flatten();
        let new = ips.filter_map(|ip| ip.get("gateway"));
        let old = ["/ip4/gateway", "/ip6/gateway"].into_iter().filter_map(|pointer| result.pointer(pointer));
        for gateway in new.chain(old).filter_map(Value::as_str) {
            let family = if gateway.contains(':') { '6' } else { '4' };
            know(&format!("gw{family}"), gateway.to_owned());
        }
        let interfaces = result.get("interfaces").and_then(Value::as_array).into_iter().flatten();
        let is_on_host =
            |interface: &&Value| interface.get("sandbox").and_then(Value::as_str).unwrap_or_default().is_empty();
        for interface in interfaces.filter(is_on_host) {
            if let Some(host) = interface.get("name").and_then(Value::as_str) {
                know("host", host.to_owned());
            }
        }
    }
    facts
}

/// What is known where a container is made: `${n}`, its number.
pub(crate) fn number(number: usize) -> Facts {
    Facts::from([("n".to_owned(), number.to_string())])
}

/// `value` with every `${name}` of its strings replaced. A string that is `${8000+n}` as a whole becomes a number.
pub(crate) fn fill(value: &Value, facts: &Facts) -> Result<Value, TrialError> {
    Ok(match value {
        Value::String(text) => match sum(text, facts) {
            Some(number) => number.into(),
            None => fill_text(text, facts)?.into(),
        },
        Value::Array(items) => Value::Array(items.iter().map(|item| fill(item, facts)).collect::<Result<_, _>>()?),
        Value::Object(object) => {
            let member = |(key, value): (&String, &Value)| Ok((key.clone(), fill(value, facts)?));
            Value::Object(object.iter().map(member).collect::<Result<_, TrialError>>()?)
        }
        other => other.clone(),
    })
}

/// The number that `${8000+n}` is.
fn sum(text: &str, facts: &Facts) -> Option<u64> {
    let (base, name) = text.strip_prefix("${")?.strip_suffix('}')?.split_once('+')?;
    Some(base.parse::<u64>().ok()? + facts.get(name)?.parse::<u64>().ok()?)
}

fn fill_text(text: &str, facts: &Facts) -> Result<String, TrialError> {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) =
            after.split_once('}').ok_or_else(|| TrialError::Case(format!("\"{text}\": a {{ is not closed")))?;
        let known = || facts.keys().cloned().collect::<Vec<_>>().join(", ");
        let value =
            facts.get(name).ok_or_else(|| TrialError::Case(format!("nothing is known of {name}, only {}", known())))?;
        done.push_str(before);
        done.push_str(value);
        rest = behind;
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_become_what_they_stand_for() {
        let facts = Facts::from([("a.ip4".to_owned(), "10.1.0.5".to_owned()), ("n".to_owned(), "2".to_owned())]);
        let filled = fill(&json!({"to": "${a.ip4}/32", "port": "${8000+n}", "list": ["x${n}y", 7]}), &facts);
        assert_eq!(filled.ok(), Some(json!({"to": "10.1.0.5/32", "port": 8002, "list": ["x2y", 7]})));
        assert!(fill(&json!("${b.ip4}"), &facts).is_err());
    }
}
