//! Errors as the specification defines them: a number for programs, a sentence for people.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The `code` of an error result (specification, section "Error"). 1 to 99 belong to the specification,
/// 100 and above to plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// 1: the plugin does not support this `cniVersion`, or the version has not this verb.
    pub const INCOMPATIBLE_VERSION: Self = Self(1);
    /// 2: a field of the configuration is not supported; the message holds its key and value.
    pub const UNSUPPORTED_FIELD: Self = Self(2);
    /// 3: the container is unknown or does not exist; the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// 4: a necessary environment variable is missing or invalid.
    pub const INVALID_ENVIRONMENT: Self = Self(4);
    /// 5: input or output failed, as when reading the configuration from stdin.
    pub const IO: Self = Self(5);
    /// 6: something could not be decoded, as a configuration that is no JSON.
    pub const DECODING: Self = Self(6);
    /// 7: the network configuration is invalid.
    pub const INVALID_CONFIG: Self = Self(7);
    /// 8: the network namespace from `CNI_NETNS` is the plugin's own (the reference's code).
    pub const INVALID_NETNS: Self = Self(8);
    /// 11: a transient condition; the runtime should try again later.
    pub const TRY_AGAIN_LATER: Self = Self(11);
    /// 50: STATUS: the plugin cannot serve ADD requests.
    pub const PLUGIN_NOT_AVAILABLE: Self = Self(50);
    /// 51: STATUS: as 50, and existing containers may have limited connectivity.
    pub const LIMITED_CONNECTIVITY: Self = Self(51);
    /// 999: everything else (the reference's convention).
    pub const INTERNAL: Self = Self(999);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An error result as it travels: `{"cniVersion": …, "code": …, "msg": …, "details": …}`.
/// `cniVersion` is added by whoever writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What kind of error.
    pub code: ErrorCode,
    /// One sentence: what was being done, to what.
    #[serde(default)]
    pub msg: String,
    /// Why, outermost cause first, joined by `: `. Absent on the wire when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl ErrorReply {
    /// A reply of these parts.
    pub fn new(code: ErrorCode, msg: impl Into<String>, details: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: details.into() }
    }

    /// What an error says of itself: `msg` is the error, `details` its causes.
    pub fn of(error: &(impl CniError + ?Sized)) -> Self {
        Self::new(error.code(), error.to_string(), causes(error.source()))
    }
}

impl fmt::Display for ErrorReply {
    /// `msg; details`, as the reference prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, "; {}", self.details) }
    }
}

impl Error for ErrorReply {}

/// An error that knows its CNI code. Every error enum of a plugin implements it, with a `match` without `_`.
pub trait CniError: Error {
    /// The `code` on the wire.
    fn code(&self) -> ErrorCode;

    /// The whole reply: `msg` is this error, `details` its causes. An error that only carries a
    /// delegate's reply overrides this to pass it on unchanged.
    fn reply(&self) -> ErrorReply {
        ErrorReply::of(self)
    }
}

impl CniError for ErrorReply {
    fn code(&self) -> ErrorCode {
        self.code
    }
    fn reply(&self) -> ErrorReply {
        self.clone()
    }
}

/// The failures of work that goes on after each of them, as DEL and GC do: what is left is removed all the same, and
/// everything is reported at the end.
#[derive(Debug)]
pub struct Failures<E>(Vec<E>);

impl<E> Failures<E> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Notes the failure of one piece of work, if it failed.
    pub fn note<T>(&mut self, outcome: Result<T, impl Into<E>>) {
        self.0.extend(outcome.err().map(Into::into));
    }

    /// Success if there was no failure; the one failure; or what `several` makes of more.
    ///
    /// # Errors
    /// What was noted.
    pub fn into_result(mut self, several: impl FnOnce(Vec<E>) -> E) -> Result<(), E> {
        if self.0.len() > 1 {
            return Err(several(self.0));
        }
        self.0.pop().map_or(Ok(()), Err)
    }
}

impl<E> Default for Failures<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> FromIterator<E> for Failures<E> {
    fn from_iter<I: IntoIterator<Item = E>>(failures: I) -> Self {
        Self(failures.into_iter().collect())
    }
}

/// Several errors in one sentence, each with its causes: `a: why; b: why`.
#[must_use]
pub fn listed<E: Error + 'static>(errors: &[E]) -> String {
    errors.iter().map(|error| causes(Some(error))).collect::<Vec<_>>().join("; ")
}

/// The chain of causes from `error` on, outermost first, joined by `: `. Empty for `None`.
#[must_use]
pub fn causes(error: Option<&(dyn Error + 'static)>) -> String {
    let mut text = String::new();
    let mut next = error;
    while let Some(cause) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot attach veth1a2b to bridge cni0")]
    struct Attach(#[source] std::io::Error);

    impl CniError for Attach {
        fn code(&self) -> ErrorCode {
            ErrorCode::INTERNAL
        }
    }

    #[test]
    fn failures_are_all_reported() {
        let attach = || Attach(std::io::Error::other("out of ports"));
        let several = |errors: Vec<Attach>| Attach(std::io::Error::other(listed(&errors)));
        let mut failures: Failures<Attach> = Failures::new();
        failures.note(Ok::<(), Attach>(()));
        assert!(Failures::<Attach>::new().into_result(several).is_ok());
        failures.note(Err::<(), _>(attach()));
        failures.note(Err::<(), _>(attach()));
        let one = "cannot attach veth1a2b to bridge cni0: out of ports";
        let error = failures.into_result(several).unwrap_err();
        assert_eq!(error.reply().details, format!("{one}; {one}"));
    }

    #[test]
    fn reply_has_the_error_as_message_and_the_causes_as_details() {
        let reply = Attach(std::io::Error::other("out of ports")).reply();
        assert_eq!(
            reply,
            ErrorReply::new(ErrorCode::INTERNAL, "cannot attach veth1a2b to bridge cni0", "out of ports")
        );
        assert_eq!(reply.to_string(), "cannot attach veth1a2b to bridge cni0; out of ports");
    }
}
