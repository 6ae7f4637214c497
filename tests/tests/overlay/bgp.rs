//! The backend `bgp`: real BIRDs, which exchange the nodes' subnets; containers are attached by ptp, without a bridge.

use ferrule_tests::{Binaries, Process, installed};
use serde_json::{Value, json};

use crate::cluster::{Cluster, assert_all_reach, wait_until};
use crate::machine::{Machine, Pod};

/// The configuration of BIRD that overlay/README.md tells administrators to have.
fn bird_conf() -> &'static str {
    let readme = include_str!("../../../overlay/README.md");
    readme.split("```\n").find(|block| block.starts_with("router id")).expect("a bird.conf")
}

fn include(machine: &Machine) -> String {
    machine.dir.join("overlayd.conf").display().to_string()
}

fn socket(machine: &Machine) -> String {
    machine.dir.join("bird.ctl").display().to_string()
}

/// Starts BIRD, which needs no file of ours to begin.
fn bird(machine: &Machine) -> Process {
    let wildcard = include(machine).replace("overlayd.conf", "overlayd*.conf");
    let text = bird_conf().replace("192.0.2.1", &machine.address.to_string());
    let text = text.replace("/etc/bird/overlayd*.conf", &wildcard);
    let conf = machine.write("bird.conf", &text);
    let (conf, socket) = (conf.display().to_string(), socket(machine));
    let pid = machine.dir.join("bird.pid").display().to_string();
    machine.start("/usr/sbin/bird", &["-f", "-c", &conf, "-s", &socket, "-P", &pid])
}

fn daemon(machine: &Machine, configuration: &Value) -> Process {
    let mut configuration = configuration.clone();
    // Else ptp does it, which knows of this node's containers alone: others would see the node come.
    configuration["masquerade"] = json!({"enabled": true});
    configuration["bgp"] =
        json!({"include": include(machine), "socket": socket(machine), "as": 64999, "connect_seconds": 1});
    machine.overlayd(&configuration)
}

/// A container on the machine, once that has a subnet.
fn pod(machine: &Machine) -> Pod {
    wait_until("subnet file", || machine.path("/run/flannel/subnet.env").exists());
    machine.attach_by("web", &json!({"type": "ptp"}))
}

/// Each container reaches each other one, as soon as routes are there.
fn assert_connected(pods: &[&Pod]) {
    for from in pods {
        for to in pods.iter().filter(|to| !std::ptr::eq(**to, *from)) {
            for ip in &to.ips {
                wait_until(&format!("{} reaches {ip}", from.place.name), || from.place.ping(*ip));
            }
        }
    }
    assert_all_reach(pods);
}

/// The routes of one machine to other nodes' containers.
fn routes(machine: &Machine) -> usize {
    let of_family = |family| machine.sh(&format!("ip {family} route show proto bird")).lines().count();
    of_family("-4") + of_family("-6")
}

#[test]
fn nodes_exchange_their_subnets_by_bgp() {
    if !installed(&["bird", "birdc"]) {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    let network = json!({
        "Network": "10.42.0.0/16", "EnableIPv6": true, "IPv6Network": "fd42::/48", "Backend": {"Type": "bgp"},
    });
    let configuration = cluster.configuration(&network);
    let machines = cluster.machines(3);
    let [one, two, three] = &machines[..] else { unreachable!() };
    let mut birds: Vec<_> = [one, two].map(bird).into();
    let daemons: Vec<_> = [one, two].map(|machine| daemon(machine, &configuration)).into();
    let pods: Vec<_> = [one, two].map(pod).into();
    assert_connected(&[&pods[0], &pods[1]]);
    assert_eq!(routes(one), 2, "{}", one.sh("ip route"));
    let links = one.sh("ls /sys/class/net");
    assert!(!links.contains("flannel") && !links.contains("cni0"), "{links}");
    let subnet = std::fs::read_to_string(one.path("/run/flannel/subnet.env")).expect("subnet file");
    assert!(subnet.contains("FLANNEL_MTU=1500"), "nothing is wrapped: {subnet}");

    // The third's BIRD is not up when its daemon is: that says so, and goes on when it is.
    let third = daemon(three, &configuration);
    let third_pod = pod(three);
    let cnitool = Binaries::ours().expect("FERRULE_BIN_DIR").plugin("cnitool");
    let status = || {
        let output = three.command(&cnitool).args(["overlay", "status"]).output().expect("cnitool");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    wait_until("the missing BIRD is told", || status().contains("BIRD cannot be reached"));
    birds.push(bird(three));
    assert_connected(&[&pods[0], &pods[1], &third_pod]);
    wait_until("all is well", || !status().contains("BIRD"));
    assert_eq!((routes(one), routes(three)), (4, 4));

    // A node that says more than the store does is not believed.
    let own = std::fs::read_to_string(include(two)).expect("include");
    let more =
        own.replacen("blackhole;", "blackhole;\n\troute 10.42.254.0/23 blackhole;\n\troute 192.0.2.0/24 blackhole;", 1);
    assert_ne!(own, more);
    std::fs::write(include(two), more).expect("include");
    two.sh(&format!("birdc -s {} configure", socket(two)));
    two.sh(&format!("birdc -s {} reload out all", socket(two)));
    assert_connected(&[&pods[0], &pods[1], &third_pod]);
    assert_eq!(routes(one), 4, "{}", one.sh("ip route"));

    drop(third);
    std::fs::remove_file(cluster.nodes().join("node3.toml")).expect("node3");
    wait_until("the node that left is forgotten", || routes(one) == 2);
    assert_connected(&[&pods[0], &pods[1]]);

    // The daemon is of no use to packets: it may go, and come again.
    drop(daemons);
    assert_all_reach(&[&pods[0], &pods[1]]);
    for (machine, pod) in [one, two].into_iter().zip(&pods) {
        machine.detach(pod);
    }
    drop(birds);
}
