//! The program, with files of its own, beside containerd 1.6.

use std::path::PathBuf;
use std::process::Command;

use ferrule_tests::Place;
use ferrule_tests::containerd::{Containerd, Release};

use crate::clients::docker_cli::DockerCli;
use crate::machine::Machine;
use crate::options::Options;

/// What nerdctl reads. There is no systemd; on a tmpfs, layers are copied.
const CONFIG: &str = "cgroup_manager = \"cgroupfs\"\nsnapshotter = \"native\"\n";

/// nerdctl on a machine.
pub(super) struct Nerdctl<'a> {
    pub(super) machine: &'a Machine,
    pub(super) containerd: Containerd,
    config: PathBuf,
}

impl<'a> Nerdctl<'a> {
    pub(super) fn new(machine: &'a Machine, options: &Options) -> Self {
        let containerd = Containerd::new(&Release::V1_6, &machine.node.host, &machine.dir, &options.tools);
        Self { machine, containerd, config: machine.write("nerdctl.toml", CONFIG) }
    }

    /// nerdctl with arguments.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Self::PROGRAM);
        command.args(arguments).env("HOME", &self.machine.dir).env("NERDCTL_TOML", &self.config);
        command
    }

    /// What it calls a container when it calls plugins.
    pub(super) fn cni_id(&self, container: &str) -> String {
        format!("default-{}", self.id(container))
    }
}

impl DockerCli for Nerdctl<'_> {
    const PROGRAM: &'static str = "nerdctl";
    const OWN_NETWORKS: &'static [&'static str] = &["bridge", "host", "none"];

    fn machine(&self) -> &Machine {
        self.machine
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        self.machine.run(self.command(arguments), "").map(|output| output.trim().to_owned())
    }

    fn place(&self, container: &str) -> Place {
        let pid = self.call(&format!("inspect --format {{{{.State.Pid}}}} {container}"));
        Place { name: container.to_owned(), netns: format!("/proc/{pid}/ns/net").into() }
    }
}
