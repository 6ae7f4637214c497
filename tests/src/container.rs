//! A container, as far as the network is concerned: a namespace, an ID, and what its runtime asks for.

use std::path::PathBuf;
use std::sync::Arc;

use libcni::netns::Netns;
use serde_json::{Value, json};

use crate::Place;

/// A container and one interface of it. Copies share the namespace; each may ask for something else.
#[derive(Clone, Debug)]
pub struct Container {
    /// `CNI_CONTAINERID`.
    pub id: String,
    /// `CNI_NETNS`; empty once the namespace is gone.
    pub netns: PathBuf,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: String,
    /// Capability arguments: what becomes `runtimeConfig` of the plugins that declare them.
    pub capabilities: Value,
    /// The inside.
    pub place: Arc<Place>,
}

impl Container {
    pub(crate) fn new(id: String, name: &str, netns: &Netns) -> Self {
        let place = Place { name: name.to_owned(), netns: netns.path().to_owned() };
        // Runtimes do this by the plugin loopback.
        place.sh("ip link set lo up");
        Self {
            id,
            netns: place.netns.clone(),
            ifname: "eth0".to_owned(),
            args: String::new(),
            capabilities: json!({}),
            place: Arc::new(place),
        }
    }

    /// With a published port, spelled as podman spells it.
    #[must_use]
    pub fn publish(self, protocol: &str, host_port: u16, container_port: u16) -> Self {
        self.publish_on("", protocol, host_port, container_port)
    }

    /// With a port published on one address of the host.
    #[must_use]
    pub fn publish_on(mut self, host_ip: &str, protocol: &str, host_port: u16, container_port: u16) -> Self {
        let mapping = json!({
            "hostPort": host_port, "containerPort": container_port, "protocol": protocol, "hostIP": host_ip
        });
        match self.capabilities["portMappings"].as_array_mut() {
            Some(mappings) => mappings.push(mapping),
            None => self.capabilities["portMappings"] = json!([mapping]),
        }
        self
    }

    /// With `CNI_ARGS`.
    #[must_use]
    pub fn with_args(mut self, args: &str) -> Self {
        args.clone_into(&mut self.args);
        self
    }

    /// With a capability argument.
    #[must_use]
    pub fn with_capability(mut self, name: &str, value: Value) -> Self {
        self.capabilities[name] = value;
        self
    }

    /// Its attachment under another interface name.
    #[must_use]
    pub fn on(mut self, ifname: &str) -> Self {
        ifname.clone_into(&mut self.ifname);
        self
    }

    /// As runtimes describe it on DEL when the namespace is gone: `CNI_NETNS` is empty.
    #[must_use]
    pub fn without_netns(mut self) -> Self {
        self.netns = PathBuf::new();
        self
    }
}
