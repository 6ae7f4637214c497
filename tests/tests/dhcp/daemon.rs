//! `dhcp daemon` as a process, and what it does with its socket.

use std::fs::File;
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ferrule_tests::{Binaries, Node, eventually};

use crate::server::Server;
use crate::{Bed, socket};

/// A running daemon; it is killed when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// On the host of `node`, at its socket, waiting shorter than usual.
    pub(crate) fn start(node: &Node, flags: &[&str]) -> Self {
        let daemon = Self::spawn(node, flags);
        let socket = socket(node);
        eventually("the daemon listens", || UnixStream::connect(&socket).is_ok());
        // It has closed the connections of before when it has closed this one, so that none of them counts.
        let mut last = UnixStream::connect(&socket).unwrap();
        last.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = last.read_to_end(&mut Vec::new());
        daemon
    }

    /// The same without waiting for it.
    pub(crate) fn spawn(node: &Node, flags: &[&str]) -> Self {
        let log = node.dir().join("daemon.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(Binaries::ours().unwrap().plugin("dhcp"));
        command
            .args(["daemon", "-socketpath", &socket(node), "-resendmax", "500ms", "--resendtimeout=20s"])
            .args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = node.host.run(|| command.spawn()).expect("dhcp daemon");
        Self { child, log }
    }

    /// SIGKILL: it has no chance to say goodbye.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        nix::sys::signal::kill(self.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Its exit code, when it ends by itself.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// What it wrote to stderr.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// How many files it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    /// The most memory that it had resident, in KiB.
    pub(crate) fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_replaced_and_a_living_one_is_not() {
    let Some(bed) = Bed::start() else { return };
    bed.daemon(&[]).kill();
    assert!(std::fs::exists(socket(&bed.node)).unwrap());
    let second = bed.daemon(&[]);
    assert_eq!(bed.daemon(&[]).wait(), Some(1));
    assert!(second.log().contains(&format!("another daemon listens at {}", socket(&bed.node))), "{}", second.log());
    assert_eq!(second.terminate(), Some(0));
    assert!(!std::fs::exists(socket(&bed.node)).unwrap(), "SIGTERM removes the socket");
}

#[test]
fn the_pidfile_lives_as_long_as_the_daemon() {
    let Some(bed) = Bed::start() else { return };
    let pidfile = bed.node.dir().join("dhcp.pid");
    let daemon = bed.daemon(&["-pidfile", pidfile.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&pidfile).unwrap(), daemon.child.id().to_string());
    assert_eq!(daemon.terminate(), Some(0));
    assert!(!pidfile.exists());
    assert_eq!(Daemon::spawn(&bed.node, &["-pidfile=dhcp.pid"]).wait(), Some(1));
    assert_eq!(Daemon::spawn(&bed.node, &["-nonsense"]).wait(), Some(2));
    let log = std::fs::read_to_string(bed.node.dir().join("daemon.log")).unwrap();
    assert!(log.contains("Error writing pidfile dhcp.pid: path not absolute"), "{log}");
    assert!(log.contains("flag provided but not defined: -nonsense"), "{log}");
}

#[test]
fn a_socket_passed_by_systemd_is_used_and_stays() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    let path = socket(&bed.node);
    let listener = UnixListener::bind(&path).unwrap();
    // sd_listen_fds(3): the socket is descriptor 3, LISTEN_PID is the daemon's own process.
    let script = "exec env LISTEN_PID=$$ LISTEN_FDS=1 \"$@\" 3<&0 0</dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(Binaries::ours().unwrap().plugin("dhcp")).arg("daemon");
    command.arg0("sh").stdin(std::os::fd::OwnedFd::from(listener.try_clone().unwrap()));
    let log = bed.node.dir().join("daemon.log");
    command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
    let child = bed.node.host.run(|| command.spawn()).unwrap();
    let daemon = Daemon { child, log };
    let pod = bed.attach("pod");
    assert_eq!(bed.records().len(), 1, "kept under the socket's name: {}", daemon.log());
    bed.end(&pod);
    drop(server);
    assert_eq!(daemon.terminate(), Some(0));
    assert!(std::fs::exists(&path).unwrap(), "it is systemd's");
}

#[test]
fn below_a_prefix_the_host_is_found() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    // As where the daemon runs in a container that sees the host at /host.
    let prefix = bed.node.dir().join("host");
    std::os::unix::fs::symlink("/", &prefix).unwrap();
    let daemon = bed.daemon(&["-hostprefix", prefix.to_str().unwrap()]);
    let pod = bed.attach("pod");
    assert_eq!(bed.records().len(), 1, "{}", daemon.log());
    bed.network.check(&pod.container).expect("CHECK");
    bed.end(&pod);
    drop(server);
}

#[test]
fn many_leases_are_one_thread_and_a_few_descriptors() {
    let Some(bed) = Bed::start() else { return };
    let _server = Server::start(&bed, 600);
    let daemon = bed.daemon(&[]);
    let (idle, idle_memory) = (daemon.descriptors(), daemon.peak_memory());
    let pods: Vec<_> = (0..12).map(|number| bed.attach(&format!("pod{number}"))).collect();
    assert_eq!(daemon.threads(), 1);
    let expected = idle + 2 * pods.len();
    eventually("each has a namespace and a socket that hears of links", || daemon.descriptors() == expected);
    for pod in &pods {
        bed.network.del(&pod.container).expect("DEL");
    }
    eventually("nothing is held open", || daemon.descriptors() == idle);
    assert!(bed.records().is_empty());
    let grown = daemon.peak_memory() - idle_memory;
    assert!(grown < 1 << 10, "12 leases came and went, and it grew by {grown} of {idle_memory} KiB");
}
