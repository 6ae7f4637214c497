//! Modes of links, by the names that `ip link` has for them.

/// The name of no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} mode: \"{text}\", expected {}", expected.join(", "))]
pub struct UnknownMode {
    kind: &'static str,
    text: String,
    expected: Vec<&'static str>,
}

/// The mode of a link of this `kind` that is called `text`.
pub(super) fn named<M: Copy>(kind: &'static str, names: &[(&'static str, M)], text: &str) -> Result<M, UnknownMode> {
    let found = names.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode);
    found.ok_or_else(|| UnknownMode {
        kind,
        text: text.to_owned(),
        expected: names.iter().map(|(name, _)| *name).collect(),
    })
}

/// What `mode` is called.
pub(super) fn name<M: Copy + PartialEq>(names: &[(&'static str, M)], mode: M) -> &'static str {
    names.iter().find(|(_, named)| *named == mode).map_or("?", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use crate::link::{IpvlanMode, MacvlanMode};

    #[test]
    fn modes_have_names() {
        for (name, mode) in MacvlanMode::NAMES {
            assert_eq!((name.parse(), mode.to_string().as_str()), (Ok(mode), name));
        }
        for (name, mode) in IpvlanMode::NAMES {
            assert_eq!((name.parse(), mode.to_string().as_str()), (Ok(mode), name));
        }
        let told = "passthrough".parse::<MacvlanMode>().unwrap_err().to_string();
        assert_eq!(told, "unknown macvlan mode: \"passthrough\", expected bridge, private, vepa, passthru");
    }
}
