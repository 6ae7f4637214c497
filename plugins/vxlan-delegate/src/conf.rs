//! The configuration of `vxlan-delegate`: flannel's keys.

use std::path::PathBuf;

use libcni::plugin::Call;
use libcni::types::ConfigError;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Where flannel's daemon writes the node's subnet.
const SUBNET_FILE: &str = "/run/flannel/subnet.env";
/// Where flannel's plugin keeps what it gave the delegate.
const DATA_DIR: &str = "/var/lib/cni/flannel";

/// Where overlayd answers.
const OVERLAYD_SOCKET: &str = "/run/overlayd/overlayd.sock";

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conf {
    /// `subnetFile`: where the node's subnet is written.
    pub(crate) subnet_file: PathBuf,
    /// `dataDir`: where the configurations of delegates are kept between ADD and DEL.
    pub(crate) data_dir: PathBuf,
    /// `overlaydSocket`: where overlayd answers, if it is what runs the overlay.
    pub(crate) overlayd_socket: PathBuf,
    /// `delegate`: keys for the delegate.
    pub(crate) delegate: Map<String, Value>,
    /// `ipam`: keys for the delegate's `ipam`.
    pub(crate) ipam: Map<String, Value>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// Where the overlay's daemon writes the node's subnet.
    #[cfg_attr(test, schemars(extend("default" = SUBNET_FILE)))]
    subnet_file: String,
    /// Where overlayd answers.
    #[cfg_attr(test, schemars(extend("default" = OVERLAYD_SOCKET)))]
    overlayd_socket: String,
    /// The configuration of the plugin that attaches the container, by default of `bridge`; what depends on the node is
    /// filled in.
    delegate: Map<String, Value>,
    /// Keys for the delegate's `ipam`.
    ipam: Map<String, Value>,
}

impl Conf {
    /// Reads the plugin's own keys.
    pub(crate) fn load(call: &Call<'_>) -> Result<Self, ConfigError> {
        let wire: Wire = call.config.decode()?;
        Ok(Self {
            subnet_file: or_default(wire.subnet_file, SUBNET_FILE),
            data_dir: DataDir::load(call)?,
            overlayd_socket: or_default(wire.overlayd_socket, OVERLAYD_SOCKET),
            delegate: wire.delegate,
            ipam: wire.ipam,
        })
    }
}

/// `dataDir` alone, which DEL and GC can do without the rest.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DataDir {
    /// Where configurations of delegates are kept between ADD and DEL.
    #[cfg_attr(test, schemars(extend("default" = DATA_DIR)))]
    data_dir: String,
}

impl DataDir {
    fn load(call: &Call<'_>) -> Result<PathBuf, ConfigError> {
        let wire: Self = call.config.decode()?;
        Ok(or_default(wire.data_dir, DATA_DIR))
    }

    /// The directory, or the one of those who say nothing: a fault must not keep DEL from its end.
    pub(crate) fn find(call: &Call<'_>) -> PathBuf {
        Self::load(call).unwrap_or_else(|fault| {
            call.warn(format_args!("{fault}: looking in {DATA_DIR}"));
            PathBuf::from(DATA_DIR)
        })
    }
}

/// An empty path is none.
fn or_default(path: String, default: &str) -> PathBuf {
    if path.is_empty() { PathBuf::from(default) } else { PathBuf::from(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_plugin("vxlan-delegate", env!("CARGO_PKG_DESCRIPTION"))
            .with::<DataDir>()
            .with::<Wire>()
            .assert_is_current();
    }
}
