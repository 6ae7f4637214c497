//! W3C trace context, passed to plugins in the environment.

use crate::plugin::Env;

/// A position in a distributed trace (W3C "Trace Context" and "Baggage"), which plugins and their delegates find in
/// `TRACEPARENT`, `TRACESTATE` and `BAGGAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    parent: String,
    state: String,
    baggage: String,
}

/// A `traceparent` that does not follow the recommendation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid trace parent \"{0}\", expected 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, not all zero")]
pub struct InvalidTraceParent(pub String);

impl TraceContext {
    /// The context with this `traceparent` (`00-<trace id>-<parent id>-<flags>`, lower-case hex).
    ///
    /// # Errors
    /// [`InvalidTraceParent`]: a plugin could do nothing with it.
    pub fn new(parent: impl Into<String>) -> Result<Self, InvalidTraceParent> {
        let parent = parent.into();
        let parts: Vec<&str> = parent.split('-').collect();
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let zero = |text: &str| text.bytes().all(|b| b == b'0');
        let valid = match parts.as_slice() {
            [version, trace, span, flags] => {
                hex(version, 2)
                    && *version != "ff"
                    && hex(trace, 32)
                    && hex(span, 16)
                    && hex(flags, 2)
                    && !zero(trace)
                    && !zero(span)
            }
            _ => false,
        };
        if !valid {
            return Err(InvalidTraceParent(parent));
        }
        Ok(Self { parent, state: String::new(), baggage: String::new() })
    }

    /// With a `tracestate`; empty: none.
    #[must_use]
    pub fn with_state(mut self, state: impl Into<String>) -> Self {
        self.state = state.into();
        self
    }

    /// With a `baggage`; empty: none.
    #[must_use]
    pub fn with_baggage(mut self, baggage: impl Into<String>) -> Self {
        self.baggage = baggage.into();
        self
    }

    /// `env` with this context instead of the one that it may hold. A state or baggage of another trace does not stay.
    pub(super) fn apply(&self, env: Env) -> Env {
        env.with("TRACEPARENT", &self.parent).with("TRACESTATE", &self.state).with("BAGGAGE", &self.baggage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_valid_parent_is_taken() {
        assert!(TraceContext::new(PARENT).is_ok());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::new(bad), Err(InvalidTraceParent(bad.to_owned())));
        }
    }

    #[test]
    fn the_state_of_another_trace_does_not_stay() {
        let inherited = Env::from_iter([("TRACEPARENT", "old"), ("TRACESTATE", "old=1"), ("PATH", "/bin")]);
        let env = TraceContext::new(PARENT).unwrap().with_baggage("user=7").apply(inherited);
        assert_eq!(env.var("TRACEPARENT"), Some(PARENT));
        assert_eq!(env.var("TRACESTATE"), None);
        assert_eq!(env.var("BAGGAGE"), Some("user=7"));
        assert_eq!(env.var("PATH"), Some("/bin"));
    }
}
