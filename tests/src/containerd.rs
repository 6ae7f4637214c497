//! containerd on a node: started, stopped, killed, and asked for pods.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use serde_json::json;

use crate::cri::Cri;
use crate::patience::eventually_within;
use crate::{Place, Process};

/// Where it listens.
pub const SOCKET: &str = "/run/containerd/containerd.sock";
/// Where containerd 2 tells its metrics.
pub const METRICS: (SocketAddr, &str) = (SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1338), "/v1/metrics");
/// Where it keeps what is its own.
pub const OWNED: [&str; 3] = ["/run/containerd", "/var/lib/containerd", "/run/runc"];
/// The namespace of containerd in which CRI works.
pub const CRI_NAMESPACE: &str = "k8s.io";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// What differs between the versions of containerd.
#[derive(Debug)]
pub struct Release {
    /// Its configuration.
    config: &'static str,
    /// Another part of it, for where the controller `cpu` of cgroups is not to be had.
    without_cpu: &'static str,
    /// What it takes of a list with `"cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"]`.
    pub cni_version: &'static str,
    /// Whether it asks plugins for STATUS.
    pub asks_status: bool,
}

impl Release {
    /// 1.6, of Debian 12.
    pub const V1_6: Self = Self {
        config: include_str!("../fixtures/clients/containerd-1.6.toml"),
        without_cpu: include_str!("../fixtures/clients/containerd-1.6-without-cpu.toml"),
        cni_version: "1.0.0",
        asks_status: false,
    };
    /// 2.
    pub const V2: Self = Self {
        config: include_str!("../fixtures/clients/containerd-2.toml"),
        without_cpu: include_str!("../fixtures/clients/containerd-2-without-cpu.toml"),
        cni_version: "1.1.0",
        asks_status: true,
    };
}

/// containerd, which runs or does not.
#[derive(Debug)]
pub struct Containerd {
    /// Which it is.
    pub release: &'static Release,
    /// A connection to it.
    pub cri: Cri,
    host: Arc<Place>,
    /// Where its configuration and its log are.
    dir: PathBuf,
    /// The `PATH` of its plugins.
    path: Option<String>,
    process: Option<Process>,
}

impl Containerd {
    /// The first `containerd` in `PATH`, on `host`. `tools` has the sources that a client of CRI needs.
    #[must_use]
    pub fn new(release: &'static Release, host: &Arc<Place>, dir: &Path, tools: &Path) -> Self {
        let (cri, host) = (Cri::new(host, SOCKET, tools), Arc::clone(host));
        Self { release, cri, host, dir: dir.to_owned(), path: None, process: None }
    }

    /// The same with another `PATH` for the plugins' programs.
    #[must_use]
    pub fn with_path(self, path: String) -> Self {
        Self { path: Some(path), ..self }
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(&mut self) {
        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.configure()).envs(self.path.iter().map(|path| ("PATH", path)));
        let log = self.dir.join("containerd.log");
        self.process = Some(self.host.run(|| Process::start("containerd", command, log)));
        eventually_within(PATIENCE, "containerd answers", || self.cri.network_ready().is_some());
    }

    /// Writes its configuration, as the machine wants it.
    fn configure(&self) -> PathBuf {
        let write = |name: &str, text: &str, mode| {
            let path = self.dir.join(name);
            libcni::store::write_atomic(&path, text.as_bytes(), mode).expect("a file of containerd's");
            path
        };
        let mut config = self.release.config.to_owned();
        let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        if !controllers.split_whitespace().any(|controller| controller == "cpu") {
            let runc = include_str!("../fixtures/clients/runc-without-cpu-shares");
            let runc = write("runc-without-cpu-shares", runc, 0o755);
            config += &self.release.without_cpu.replace("RUNC", runc.to_str().expect("UTF-8"));
        }
        write("containerd.toml", &config, 0o644)
    }

    /// SIGTERM, as systemd does it: pods go on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn stop(&mut self) {
        self.process.take().expect("containerd runs").stop();
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("containerd runs").kill();
    }

    /// Waits until it has read a list of networks in which `word` is.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn await_list(&self, word: &str) {
        eventually_within(PATIENCE, "containerd has read the list", || {
            let status = self.cri.call("Status", &json!({"verbose": true}));
            status["info"]["cniconfig"].as_str().is_some_and(|lists| lists.contains(word))
        });
    }

    /// What `ctr` prints, in the namespace in which CRI works.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn ctr(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("ctr");
        command.args(["--address", SOCKET, "--namespace", CRI_NAMESPACE]).args(arguments);
        self.host.output(command, "").unwrap_or_else(|e| panic!("ctr {arguments:?}: {e}"))
    }

    /// Takes an [image](crate::image::make) from a file.
    ///
    /// # Panics
    /// If it cannot be taken.
    pub fn import(&self, image: &Path) {
        self.ctr(&["images", "import", "--no-unpack", image.to_str().expect("UTF-8")]);
        eventually_within(PATIENCE, "the image is there", || {
            let images = self.cri.call("ListImages", &json!({}));
            images["images"].as_array().is_some_and(|images| !images.is_empty())
        });
    }

    /// Forgets all pods and images, while it does not run: a node that is installed anew.
    ///
    /// # Panics
    /// If its files cannot be removed.
    pub fn forget(&self) {
        assert!(self.process.is_none(), "containerd runs");
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for place in places.filter(|place| OWNED.iter().any(|dir| Path::new(place).starts_with(dir))) {
            umount2(place, MntFlags::MNT_DETACH).unwrap_or_else(|e| panic!("{place}: {e}"));
        }
        for dir in OWNED.iter().filter(|dir| Path::new(dir).exists()) {
            std::fs::remove_dir_all(dir).unwrap_or_else(|e| panic!("{dir}: {e}"));
        }
    }
}
