use std::fmt;

/// `CNI_ARGS`: `K=V;K2=V2` (specification, section "Parameters"; declared legacy by CONVENTIONS.md, but every
/// Kubernetes runtime sends it).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniArgs {
    pairs: Vec<(String, String)>,
}

/// What is wrong with `CNI_ARGS`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// A part that has not exactly one `=`.
    #[error("ARGS: invalid pair \"{0}\"")]
    InvalidPair(String),
    /// `IgnoreUnknown` is none of 1, 0, true, false.
    #[error("ARGS: invalid value \"{0}\" of IgnoreUnknown, expected 1, 0, true or false")]
    InvalidIgnoreUnknown(String),
    /// Keys that the plugin does not know, without `IgnoreUnknown=1`.
    #[error("ARGS: unknown args [{}] (hint: add IgnoreUnknown=1)", Quoted(.0))]
    Unknown(Vec<String>),
}

struct Quoted<'a>(&'a [String]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, text) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "\"{text}\"")?;
        }
        Ok(())
    }
}

impl CniArgs {
    /// Splits `text`; the empty string has no pairs.
    ///
    /// # Errors
    /// [`ArgsError::InvalidPair`] for a part without exactly one `=` (so a trailing `;` fails, as in the reference).
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let pairs = text
            .split(';')
            .map(|pair| match pair.split_once('=') {
                Some((key, value)) if !value.contains('=') => Ok((key.to_owned(), value.to_owned())),
                _ => Err(ArgsError::InvalidPair(pair.to_owned())),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { pairs })
    }

    /// The arguments `pairs`, in this order.
    ///
    /// # Errors
    /// [`ArgsError::InvalidPair`] for a key or value with `=` or `;` in it, or an empty key: no plugin could read it.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Result<Self, ArgsError> {
        match pairs.iter().find(|(k, v)| k.is_empty() || k.contains(['=', ';']) || v.contains(['=', ';'])) {
            Some((key, value)) => Err(ArgsError::InvalidPair(format!("{key}={value}"))),
            None => Ok(Self { pairs }),
        }
    }

    /// All keys and values, in their order.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The value of `key` (case-sensitive); the last one where it is repeated.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Refuses keys outside `known`, unless `IgnoreUnknown` is true.
    ///
    /// # Errors
    /// [`ArgsError::Unknown`], [`ArgsError::InvalidIgnoreUnknown`].
    pub fn require_known(&self, known: &[&str]) -> Result<(), ArgsError> {
        let ignore = match self.value("IgnoreUnknown") {
            None => false,
            Some(v) if v == "1" || v.eq_ignore_ascii_case("true") => true,
            Some(v) if v == "0" || v.eq_ignore_ascii_case("false") => false,
            Some(v) => return Err(ArgsError::InvalidIgnoreUnknown(v.to_owned())),
        };
        let unknown: Vec<String> = self
            .pairs
            .iter()
            .filter(|(key, _)| key != "IgnoreUnknown" && !known.contains(&key.as_str()))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if ignore || unknown.is_empty() { Ok(()) } else { Err(ArgsError::Unknown(unknown)) }
    }
}

impl fmt::Display for CniArgs {
    /// `K=V;K2=V2`, as in `CNI_ARGS`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pairs.iter().enumerate().try_for_each(|(i, (key, value))| {
            let separator = if i == 0 { "" } else { ";" };
            write!(f, "{separator}{key}={value}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_and_looked_up() {
        let args = CniArgs::parse("IgnoreUnknown=1;K8S_POD_NAME=web;MAC=0a:58:0a:01:02:03").unwrap();
        assert_eq!(args.value("MAC"), Some("0a:58:0a:01:02:03"));
        assert_eq!(args.value("mac"), None);
        assert_eq!(args.require_known(&["MAC"]), Ok(()));
        assert_eq!(CniArgs::parse("A=1;"), Err(ArgsError::InvalidPair(String::new())));
        assert_eq!(CniArgs::from_pairs(args.pairs().to_vec()).unwrap().to_string(), args.to_string());
        assert!(CniArgs::from_pairs(vec![("A".into(), "1;B=2".into())]).is_err());
        assert_eq!(CniArgs::parse("A=1=2"), Err(ArgsError::InvalidPair("A=1=2".into())));
    }

    #[test]
    fn unknown_keys_are_refused_unless_ignored() {
        let args = CniArgs::parse("A=1;MAC=x").unwrap();
        assert_eq!(
            args.require_known(&["MAC"]).unwrap_err().to_string(),
            "ARGS: unknown args [\"A=1\"] (hint: add IgnoreUnknown=1)"
        );
        let args = CniArgs::parse("IgnoreUnknown=maybe").unwrap();
        assert!(matches!(args.require_known(&[]), Err(ArgsError::InvalidIgnoreUnknown(_))));
    }
}
