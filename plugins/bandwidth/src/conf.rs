//! The configuration of `bandwidth`: JSON in, checked values out.

use libcni::json::FieldError;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use linuxnet::tc::Tbf;
use serde::Deserialize;

use crate::error::BandwidthError;

/// How long a byte may wait in a full queue once the burst is used up, in ms; as the reference.
const LATENCY_MS: u64 = 25;

/// What the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `ingressRate` and `ingressBurst`: what the container receives. `None`: as much as comes.
    pub(crate) ingress: Option<Limit>,
    /// `egressRate` and `egressBurst`: what it sends.
    pub(crate) egress: Option<Limit>,
}

/// A rate and a burst, as they are configured; each at least one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Bits per second.
    rate: u64,
    /// Bits that may go at once after a silence, up to 2^35 - 9.
    burst: u64,
}

impl Limit {
    /// The token bucket that keeps it.
    pub(crate) fn tbf(self) -> Tbf {
        let rate = self.rate / 8;
        let burst = u32::try_from(self.burst / 8).unwrap_or(u32::MAX);
        let waiting = u32::try_from(u128::from(rate) * u128::from(LATENCY_MS) / 1000).unwrap_or(u32::MAX);
        Tbf { rate, burst, limit: waiting.saturating_add(burst) }
    }
}

/// The same keys stand at the top level and in `runtimeConfig.bandwidth`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// What the container may receive, in bits per second; at least 8.
    ingress_rate: Option<u64>,
    /// Bits that may arrive at once after a silence; needed with the rate, up to 2^35 - 9.
    ingress_burst: Option<u64>,
    /// What the container may send, in bits per second; at least 8.
    egress_rate: Option<u64>,
    /// Bits that may be sent at once after a silence; needed with the rate, up to 2^35 - 9.
    egress_burst: Option<u64>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WithRuntime {
    /// What the runtime says.
    runtime_config: WireRuntime,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct WireRuntime {
    /// The limits of this container (capability `bandwidth`); only where the configuration itself has none.
    bandwidth: Option<Wire>,
}

impl Conf {
    /// Reads the plugin's own keys. Any one at the top level, and what the runtime says does not count.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, BandwidthError> {
        let own: Wire = call.config.decode()?;
        let runtime: WithRuntime = call.config.decode()?;
        Self::choose(&own, runtime.runtime_config.bandwidth.as_ref()).map_err(|e| ConfigError::Field(e).into())
    }

    /// Whether nothing is limited.
    pub(crate) fn is_empty(self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }

    fn choose(own: &Wire, runtime: Option<&Wire>) -> Result<Self, FieldError> {
        match runtime {
            Some(runtime) if own.is_empty() => {
                Self::check(runtime).map_err(|fault| fault.within("bandwidth").within("runtimeConfig"))
            }
            _ => Self::check(own),
        }
    }

    fn check(wire: &Wire) -> Result<Self, FieldError> {
        Ok(Self {
            ingress: limit(("ingressRate", wire.ingress_rate), ("ingressBurst", wire.ingress_burst))?,
            egress: limit(("egressRate", wire.egress_rate), ("egressBurst", wire.egress_burst))?,
        })
    }
}

impl Wire {
    fn is_empty(&self) -> bool {
        [self.ingress_rate, self.ingress_burst, self.egress_rate, self.egress_burst].iter().all(Option::is_none)
    }
}

