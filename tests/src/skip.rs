//! Tests that cannot run here say so: `SKIP <program> <test>: <reason>` on stderr. `scripts/test` collects these lines,
//! and runs the tests that they name on a kernel that has everything.

use std::fmt::Display;
use std::io::Write;
use std::process::Command;

/// With this value of `CNI_TEST_REQUIRE` a skip is a failure.
const REQUIRE_ALL: &str = "all";

/// Prints that the calling test is skipped, and why. The test returns after it.
///
/// # Panics
/// If `CNI_TEST_REQUIRE=all`.
pub fn skip(reason: impl Display) {
    assert!(std::env::var("CNI_TEST_REQUIRE").as_deref() != Ok(REQUIRE_ALL), "everything is required, but: {reason}");
    print_skip(reason);
}

fn print_skip(reason: impl Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    let line = format!("SKIP {} {test}: {reason}\n", program());
    // Written directly, and at once: libtest shows what print macros write only for tests that fail.
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
}

/// The name of the test program, as cargo calls it: its file's, without the hash.
fn program() -> String {
    let path = std::env::current_exe().expect("the path of this program");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('-').map_or(name.as_ref(), |(name, _hash)| name).to_owned()
}

/// Whether this is the sandbox, whose `/run` is a tmpfs that ends with it. If not, the calling test is skipped.
pub(crate) fn in_sandbox() -> bool {
    let is_sandbox = std::env::var_os("FERRULE_SANDBOX").is_some();
    if !is_sandbox {
        skip("not in the sandbox (hint: run scripts/test, or the tests by scripts/in-namespaces)");
    }
    is_sandbox
}

/// Whether these programs are installed, of packages that are no affair of every machine: scripts/install-tools gets them
/// only where no service would be started by it. If not, the calling test is skipped, also where everything is required.
#[must_use]
pub fn installed(programs: &[&str]) -> bool {
    let is_there = |program: &&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
        directories.any(|directory| directory.join(program).is_file())
    };
    let missing: Vec<&str> = programs.iter().filter(|program| !is_there(program)).copied().collect();
    if !missing.is_empty() {
        print_skip(format_args!("not installed: {}", missing.join(", ")));
    }
    missing.is_empty()
}

/// Something that a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum Feature {
    /// Bridges that know VLANs (`CONFIG_BRIDGE_VLAN_FILTERING`).
    BridgeVlans,
    /// nf_tables on bridges (`CONFIG_NF_TABLES_BRIDGE`): MAC spoof checks.
    BridgeNftables,
    /// SCTP sockets and conntrack (`CONFIG_IP_SCTP`).
    Sctp,
    /// The iptables of old (`CONFIG_IP_NF_IPTABLES`).
    IptablesLegacy,
    /// Device type `dummy`.
    Dummy,
    /// Device type `ipip`: IP in IP.
    Ipip,
    /// Device type `ipvlan`.
    Ipvlan,
    /// Device type `vlan` (`CONFIG_VLAN_8021Q`).
    Vlan,
    /// Device type `vrf`.
    Vrf,
    /// Device type `wireguard`.
    WireGuard,
}

impl Feature {
    /// What has to work, as a shell command in an empty network namespace.
    fn probe(self) -> &'static str {
        match self {
            Self::BridgeVlans => {
                // (`b` would be read as an abbreviation of `broadcast`.)
                "ip link add br0 type bridge vlan_filtering 1 && ip link add port master br0 type veth &&
                 bridge vlan add vid 7 dev port"
            }
            Self::BridgeNftables => "nft add table bridge t",
            Self::Sctp => "socat -u OPEN:/dev/null SCTP-CONNECT:127.0.0.1:9 2>&1 | grep -q refused",
            Self::IptablesLegacy => "iptables-legacy -t nat -S",
            Self::Dummy => "ip link add low type dummy",
            Self::Ipip => "ip link add tunnel type ipip local 127.0.0.1",
            Self::Ipvlan => "ip link add low type veth && ip link add link low type ipvlan",
            Self::Vlan => "ip link add low type veth && ip link add link low name low.7 type vlan id 7",
            Self::Vrf => "ip link add vrf0 type vrf table 10",
            Self::WireGuard => "ip link add tunnel type wireguard",
        }
    }
}

/// Whether the kernel has `feature`. If not, the calling test is skipped: `if !require(Feature::Sctp) { return }`.
///
/// # Panics
/// If it has not and `CNI_TEST_REQUIRE=all`.
#[must_use]
pub fn require(feature: Feature) -> bool {
    let script = format!("ip link set lo up; {}", feature.probe());
    let probe = Command::new("unshare").args(["-n", "sh", "-c", &script]).output().expect("unshare");
    if !probe.status.success() {
        skip(format_args!("the kernel lacks {feature:?}: {}", String::from_utf8_lossy(&probe.stderr).trim()));
    }
    probe.status.success()
}
