//! Pods through CRI, the interface of container runtimes that kubelet uses: JSON by way of `grpcurl`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::image::{IMAGE, SERVE};
use crate::patience::eventually_within;
use crate::{Place, http};

/// How long a container may take to begin, and a network to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a runtime.
#[derive(Debug)]
pub struct Cri {
    host: Arc<Place>,
    socket: &'static str,
    /// Where `api.proto` is.
    protocol: PathBuf,
}

/// A pod that runs a server.
#[derive(Debug)]
pub struct Pod {
    /// Its ID.
    pub id: String,
    /// Its name, and its host's.
    pub name: String,
    /// Its network.
    pub place: Place,
    /// Its addresses, in the order of the result.
    pub ips: Vec<IpAddr>,
    /// Its configuration, which CRI wants again for its containers.
    config: Value,
}

/// The configuration of a pod, with namespaces as kubelet asks for them. `port` of the node leads to its port 80.
pub fn config(name: &str, port: Option<u16>, annotations: &Value) -> Value {
    let ports: Vec<Value> =
        port.iter().map(|port| json!({"protocol": "TCP", "container_port": 80, "host_port": port})).collect();
    json!({
        "metadata": {"name": name, "uid": name, "namespace": "default"},
        "hostname": name,
        "log_directory": "/run/test/pods",
        "port_mappings": ports,
        "annotations": annotations,
        "linux": linux(),
    })
}

/// The configuration of a pod that has the node's network, and so its name.
#[must_use]
pub fn config_on_node(name: &str) -> Value {
    let mut config = config(name, None, &json!({}));
    config["linux"]["security_context"]["namespace_options"]["network"] = json!("NODE");
    config["hostname"] = json!("");
    config
}

/// Each container has process IDs of its own.
fn linux() -> Value {
    json!({"security_context": {"namespace_options": {"pid": "CONTAINER"}}})
}

impl Cri {
    /// To the runtime behind `socket` of `host`; `tools` has the sources that a client of CRI needs.
    #[must_use]
    pub fn new(host: &Arc<Place>, socket: &'static str, tools: &Path) -> Self {
        Self { host: Arc::clone(host), socket, protocol: tools.join("source/cri-api/pkg/apis/runtime/v1") }
    }

    /// The program that makes a call, with what it wants on stdin.
    pub fn command(&self, service: &str, method: &str) -> Command {
        let mut command = Command::new("grpcurl");
        command.args(["-plaintext", "-max-time", "120", "-proto", "api.proto", "-d", "@"]);
        command.arg("-import-path").arg(&self.protocol);
        command.args([format!("unix://{}", self.socket), format!("runtime.v1.{service}/{method}")]);
        command
    }

    /// What the runtime answers.
    ///
    /// # Errors
    /// The runtime's.
    pub fn try_call(&self, method: &str, request: &Value) -> Result<Value, String> {
        let service = if method.contains("Image") { "ImageService" } else { "RuntimeService" };
        let answer = self.host.output(self.command(service, method), &request.to_string())?;
        Ok(serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{method}: {e}: {answer}")))
    }

    #[track_caller]
    pub fn call(&self, method: &str, request: &Value) -> Value {
        self.try_call(method, request).unwrap_or_else(|e| panic!("{method}: {e}"))
    }

    /// Whether the network is ready, and what is said about it.
    pub fn network_ready(&self) -> Option<(bool, String)> {
        let status = self.try_call("Status", &json!({})).ok()?;
        let conditions = status["status"]["conditions"].as_array()?;
        let network = conditions.iter().find(|condition| condition["type"] == "NetworkReady")?;
        // What is false is left out.
        Some((network["status"] == true, network["message"].as_str().unwrap_or_default().to_owned()))
    }

    /// Whether pods can be attached.
    #[must_use]
    pub fn is_network_ready(&self) -> bool {
        self.network_ready().is_some_and(|(ready, _)| ready)
    }

    /// Waits until pods can be attached.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn await_network(&self) {
        eventually_within(PATIENCE, "the network is ready", || self.is_network_ready());
    }

    /// A pod alone, without containers: its ID.
    ///
    /// # Errors
    /// The runtime's.
    pub fn sandbox(&self, config: &Value) -> Result<String, String> {
        let answer = self.try_call("RunPodSandbox", &json!({"config": config}))?;
        Ok(answer["podSandboxId"].as_str().expect("an ID").to_owned())
    }

