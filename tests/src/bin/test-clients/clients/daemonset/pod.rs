//! The pod of a DaemonSet on this node, as kubelet runs it: its containers by podman, with what the manifest gives each of them
//! and nothing else. A field that is not understood here is a failure.

use std::path::PathBuf;

use serde_json::Value;

use super::manifest::{DaemonSet, list, strings};
use crate::clients::docker_cli::DockerCli as _;
use crate::clients::podman::Podman;
use crate::machine::wait_until;

/// What the field `spec.nodeName` is.
const NODE_NAME: &str = "n1";
/// What a container may say, and what becomes of it here. Limits need controllers of cgroups, which may not be there; probes are
/// the caller's.
const FIELDS: [&str; 10] = [
    "name",
    "image",
    "command",
    "args",
    "env",
    "resources",
    "securityContext",
    "livenessProbe",
    "readinessProbe",
    "volumeMounts",
];

/// The containers of a pod.
pub(super) struct Pod<'a> {
    pub(super) podman: &'a Podman<'a>,
    pub(super) set: &'a DaemonSet,
    /// What the image of the manifest is here.
    pub(super) image: &'a str,
}

impl Pod<'_> {
    /// Runs the init containers, one after the other; what they print.
    ///
    /// # Errors
    /// What the one that fails wrote.
    pub(super) fn init(&self) -> Result<String, String> {
        let mut said = String::new();
        for container in list(&self.set.pod()["initContainers"]) {
            let name = container["name"].as_str().expect("a name");
            self.run(container, name)?;
            // `podman run` without --detach waits for 20 s more: for conmon, which nobody here reaps.
            wait_until(name, || ["exited", "stopped"].contains(&self.inspect(name, ".State.Status").as_str()));
            let log = std::fs::read_to_string(self.inspect(name, ".HostConfig.LogConfig.Path")).expect("a log");
            let code = self.inspect(name, ".State.ExitCode");
            self.podman.call(&format!("rm {name}"));
            if code != "0" {
                return Err(format!("{name} ends with {code}: {log}"));
            }
            said.push_str(&log);
        }
        Ok(said)
    }

    fn inspect(&self, container: &str, field: &str) -> String {
        self.podman.call(&format!("inspect --format {{{{{field}}}}} {container}"))
    }

    /// Starts the container that stays, in the place of one of an earlier pod; its name.
    pub(super) fn start(&self) -> &str {
        let container = &self.set.pod()["containers"][0];
        assert_eq!(list(&self.set.pod()["containers"]).len(), 1);
        self.run(container, self.set.name()).unwrap_or_else(|e| panic!("{}: {e}", self.set.name()));
        self.set.name()
    }

    /// As when the pod is deleted: SIGTERM, and SIGKILL when its time is over.
    pub(super) fn stop(&self) {
        let grace = self.set.pod()["terminationGracePeriodSeconds"].to_string();
        self.podman.call(&format!("stop --time {grace} {}", self.set.name()));
        let code = self.inspect(self.set.name(), ".State.ExitCode");
        self.podman.call(&format!("rm {}", self.set.name()));
        assert_eq!(code, "0", "{} does not end by SIGTERM", self.set.name());
    }

    fn run(&self, container: &Value, name: &str) -> Result<String, String> {
        let arguments = self.arguments(container, name);
        self.podman.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// `podman run …` for a container.
    fn arguments(&self, container: &Value, name: &str) -> Vec<String> {
        let unknown: Vec<_> = container.as_object().expect("a container").keys().collect();
        let unknown: Vec<_> = unknown.into_iter().filter(|key| !FIELDS.contains(&key.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?} of a container are not understood");
        assert_eq!(self.set.pod()["hostNetwork"], true);
        let run = ["run", "--detach", "--name", name, "--pull", "never", "--network", "host"];
        let mut line: Vec<String> = run.map(str::to_owned).to_vec();
        line.extend(["--entrypoint".to_owned(), container["command"].to_string()]);
        line.extend(security(&container["securityContext"]));
        for variable in list(&container["env"]) {
            assert_eq!(variable["valueFrom"]["fieldRef"]["fieldPath"], "spec.nodeName");
            line.push(format!("--env={}={NODE_NAME}", variable["name"].as_str().expect("a name")));
        }
        line.extend(list(&container["volumeMounts"]).iter().map(|mount| self.mount(mount)));
        line.push(self.image.to_owned());
        line.extend(strings(&container["args"]).into_iter().map(str::to_owned));
        line
    }

    fn mount(&self, mount: &Value) -> String {
        let volumes = list(&self.set.pod()["volumes"]);
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("a volume");
        let from = match volume["hostPath"]["path"].as_str() {
            Some(path) => {
                assert_eq!(volume["hostPath"]["type"], "DirectoryOrCreate");
                std::fs::create_dir_all(path).expect("a directory of the node");
                PathBuf::from(path)
            }
            None => self.config_map(),
        };
        let mode = if mount["readOnly"] == true { ":ro" } else { "" };
        format!("--volume={}:{}{mode}", from.display(), mount["mountPath"].as_str().expect("a path"))
    }

    /// The ConfigMap as kubelet writes it: links to files of a hidden directory.
    fn config_map(&self) -> PathBuf {
        let dir = self.podman.machine.dir.join("config").join(self.set.name());
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("..1")).expect("a directory");
        std::os::unix::fs::symlink("..1", dir.join("..data")).expect("a link");
        for (name, text) in &self.set.files {
            libcni::store::write_atomic(&dir.join("..1").join(name), text.as_bytes(), 0o644).expect("a file");
            std::os::unix::fs::symlink(PathBuf::from("..data").join(name), dir.join(name)).expect("a link");
        }
        dir
    }
}

fn security(context: &Value) -> Vec<String> {
    let mut options = Vec::new();
    for (key, value) in context.as_object().expect("a securityContext") {
        match (key.as_str(), value) {
            ("allowPrivilegeEscalation", Value::Bool(false)) => {
                options.push("--security-opt=no-new-privileges".to_owned())
            }
            ("readOnlyRootFilesystem", Value::Bool(true)) => {
                options.extend(["--read-only".to_owned(), "--read-only-tmpfs=false".to_owned()]);
            }
            ("capabilities", _) => {
                options.extend(strings(&value["drop"]).into_iter().map(|name| format!("--cap-drop={name}")));
                options.extend(strings(&value["add"]).into_iter().map(|name| format!("--cap-add={name}")));
            }
            ("runAsUser", Value::Number(user)) => options.push(format!("--user={user}")),
            ("runAsNonRoot", Value::Bool(true)) => assert!(context["runAsUser"].as_u64() > Some(0)),
            // podman's own, which is the default.
            ("seccompProfile", _) => assert_eq!(value["type"], "RuntimeDefault"),
            _ => panic!("{key}: {value} of a securityContext is not understood"),
        }
    }
    options
}
