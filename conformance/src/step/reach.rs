//! Who reaches whom, with packets.

use serde::{Deserialize, Serialize};

/// An echo request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// The place that asks.
    pub from: String,
    /// The address.
    pub to: String,
}

/// A request from one place to a service at another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fetch {
    /// The place that asks.
    pub from: String,
    /// The address.
    pub to: String,
    /// The port.
    pub port: u16,
    /// By UDP instead of TCP.
    #[serde(default)]
    pub udp: bool,
    /// The place whose service must answer.
    pub server: String,
    /// The port of that service, on its own place.
    pub server_port: u16,
    /// The address that the service must see as its client.
    pub saw: Option<String>,
}

/// A TCP port that nobody answers on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// The place that asks.
    pub from: String,
    /// The address.
    pub to: String,
    /// The port.
    pub port: u16,
}
