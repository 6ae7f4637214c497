//! A whole plugin: it adds the routes that its configuration lists to the result of the plugin before it.
//!
//! A plugin is a process that reads the environment and stdin and writes stdout, so it can be run by hand:
//!
//! ```console
//! $ cargo build -p libcni --example plugin
//! $ echo '{"cniVersion": "1.1.0", "name": "demo", "type": "plugin", "routes": [{"dst": "10.9.0.0/16", "gw": "10.1.0.1"}],
//!     "prevResult": {"ips": [{"address": "10.1.0.5/16"}]}}' |
//!   CNI_COMMAND=ADD CNI_CONTAINERID=blue CNI_NETNS=/run/netns/blue CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
//!   target/debug/examples/plugin
//! ```
//!
//! It answers with the result, which now has the route. Try `CNI_COMMAND=VERSION`, or leave a variable out.

use libcni::plugin::{Attachment, Call, Plugin};
use libcni::types::{AddResult, AttachmentId, ConfigError, Route};

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Config {
    routes: Vec<Route>,
}

struct AddRoutes;

impl Plugin for AddRoutes {
    type Error = ConfigError;

    fn name(&self) -> &'static str {
        "plugin"
    }

    fn add(&self, call: &Call<'_>, _attachment: &Attachment) -> Result<AddResult, ConfigError> {
        let config: Config = call.config.decode()?;
        let mut result = call.config.prev_result.clone().unwrap_or_default();
        result.routes.extend(config.routes);
        Ok(result)
    }

    // ADD makes nothing outside of its result, so there is nothing to remove, compare or miss.
    fn del(&self, _call: &Call<'_>, _attachment: &Attachment) -> Result<(), ConfigError> {
        Ok(())
    }

    fn check(&self, _call: &Call<'_>, _attachment: &Attachment) -> Result<(), ConfigError> {
        Ok(())
    }

    fn gc(&self, _call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), ConfigError> {
        Ok(())
    }

    fn status(&self, _call: &Call<'_>) -> Result<(), ConfigError> {
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    libcni::plugin::main(&AddRoutes)
}
