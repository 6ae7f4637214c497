//! What happens in the store, while the daemon runs and while it does not: nodes come, go and change, and some say what
//! cannot be. Each ends with the kernel as it should be, and nothing of others touched.

use std::time::Duration;

use ferrule_tests::peers::{self, Peer};
use serde_json::json;

use crate::cluster::wait_until;
use crate::look::Tunnels;
use crate::scene::{PEERS, PROGRAMMINGS, Scene, network};

/// How long the store is down, in seconds; more than a moment where somebody has the time.
const OUTAGE: &str = "FERRULE_OUTAGE_SECONDS";

#[test]
fn nodes_change_while_the_daemon_is_down() {
    for programming in PROGRAMMINGS {
        let Some(mut scene) = Scene::start(programming) else { return };
        scene.kill();
        churn(&mut scene, 0);
        scene.run();
        scene.settle(&format!("changes while the daemon was down, {programming}"));
    }
}

#[test]
fn nodes_change_while_the_daemon_runs() {
    for programming in PROGRAMMINGS {
        let Some(mut scene) = Scene::start(programming) else { return };
        churn(&mut scene, 0);
        scene.settle(&format!("changes, {programming}"));
        // One node is now where another was, and one has exchanged its subnet.
        let nodes = scene.cluster.nodes();
        let (taken, free) = (scene.peers[30], Peer::new(PEERS + 100));
        peers::write(&nodes, &taken.file_name(), free.file().to_string().as_bytes()).expect("a node's file");
        scene.peers[30] = free;
        scene.settle(&format!("a node has another subnet, address and MAC, {programming}"));
    }
}

/// Of the nodes, from the one of this number on, ten leave, ten change their address and their MAC; and ten come.
fn churn(scene: &mut Scene, from: usize) {
    let nodes = scene.cluster.nodes();
    for peer in scene.peers.drain(from..from + 10) {
        peer.remove(&nodes).expect("a node's file");
    }
    for peer in &mut scene.peers[from..from + 10] {
        *peer = peer.changed();
        peer.write(&nodes).expect("a node's file");
    }
    for number in 0..10 {
        let peer = Peer::new(PEERS + number);
        peer.write(&nodes).expect("a node's file");
        scene.peers.push(peer);
    }
}