/// A rate and a burst, in bits; neither, or 0 for both, is no limit.
fn limit(rate: (&str, Option<u64>), burst: (&str, Option<u64>)) -> Result<Option<Limit>, FieldError> {
    let (rate_key, rate) = (rate.0, rate.1.unwrap_or_default());
    let (burst_key, burst) = (burst.0, burst.1.unwrap_or_default());
    let fault = |path: &str, problem: &str| Err(FieldError { path: path.to_owned(), problem: problem.to_owned() });
    match (rate, burst) {
        (0, 0) => Ok(None),
        (0, _) => fault(rate_key, &format!("if burst is set, rate must also be set ({burst_key} is {burst})")),
        (_, 0) => {
            let tenth = (rate / 10).max(8);
            let problem = format!(
                "if rate is set, burst must also be set ({rate_key} is {rate}; hint: {tenth} bits, what goes in 0.1 s)"
            );
            fault(burst_key, &problem)
        }
        (1..8, _) => Err(FieldError::new(rate_key, rate, "8 bits per second or more")),
        (_, 1..8) => Err(FieldError::new(burst_key, burst, "8 bits or more")),
        (_, burst) if burst / 8 >= u64::from(u32::MAX) => {
            fault(burst_key, &format!("burst cannot be more than 4GB (4294967294 bytes, in bits), not {burst}"))
        }
        (rate, burst) => Ok(Some(Limit { rate, burst })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::json;
    use serde_json::{Value, json};

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("bandwidth", env!("CARGO_PKG_DESCRIPTION"))
            .with::<Wire>()
            .with::<WithRuntime>()
            .assert_is_current();
    }

    fn conf(value: &Value) -> Result<Conf, String> {
        let decoded = || {
            let own: Wire = json::decode(value)?;
            let runtime: WithRuntime = json::decode(value)?;
            Conf::choose(&own, runtime.runtime_config.bandwidth.as_ref())
        };
        decoded().map_err(|fault: FieldError| fault.to_string())
    }

    fn fault(value: &Value) -> String {
        conf(value).unwrap_err()
    }

    fn limit(rate: u64, burst: u64) -> Option<Limit> {
        Some(Limit { rate, burst })
    }

    #[test]
    fn nothing_and_zero_are_no_limit() {
        let zero = json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0});
        let unset = json!({"ingressRate": null, "runtimeConfig": {"bandwidth": null}});
        for value in [json!({}), zero.clone(), unset, json!({"runtimeConfig": {"bandwidth": zero}})] {
            assert!(conf(&value).unwrap().is_empty(), "{value}");
        }
    }

    #[test]
    fn the_keys_as_containerd_spells_them() {
        let value = json!({"runtimeConfig": {"bandwidth": {
            "IngressRate": 10_000_000, "IngressBurst": u32::MAX, "EgressRate": 0, "EgressBurst": 0
        }}});
        let conf = conf(&value).unwrap();
        assert_eq!((conf.ingress, conf.egress), (limit(10_000_000, u64::from(u32::MAX)), None));
    }

    #[test]
    fn any_key_at_the_top_level_disables_what_the_runtime_says() {
        let runtime = json!({"bandwidth": {"ingressRate": 8000, "ingressBurst": 8000}});
        let value = json!({"EGRESSRATE": 16_000, "egressBurst": 24_000, "RuntimeConfig": runtime.clone()});
        assert_eq!(conf(&value).unwrap(), Conf { ingress: None, egress: limit(16_000, 24_000) });
        assert!(conf(&json!({"ingressRate": 0, "runtimeConfig": runtime.clone()})).unwrap().is_empty());
        assert_eq!(conf(&json!({"runtimeConfig": runtime})).unwrap().ingress, limit(8000, 8000));
    }

    #[test]
    fn the_token_bucket_is_the_references() {
        // What the Go plugin v1.9.1 sent.
        assert_eq!(
            Limit { rate: 8_000_000, burst: 1_000_000 }.tbf(),
            Tbf { rate: 1_000_000, burst: 125_000, limit: 150_000 }
        );
        assert_eq!(
            Limit { rate: 40_000_000_000, burst: u64::from(u32::MAX) }.tbf(),
            Tbf { rate: 5_000_000_000, burst: 536_870_911, limit: 661_870_911 }
        );
        assert_eq!(Limit { rate: u64::MAX, burst: 34_359_738_352 }.tbf().limit, u32::MAX);
    }

    #[test]
    fn bad_values_name_the_field() {
        for (value, problem) in [
            (
                json!({"ingressRate": 8000}),
                "ingressBurst: if rate is set, burst must also be set (ingressRate is 8000; hint: 800 bits, what goes in 0.1 s)",
            ),
            (json!({"egressBurst": 8000}), "egressRate: if burst is set, rate must also be set (egressBurst is 8000)"),
            (
                json!({"egressRate": 7, "egressBurst": 8000}),
                "egressRate: invalid value 7, expected 8 bits per second or more",
            ),
            (json!({"egressRate": 8000, "egressBurst": 1}), "egressBurst: invalid value 1, expected 8 bits or more"),
            (
                json!({"ingressRate": 8000, "ingressBurst": 34_359_738_360u64}),
                "ingressBurst: burst cannot be more than 4GB (4294967294 bytes, in bits), not 34359738360",
            ),
            (
                json!({"ingressRate": "10M", "ingressBurst": 8000}),
                "ingressRate: invalid value \"10M\", expected a whole number, 0 or more",
            ),
            (
                json!({"runtimeConfig": {"bandwidth": {"IngressRate": -1}}}),
                "runtimeConfig.bandwidth.IngressRate: invalid value -1, expected a whole number, 0 or more",
            ),
            (
                json!({"runtimeConfig": {"bandwidth": {"ingressRate": 1000}}}),
                "runtimeConfig.bandwidth.ingressBurst: if rate is set, burst must also be set \
                 (ingressRate is 1000; hint: 100 bits, what goes in 0.1 s)",
            ),
        ] {
            assert_eq!(fault(&value), problem, "{value}");
        }
        assert!(conf(&json!({"ingressRate": 8000, "ingressBurst": 34_359_738_352u64})).is_ok());
    }
}
