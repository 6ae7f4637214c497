//! A machine of a cluster: a network and a mount namespace, held by a process that waits for the test's end.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use ferrule_tests::{Binaries, Place};
use serde_json::{Value, json};

use ferrule_tests::Process;

/// Makes the machine `$1`, whose state is in `$2`, and waits for the end of stdin. Its directories are new on each start,
/// except those below `$2`.
const HOLD: &str = r#"
    mount -t tmpfs -o mode=755 run /run && mkdir -p /run/netns /run/lock
    for name in cni overlayd; do
        mkdir -p "$2/$name" "/var/lib/$name" && mount --bind "$2/$name" "/var/lib/$name"
    done
    if [ -f /etc/machine-id ]; then mount --bind "$2/machine-id" /etc/machine-id; fi
    if [ -d /etc/cni ]; then mkdir -p /etc/cni/net.d && mount --bind "$2/net.d" /etc/cni/net.d; fi
    mount -t sysfs sysfs /sys 2>/dev/null || true # it shows the namespace of whoever mounted it
    ip link set lo up
    echo up
    exec cat >/dev/null
"#;

/// The network of the conflist that machines have.
pub(crate) const NETWORK: &str = "cbr0";

/// A machine: `lo`, and `eth0` on the underlay.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Its name, which is its node's in the store, too.
    pub(crate) name: String,
    /// Its network namespace, for commands that look at the kernel alone (`ip`, `bridge`, `nft`, `ping`).
    pub(crate) place: Arc<Place>,
    /// Its addresses on the underlay.
    pub(crate) address: Ipv4Addr,
    pub(crate) address_v6: Ipv6Addr,
    /// Its directory: configuration, logs, and what stays when it is started again.
    pub(crate) dir: PathBuf,
    holder: Child,
    /// At whose end the holder ends: also when the test is killed.
    _stdin: ChildStdin,
}

