//! The program, with files of its own.

use std::path::PathBuf;
use std::process::Command;

use ferrule_tests::Place;

use crate::clients::docker_cli::DockerCli;
use crate::machine::Machine;

/// What podman reads; resources are not limited, since not all controllers of cgroups may be there.
const CONTAINERS: &str = r#"
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
pids_limit = 0
apparmor_profile = "unconfined"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
PROGRAMS
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
"#;

/// On a tmpfs, layers are copied.
const STORAGE: &str = r#"
[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"#;

/// podman on a machine.
pub(crate) struct Podman<'a> {
    pub(crate) machine: &'a Machine,
    containers: PathBuf,
    storage: PathBuf,
}

impl<'a> Podman<'a> {
    pub(crate) fn new(machine: &'a Machine) -> Self {
        let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        std::fs::create_dir_all(machine.dir.join(".config/containers")).expect("a directory");
        machine.write(".config/containers/policy.json", policy);
        let containers = CONTAINERS.replace("PROGRAMS", &programs());
        Self {
            machine,
            containers: machine.write("containers.conf", &containers),
            storage: machine.write("storage.conf", STORAGE),
        }
    }

    /// A program that runs podman.
    pub(crate) fn configure(&self, mut command: Command) -> Command {
        command.env("HOME", &self.machine.dir);
        command.env("CONTAINERS_CONF", &self.containers).env("CONTAINERS_STORAGE_CONF", &self.storage);
        command
    }
}

impl DockerCli for Podman<'_> {
    const PROGRAM: &'static str = "podman";
    const OWN_NETWORKS: &'static [&'static str] = &["podman"];

    fn machine(&self) -> &Machine {
        self.machine
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(Self::PROGRAM);
        command.args(arguments);
        self.machine.run(self.configure(command), "").map(|output| output.trim().to_owned())
    }

    fn place(&self, container: &str) -> Place {
        let netns = self.call(&format!("inspect --format {{{{.NetworkSettings.SandboxKey}}}} {container}"));
        Place { name: container.to_owned(), netns: netns.into() }
    }
}

/// podman does not look in `PATH`.
fn programs() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |program: &str| {
        let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file());
        found.unwrap_or_else(|| panic!("{program} is not installed"))
    };
    format!("conmon_path = [{:?}]\n[engine.runtimes]\nrunc = [{:?}]", find("conmon"), find("runc"))
}