fn outage() -> Duration {
    let seconds = std::env::var(OUTAGE).ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

#[test]
fn the_directory_is_away_for_a_while() {
    let Some(mut scene) = Scene::start("nexthops") else { return };
    let (nodes, away) = (scene.cluster.nodes(), scene.cluster.nodes().with_extension("away"));
    std::fs::rename(&nodes, &away).expect("rename");
    std::thread::sleep(outage());
    let expected = Tunnels::to(&scene.peers);
    assert_eq!(Tunnels::of(&scene.machine.place), expected, "what is known stays");
    wait_until("operators are told", || {
        scene.machine.cnitool("overlay status").unwrap_or_else(|e| e).contains("nodes")
    });
    std::fs::rename(&away, &nodes).expect("rename");
    churn(&mut scene, 0);
    scene.settle("the directory was away");
}

#[test]
fn etcd_is_down_for_a_while_and_much_has_changed() {
    if !ferrule_tests::installed(&["etcd", "etcdctl"]) {
        return;
    }
    let Some(mut scene) = Scene::prepare("neighbours", &json!({})) else { return };
    let etcd = scene.cluster.etcd(&network());
    let key = |peer: &Peer| format!("/coreos.com/network/subnets/{}", peer.key());
    scene.peers.truncate(30);
    scene.peers.iter().for_each(|peer| etcd.put(&key(peer), &peer.lease().to_string()));
    let by_etcd = scene.cluster.configuration_by_etcd(&etcd);
    scene.configuration = json!({"store": by_etcd["store"], "kernel": scene.configuration["kernel"]});
    scene.run();
    scene.settle("start with etcd");
    etcd.process.kill();
    // The daemon does not see this one, which has the same data.
    let elsewhere = scene.cluster.etcd_at(12379);
    for peer in scene.peers.drain(..5) {
        elsewhere.ctl(&["del", &key(&peer)]).expect("etcdctl del");
    }
    for peer in &mut scene.peers[..5] {
        *peer = peer.changed();
        elsewhere.put(&key(peer), &peer.lease().to_string());
    }
    let comer = Peer::new(PEERS);
    elsewhere.put(&key(&comer), &comer.lease().to_string());
    scene.peers.push(comer);
    std::thread::sleep(outage());
    elsewhere.process.kill();
    let _etcd = scene.cluster.etcd_again();
    scene.settle("etcd was down");
}

#[test]
fn without_the_store_the_snapshot_is_programmed() {
    let Some(mut scene) = Scene::start("neighbours") else { return };
    let snapshot = scene.machine.path("/var/lib/overlayd/peers.json");
    wait_until("the snapshot is written", || snapshot.exists());
    scene.kill();
    let (nodes, away) = (scene.cluster.nodes(), scene.cluster.nodes().with_extension("away"));
    std::fs::rename(&nodes, &away).expect("rename");
    // As after a restart of the machine.
    scene.machine.sh("ip link delete flannel.1");
    scene.run();
    let expected = Tunnels::to(&scene.peers);
    wait_until("the kernel has what was known", || Tunnels::of(&scene.machine.place) == expected);
    std::fs::rename(&away, &nodes).expect("rename");
    scene.settle("start without the store");
}

#[test]
fn nodes_that_cannot_be_are_refused_and_the_others_work() {
    let Some(mut scene) = Scene::start("neighbours") else { return };
    let nodes = scene.cluster.nodes();
    let own = std::fs::read_to_string(nodes.join("node1.toml")).expect("the node's own file");
    let own_subnet = own.split('"').find(|text| text.ends_with("/24")).expect("a subnet").to_owned();
    let victim = scene.peers[7];
    let wrong = |key: &str, value: serde_json::Value| {
        let mut file = Peer::new(PEERS + 50).file();
        file[key] = value;
        file.to_string().into_bytes()
    };
    let mut huge = wrong("backend", json!("x".repeat(10_000_000)));
    huge.push(b'\n');
    // Names after all others: who came first is believed.
    let bad = [
        ("z-overlap", wrong("subnets", json!([victim.subnet().to_string()]))),
        ("z-ours", wrong("subnets", json!([own_subnet]))),
        ("z-outside", wrong("subnets", json!(["192.0.2.0/24"]))),
        ("z-multicast", wrong("mac", json!("01:00:5e:00:00:01"))),
        ("z-zero", wrong("mac", json!("00:00:00:00:00:00"))),
        ("z-our-address", wrong("ipv4", json!("198.18.0.11"))),
        ("z-group", wrong("ipv4", json!("224.0.0.1"))),
        ("z-unknown", wrong("colour", json!("green"))),
        ("z-huge", huge),
        ("z-broken", b"{\"subnets\": [".to_vec()),
        ("z-binary", vec![0, 159, 146, 150]),
    ];
    for (name, content) in &bad {
        peers::write(&nodes, &format!("{name}.json"), content).expect("a node's file");
    }
    let comer = Peer::new(PEERS + 1);
    comer.write(&nodes).expect("a node's file");
    scene.peers.push(comer);
    scene.settle("nodes that cannot be");
    let peers = || scene.machine.cnitool("overlay peers").unwrap_or_default();
    let refused = |name: &str| peers().lines().any(|line| line.contains(name) && line.contains("refused"));
    for (name, _) in &bad {
        wait_until(&format!("{name} is refused"), || refused(name));
        assert!(scene.log().contains(name), "{name} is logged");
    }
    for (name, _) in &bad {
        std::fs::remove_file(nodes.join(format!("{name}.json"))).expect("a node's file");
    }
    wait_until("they are forgotten", || !peers().contains("refused"));
    scene.settle("they are gone");
}
