//! One cluster of flanneld, the real one, and overlayd; and machines that change from one to the other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use ferrule_tests::{Process, skip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Etcd, assert_all_reach, wait_until};
use crate::machine::{Machine, Pod};

/// Packets lost between two containers while one machine is taken over.
const LOST_MAX: u32 = 2;

#[test]
fn flannel_s_nodes_are_replaced_one_by_one_under_running_pings() {
    let Some(flanneld) = flanneld() else { return };
    if !ferrule_tests::installed(&["etcd", "etcdctl", "nft"]) {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    let network = json!({"Network": "10.42.0.0/16", "EnableNFTables": true, "Backend": {"Type": "vxlan"}});
    let etcd = cluster.etcd(&network);
    let mut configuration = cluster.configuration_by_etcd(&etcd);
    configuration["masquerade"] = json!({});
    let machines = cluster.machines(4);
    let mut flannels = BTreeMap::new();
    let mut overlayds = Vec::new();
    for (number, machine) in machines.iter().enumerate() {
        if number < 2 {
            flannels.insert(number, start_flanneld(&flanneld, machine, &etcd));
        } else {
            overlayds.push(machine.overlayd(&configuration));
        }
    }
    for machine in &machines {
        wait_until("subnet file", || machine.path("/run/flannel/subnet.env").exists());
    }
    let subnets = subnets(&etcd);
    assert_eq!(subnets.len(), 4, "{subnets:?}");
    for machine in &machines {
        wait_until("a way to the others", || machine.sh("ip route show dev flannel.1").lines().count() >= 3);
    }
    let pods: Vec<Pod> = machines.iter().map(|machine| machine.attach("pod")).collect();
    wait_until("containers reach each other", || reach(&pods));
    assert_all_reach(&pods.iter().collect::<Vec<_>>());

    for (number, machine) in machines.iter().enumerate().take(2) {
        let pings = Pings::start(&pods);
        pings.wait_for(5);
        assert_eq!(flannels.remove(&number).expect("flanneld").stop(), Some(0));
        overlayds.insert(0, machine.overlayd(&configuration));
        wait_until("overlayd took over", || machine.sh("ip route show proto 79").lines().count() == 3);
        wait_until("nothing of flannel's is left", || leftovers(machine).is_empty());
        pings.wait_for(15);
        let lost = pings.stop();
        assert!(lost.iter().all(|(_, lost)| *lost <= LOST_MAX), "packets lost: {lost:?}");
    }
    assert_eq!(self::subnets(&etcd), subnets, "each has the subnet that it had");
    assert_all_reach(&pods.iter().collect::<Vec<_>>());
    assert!(overlayds.iter_mut().all(Process::is_alive));

    // And back: the one that was taken over last.
    let machine = &machines[1];
    assert_eq!(overlayds.remove(0).stop(), Some(0));
    let file = machine.configure(&configuration);
    machine.ours("overlayd", &format!("cleanup --config {}", file.display())).expect("cleanup");
    let _flannel = start_flanneld(&flanneld, machine, &etcd);
    wait_until("flanneld has its way to the others again", || reach(&pods));
    assert_eq!(self::subnets(&etcd), subnets);
}

/// The real one.
fn flanneld() -> Option<String> {
    let path = std::env::var("GOREF_BIN_DIR").map(|directory| format!("{directory}/flanneld")).unwrap_or_default();
    if !std::path::Path::new(&path).exists() {
        skip("no flanneld (hint: scripts/install-tools --reference)");
        return None;
    }
    Some(path)
}

fn start_flanneld(flanneld: &str, machine: &Machine, etcd: &Etcd) -> Process {
    let etcd = format!("--etcd-endpoints={}", etcd.url);
    machine.start(flanneld, &[&etcd, "--iface=eth0", "--ip-masq"])
}

/// Who has which subnet: the address of the node by the name of the key.
fn subnets(etcd: &Etcd) -> BTreeMap<String, String> {
    let address = |value: &str| -> Value { serde_json::from_str(value).expect("JSON") };
    let pairs = etcd.subnets();
    pairs.into_iter().map(|(key, value)| (key, address(&value)["PublicIP"].to_string())).collect()
}

fn reach(pods: &[Pod]) -> bool {
    pods.iter().all(|from| pods.iter().all(|to| to.ips.iter().all(|ip| from.place.ping(*ip))))
}

/// What flanneld made on this machine and overlayd would not.
fn leftovers(machine: &Machine) -> Vec<String> {
    let routes = machine.sh("ip route show dev flannel.1");
    let routes = routes.lines().filter(|line| !line.contains("proto 79") && !line.contains("proto kernel"));
    let tables = machine.sh("nft list tables");
    let tables = tables.lines().filter(|line| line.contains("flannel"));
    routes.chain(tables).map(str::to_owned).collect()
}

/// Pings between all containers, five a second.
struct Pings(Vec<(String, Child)>);

impl Pings {
    fn start(pods: &[Pod]) -> Self {
        let mut pings = Vec::new();
        for (number, from) in pods.iter().enumerate() {
            for to in &pods[number + 1..] {
                let name = format!("{} to {}", from.place.name, to.place.name);
                pings.extend(to.ips.iter().map(|ip| (name.clone(), ping(from, *ip))));
            }
        }
        Self(pings)
    }

    /// Waits while so many packets are sent.
    fn wait_for(&self, packets: u64) {
        std::thread::sleep(std::time::Duration::from_millis(200 * packets));
    }

    /// Ends them; how many packets each lost.
    fn stop(self) -> Vec<(String, u32)> {
        self.0.into_iter().map(|(name, ping)| (name, lost(ping))).collect()
    }
}

fn ping(from: &Pod, to: IpAddr) -> Child {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", from.place.netns.display())).args(["ping", "-n", "-i", "0.2"]).arg(to.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("ping")
}

/// Of `25 packets transmitted, 24 received, 4% packet loss, time 4810ms`. The last one's answer may be on its way.
fn lost(ping: Child) -> u32 {
    kill(Pid::from_raw(ping.id().try_into().expect("a process ID")), Signal::SIGINT).expect("SIGINT");
    let output = ping.wait_with_output().expect("ping");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = text.lines().find(|line| line.contains("packets transmitted")).expect("a summary").to_owned();
    let numbers: Vec<u32> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] > 10, "{summary}");
    numbers[0] - numbers[1]
}
