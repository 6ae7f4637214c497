//! The daemon: started, stopped, killed.

use std::process::Command;
use std::time::Duration;

use ferrule_tests::cri::Cri;
use ferrule_tests::{Process, eventually_within};

use crate::clients::pods::Runtime;
use crate::machine::Machine;
use crate::options::Options;

const SOCKET: &str = "/run/crio/crio.sock";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// CRI-O on a machine.
pub(super) struct CriO<'a> {
    machine: &'a Machine,
    cri: Cri,
    process: Option<Process>,
    /// How often it was started.
    pub(super) starts: usize,
}

impl<'a> CriO<'a> {
    pub(super) fn new(machine: &'a Machine, options: &Options) -> Self {
        Self { machine, cri: Cri::new(&machine.node.host, SOCKET, &options.tools), process: None, starts: 0 }
    }

    /// SIGTERM, as systemd does it: pods go on.
    pub(super) fn stop(&mut self) {
        self.process.take().expect("CRI-O runs").stop();
    }
}

impl Runtime for CriO<'_> {
    const OWNED: &'static [&'static str] = &[
        "/run/crio",
        "/run/runc",
        "/var/lib/crio",
        "/run/containers",
        "/run/libpod",
        "/var/lib/containers",
        // Of pods that it lost when it was killed: namespaces other than those of networks.
        "/run/ipcns",
        "/run/utsns",
    ];

    fn cri(&self) -> &Cri {
        &self.cri
    }

    fn start(&mut self) {
        let config = self.machine.write("cri-o.toml", include_str!("../../../../../fixtures/clients/cri-o.toml"));
        let mut command = Command::new("crio");
        // Without the machine's own settings.
        command.arg("--config").arg(config).args(["--config-dir", ""]);
        let log = self.machine.dir.join("crio.log");
        self.process = Some(self.machine.node.host.run(|| Process::start("crio", command, log)));
        self.starts += 1;
        eventually_within(PATIENCE, "CRI-O answers", || self.cri.network_ready().is_some());
    }

    fn kill(&mut self) {
        self.process.take().expect("CRI-O runs").kill();
    }
}
