//! What there is to work with: which programs of a directory are plugins, and what the kernel has.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use libcni::netns::Netns;
use linuxnet::link::{Bridge, Dev, IpvlanMode, LinkError, Upper, Veth};
use linuxnet::netlink::Netlink;
use linuxnet::nft::{Family, Nfnetlink, Table, Transaction};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::{End, Execution};
use crate::case::Feature;
use crate::expect::only_object;
use crate::node::NodeError;
use crate::sandbox;

/// What VERSION gets: programs that are no plugins may run for ever.
const LIMIT: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Survey {
    /// The programs that answer VERSION, and the versions that each speaks.
    pub(crate) plugins: BTreeMap<String, Vec<String>>,
    /// The programs that do not, and what they do instead.
    pub(crate) others: BTreeMap<String, String>,
    /// What the kernel has.
    pub(crate) features: BTreeSet<Feature>,
}

/// Looks at the programs `types` of `bin_dir`, or at all, from namespaces of its own.
pub(crate) fn of(bin_dir: &Path, types: &[String]) -> Result<Survey, NodeError> {
    let bin_dir = sandbox::enter(bin_dir)?;
    let types = if types.is_empty() { programs_in(&bin_dir)? } else { types.to_owned() };
    let mut survey = Survey::default();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let dir = bin_dir.as_path();
        let ask = |name| (name, scope.spawn(move || versions(&dir.join(name))));
        let asked: Vec<(&String, _)> = types.iter().map(ask).collect();
        asked.into_iter().map(|(name, thread)| (name, thread.join())).collect()
    });
    for (name, answer) in answers {
        match answer {
            Ok(Ok(versions)) => drop(survey.plugins.insert(name.clone(), versions)),
            Ok(Err(problem)) => drop(survey.others.insert(name.clone(), problem)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    survey.features = Feature::ALL.into_iter().filter(|feature| has(*feature)).collect();
    Ok(survey)
}

fn programs_in(dir: &Path) -> Result<Vec<String>, NodeError> {
    let fault = |e| NodeError::File(dir.to_owned(), e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let is_program =
            std::fs::metadata(entry.path()).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        if let (true, Ok(name)) = (is_program, entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The versions that a program says it speaks.
fn versions(program: &Path) -> Result<Vec<String>, String> {
    let execution = Execution {
        program: program.to_owned(),
        arguments: Vec::new(),
        env: BTreeMap::from([("CNI_COMMAND".to_owned(), "VERSION".to_owned())]),
        stdin: json!({"cniVersion": "1.0.0"}).to_string(),
        name: "VERSION".to_owned(),
    };
    let record = execution.run(LIMIT).map_err(|e| e.to_string())?;
    if record.end != End::Exit(0) {
        return Err(record.end.to_string());
    }
    let reply = only_object(&record.stdout)?;
    let versions = reply.get("supportedVersions").and_then(Value::as_array).ok_or("no supportedVersions")?;
    Ok(versions.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Whether the kernel has a feature: it is tried, in a namespace that ends with it.
fn has(feature: Feature) -> bool {
    let path = Path::new(sandbox::DIR).join("probe");
    let Ok(netns) = Netns::create(&path) else { return false };
    let works = tried(feature, &netns).unwrap_or(false);
    // The sandbox ends with this process anyway.
    let _ = Netns::remove(&path);
    works
}

fn tried(feature: Feature, netns: &Netns) -> Result<bool, LinkError> {
    let mut netlink = Netlink::open_in(netns)?;
    let mut low = || netlink.create_veth(&Veth { host_name: Some("low"), ..Veth::new("peer", netns) });
    match feature {
        Feature::BridgeVlans => {
            let bridge = Bridge { vlan_filtering: true, ..Bridge::new("br0") };
            return netlink.ensure_bridge(&bridge).map(|(link, _)| link.bridge.is_some_and(|b| b.vlan_filtering));
        }
        Feature::BridgeNftables => {
            let mut transaction = Transaction::new(Table::new(Family::Bridge, "t"));
            transaction.ensure_table();
            return Ok(Nfnetlink::open_in(netns)?.commit(&transaction).is_ok());
        }
        Feature::Sctp => {
            let made = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp);
            return Ok(!matches!(made, Err(Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT | Errno::EINVAL)));
        }
        Feature::IptablesLegacy => {
            return Ok(netns.run(iptables_legacy_works).unwrap_or(false));
        }
        Feature::Dummy => netlink.create_dummy("low", None)?,
        Feature::Ipvlan => {
            let lower = low()?;
            netlink.create_ipvlan(
                Upper { name: "up", lower: Dev::from(&lower), netns: None, mtu: None },
                IpvlanMode::L2,
            )?;
        }
        Feature::Vlan => {
            let lower = low()?;
            netlink.create_vlan(Upper { name: "up", lower: Dev::from(&lower), netns: None, mtu: None }, 7)?;
        }
        Feature::Vrf => netlink.run(linuxnet::link::create_vrf("vrf0", 10))?,
    }
    Ok(true)
}

/// Whether there is the program, and the kernel has what it needs.
fn iptables_legacy_works() -> bool {
    let program = Path::new("/usr/sbin/iptables-legacy");
    let mut command = std::process::Command::new(program);
    let output = command.args(["-t", "nat", "-S"]).stdin(std::process::Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}
