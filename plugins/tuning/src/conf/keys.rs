//! Keys of `sysctl` that are written twice: a parsed document has lost them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::error::TuningError;

/// Refuses the configuration `text` if an object `sysctl` of it has a key twice.
///
/// # Errors
/// [`TuningError::SameSysctl`].
pub(super) fn require_different(text: &[u8]) -> Result<(), TuningError> {
    // What is no such document was refused before.
    let Ok(Twice(Some(key))) = serde_json::from_slice(text) else { return Ok(()) };
    Err(TuningError::SameSysctl { one: key.clone(), other: key })
}

/// The first key that `sysctl` of a configuration has twice.
struct Twice(Option<String>);

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Configuration;
        impl<'de> Visitor<'de> for Configuration {
            type Value = Twice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Twice, A::Error> {
                let mut twice = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key.eq_ignore_ascii_case("sysctl") {
                        let Keys(keys) = map.next_value::<Option<Keys>>()?.unwrap_or_default();
                        twice = twice.or_else(|| first_repeated(&keys));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Twice(twice))
            }
        }
        deserializer.deserialize_map(Configuration)
    }
}

/// The keys of an object, as often as they are there.
#[derive(Default)]
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn first_repeated(keys: &[String]) -> Option<String> {
    let repeated = keys.iter().enumerate().find(|(i, key)| keys.iter().take(*i).any(|earlier| earlier == *key));
    repeated.map(|(_, key)| key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_what_the_document_has_lost() {
        let refused = |text: &str| require_different(text.as_bytes()).is_err();
        assert!(refused(r#"{"name": "n", "Sysctl": {"net.a": "1", "net.b": "1", "net.a": "2"}}"#));
        assert!(!refused(r#"{"sysctl": {"net.a": "1", "net.b": "1"}, "other": {"a": 1, "a": 2}}"#));
        assert!(!refused(r#"{"sysctl": null}"#));
    }
}