impl Machine {
    /// A machine without links but `lo`, below `cluster`, a directory.
    pub(crate) fn boot(name: &str, cluster: &Path, address: Ipv4Addr, address_v6: Ipv6Addr) -> Self {
        let dir = cluster.join(name);
        std::fs::create_dir_all(dir.join("net.d")).expect("directory of the machine");
        let identity = dir.join("machine-id");
        if !identity.exists() {
            // 32 hexadecimal digits, the same each time the machine is started.
            std::fs::write(&identity, format!("{:032x}\n", u128::from(address_v6))).expect("machine-id");
        }
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "bash", "-euc", HOLD, "machine", name]).arg(&dir);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare");
        let stdin = holder.stdin.take().expect("stdin");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("stdout")).read_line(&mut line).expect("stdout");
        assert_eq!(line, "up\n", "machine {name}");
        let netns = PathBuf::from(format!("/proc/{}/ns/net", holder.id()));
        let place = Arc::new(Place { name: name.to_owned(), netns });
        Self { name: name.to_owned(), place, address, address_v6, dir, holder, _stdin: stdin }
    }

    /// The process whose namespaces the machine is.
    pub(crate) fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// The same path, on this machine, as the test sees it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder()))
    }

    /// `program` on the machine, with its files and its network; `CNI_PATH` and `NETCONFPATH` are set.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let holder = self.holder();
        command.args([format!("--net=/proc/{holder}/ns/net"), format!("--mount=/proc/{holder}/ns/mnt")]);
        command.arg(program).stdin(Stdio::null());
        command.env("NETCONFPATH", self.dir.join("net.d")).env("CNI_PATH", binaries().search_path());
        command
    }

    /// Runs a command line (split at white space) on the machine; its stdout.
    ///
    /// # Errors
    /// What it wrote to stderr.
    pub(crate) fn run(&self, line: &str) -> Result<String, String> {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().expect("a command"));
        let output = command.args(words).output().unwrap_or_else(|e| panic!("{line}: {e}"));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// The same, for what must succeed.
    #[track_caller]
    pub(crate) fn sh(&self, line: &str) -> String {
        self.run(line).unwrap_or_else(|stderr| panic!("on {}: {line}: {stderr}", self.name))
    }

    /// Starts a program on the machine, whose log is `<name>.log` in the machine's directory.
    pub(crate) fn start(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Process {
        let name = Path::new(program.as_ref()).file_name().expect("a program").display().to_string();
        let mut command = self.command(program);
        command.args(arguments);
        Process::start(&format!("{name} on {}", self.name), command, self.dir.join(format!("{name}.log")))
    }

    /// Writes a file of the machine's directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// Starts `overlayd` with this configuration: its keys as JSON, see [`crate::cluster::Cluster::configuration`].
    pub(crate) fn overlayd(&self, configuration: &Value) -> Process {
        let path = self.configure(configuration);
        self.start(binaries().plugin("overlayd"), &["--config", path.to_str().expect("a path")])
    }

    /// Writes the configuration alone, and tells where.
    pub(crate) fn configure(&self, configuration: &Value) -> PathBuf {
        let mut configuration = configuration.clone();
        configuration["node"] = json!(self.name);
        self.write("overlayd.toml", &toml::to_string(&configuration).expect("TOML"))
    }

    /// A program of ours on the machine; what it prints.
    ///
    /// # Errors
    /// What it wrote to stderr.
    pub(crate) fn ours(&self, program: &str, arguments: &str) -> Result<String, String> {
        self.run(&format!("{} {arguments}", binaries().plugin(program).display()))
    }

    /// Whether the daemon finds no difference between what should be in the kernel and what is.
    pub(crate) fn agrees(&self) -> bool {
        self.cnitool("overlay diff").is_ok()
    }

    /// Whether the daemon says that containers can be attached.
    pub(crate) fn is_ready(&self) -> bool {
        self.path("/run/flannel/subnet.env").exists() && self.cnitool("overlay status").is_ok()
    }

    /// How many nodes the daemon has programmed.
    pub(crate) fn peers(&self) -> usize {
        let rows = self.cnitool("overlay peers --json").unwrap_or_default();
        let rows: Value = serde_json::from_str(&rows).unwrap_or_default();
        rows.as_array().into_iter().flatten().filter(|row| row["state"] == "ok").count()
    }

    /// The hardware address of a link.
    pub(crate) fn mac(&self, link: &str) -> String {
        let link = self.place.find_link(link).unwrap_or_else(|| panic!("{} has no link {link}", self.name));
        link["address"].as_str().expect("an address").to_owned()
    }

    /// Starts a program in a container.
    pub(crate) fn start_in_pod(&self, pod: &Pod, line: &str) -> Process {
        let netns = format!("--net=/run/netns/{}", pod.name);
        let arguments: Vec<&str> = [netns.as_str()].into_iter().chain(line.split_whitespace()).collect();
        self.start("nsenter", &arguments)
    }

    /// The program under test of this name.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        binaries().plugin(name)
    }

    /// `cnitool`, with these arguments.
    ///
    /// # Errors
    /// What it wrote to stderr.
    pub(crate) fn cnitool(&self, arguments: &str) -> Result<String, String> {
        self.ours("cnitool", arguments)
    }

    /// A new container, attached to the network [`NETWORK`] as the conflist says.
    #[track_caller]
    pub(crate) fn attach(&self, name: &str) -> Pod {
        let bridge = json!({"hairpinMode": true, "isDefaultGateway": true, "ipMasqBackend": "nftables"});
        self.attach_by(name, &bridge)
    }

    /// The same with another delegate than the bridge.
    #[track_caller]
    pub(crate) fn attach_by(&self, name: &str, delegate: &Value) -> Pod {
        self.write("net.d/10-pods.conflist", &conflist(delegate).to_string());
        self.sh(&format!("ip netns add {name}"));
        let netns = format!("/run/netns/{name}");
        let place = Place { name: format!("{name} on {}", self.name), netns: self.path(&netns) };
        place.sh("ip link set lo up");
        let result = self.cnitool(&format!("add {NETWORK} {netns}"));
        let result = result.unwrap_or_else(|e| panic!("ADD of {}: {e}", place.name));
        let result: Value = serde_json::from_str(&result).expect("JSON of ADD");
        let address = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
        let ips = result["ips"].as_array().into_iter().flatten().filter_map(address).collect();
        Pod { name: name.to_owned(), place, ips }
    }

    /// Detaches a container and ends it.
    #[track_caller]
    pub(crate) fn detach(&self, pod: &Pod) {
        let netns = format!("/run/netns/{}", pod.name);
        self.cnitool(&format!("del {NETWORK} {netns}")).unwrap_or_else(|e| panic!("DEL of {}: {e}", pod.name));
        self.sh(&format!("ip netns delete {}", pod.name));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its namespaces end with it and whatever still runs there, which the test kills itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// An attached container.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// Its addresses, in the order of the result.
    pub(crate) ips: Vec<IpAddr>,
}

/// flannel's own conflist, but for the firewall backend.
fn conflist(delegate: &Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": NETWORK, "plugins": [
        {"type": "vxlan-delegate", "delegate": delegate},
        {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}},
    ]})
}

/// The binaries under test. [`crate::cluster::Cluster::start`] has seen that they are there.
fn binaries() -> Binaries {
    Binaries::ours().expect("FERRULE_BIN_DIR")
}