    /// A pod with a server.
    #[track_caller]
    pub fn pod(&self, config: Value) -> Pod {
        let id = self.sandbox(&config).unwrap_or_else(|e| panic!("RunPodSandbox: {e}"));
        let image = json!({"image": IMAGE, "user_specified_image": IMAGE});
        let container = json!({"metadata": {"name": "web"}, "image": image, "command": SERVE, "linux": linux()});
        let made =
            self.call("CreateContainer", &json!({"pod_sandbox_id": id, "config": container, "sandbox_config": config}));
        self.call("StartContainer", &json!({"container_id": made["containerId"]}));
        let name = config["metadata"]["name"].as_str().expect("a name").to_owned();
        let place = Place { name: name.clone(), netns: self.netns(&id) };
        let ips = self.addresses(&id);
        eventually_within(PATIENCE, "the server answers", || http::page(&place, [127, 0, 0, 1].into(), 80).is_ok());
        Pod { id, name, place, ips, config }
    }

    /// Where the namespace of its network is bound.
    ///
    /// # Panics
    /// If the runtime does not tell.
    #[must_use]
    pub fn netns(&self, pod: &str) -> PathBuf {
        let status = self.call("PodSandboxStatus", &json!({"pod_sandbox_id": pod, "verbose": true}));
        let info: Value = serde_json::from_str(status["info"]["info"].as_str().expect("info")).expect("JSON");
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().into_iter().flatten();
        let network = namespaces.filter(|namespace| namespace["type"] == "network").find_map(|n| n["path"].as_str());
        PathBuf::from(network.unwrap_or_else(|| panic!("{pod} has no network of its own")))
    }

    /// The addresses that the runtime tells kubelet.
    pub fn addresses(&self, pod: &str) -> Vec<IpAddr> {
        let network = &self.call("PodSandboxStatus", &json!({"pod_sandbox_id": pod}))["status"]["network"];
        let more = network["additionalIps"].as_array().into_iter().flatten().map(|more| &more["ip"]);
        [&network["ip"]].into_iter().chain(more).filter_map(|ip| ip.as_str()?.parse().ok()).collect()
    }

    /// The IDs of all pods that are there, in whatever state.
    pub fn pods(&self) -> Vec<String> {
        let pods = self.call("ListPodSandbox", &json!({}));
        let ids = pods["items"].as_array().into_iter().flatten().filter_map(|pod| pod["id"].as_str());
        ids.map(str::to_owned).collect()
    }

    /// Stops and removes all pods.
    ///
    /// # Panics
    /// If one cannot be.
    pub fn remove_all_pods(&self) {
        for pod in self.pods() {
            self.stop(&pod);
            self.remove(&pod);
        }
    }

    /// The IDs of a pod's containers.
    pub fn containers(&self, pod: &str) -> Vec<String> {
        let containers = self.call("ListContainers", &json!({"filter": {"pod_sandbox_id": pod}}));
        let ids = containers["containers"].as_array().into_iter().flatten().filter_map(|c| c["id"].as_str());
        ids.map(str::to_owned).collect()
    }

    pub fn is_ready(&self, pod: &str) -> bool {
        // The first of the states, which is left out.
        self.call("PodSandboxStatus", &json!({"pod_sandbox_id": pod}))["status"]["state"]
            .as_str()
            .is_none_or(|state| state == "SANDBOX_READY")
    }

    /// As kubelet does it: the containers first, here without patience.
    #[track_caller]
    pub fn stop(&self, pod: &str) {
        for container in self.containers(pod) {
            self.call("StopContainer", &json!({"container_id": container, "timeout": 0}));
        }
        self.call("StopPodSandbox", &json!({"pod_sandbox_id": pod}));
    }

    #[track_caller]
    pub fn remove(&self, pod: &str) {
        self.call("RemovePodSandbox", &json!({"pod_sandbox_id": pod}));
    }
}

impl Pod {
    /// Its address of one family.
    pub fn address(&self, v6: bool) -> IpAddr {
        let found = self.ips.iter().find(|ip| ip.is_ipv6() == v6);
        *found.unwrap_or_else(|| panic!("{} has {:?}", self.name, self.ips))
    }

    /// Its port of the node.
    pub fn host_port(&self) -> u16 {
        let port = self.config["port_mappings"][0]["host_port"].as_u64().expect("a port");
        port.try_into().expect("a port")
    }
}
