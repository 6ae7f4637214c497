//! What happens to the kernel's objects behind the daemon's back, and to the daemon itself. Each ends with the kernel as it
//! should be, and nothing of others touched.

use std::os::unix::net::UnixStream;

use ferrule_tests::Process;
use serde_json::json;

use crate::cluster::wait_until;
use crate::look::Tunnels;
use crate::scene::{PROGRAMMINGS, Random, Scene};

/// For what is chosen at random.
const SEED: u64 = 0x5eed_0b5e_55ed;

#[test]
fn killed_in_the_middle_of_its_work() {
    for programming in PROGRAMMINGS {
        let Some(mut scene) = Scene::prepare(programming, &json!({})) else { return };
        let whole = Tunnels::to(&scene.peers);
        let socket = scene.machine.path("/run/overlayd/overlayd.sock");
        // Six of its messages have the 600 objects; which ones these are depends on what it has to ask before.
        let is_interrupted = (28..60).step_by(2).cycle().take(64).any(|call| {
            let _ = scene.machine.run("ip link delete flannel.1");
            let mut killed = start_to_be_killed(&scene, call);
            let mut seen = Tunnels::default();
            wait_until("it is killed, or has done all before", || {
                let ended = !killed.is_alive();
                seen = Tunnels::of(&scene.machine.place);
                ended || seen == whole
            });
            killed.kill();
            wait_until("it has ended", || UnixStream::connect(&socket).is_err());
            seen != whole && seen != Tunnels::default()
        });
        assert!(is_interrupted, "it was always killed before it began or after it had done all");
        scene.run();
        scene.settle(&format!("SIGKILL in the middle, {programming}"));
    }
}

/// A daemon that is killed when it is about to send so many messages.
fn start_to_be_killed(scene: &Scene, call: u32) -> Process {
    let path = scene.machine.configure(&scene.configuration);
    let overlayd = scene.machine.binary("overlayd");
    let inject = format!("inject=sendto:signal=KILL:when={call}");
    let strace = ["-f", "-qq", "-e", "trace=sendto", "-e", &inject, "-o", "/dev/null"];
    // Without strace it must not go on.
    let ends_too = ["setpriv", "--pdeathsig", "KILL", overlayd.to_str().expect("a path")];
    let arguments = ["--config", path.to_str().expect("a path")];
    scene.machine.start("strace", &[&strace[..], &ends_too, &arguments].concat())
}

#[test]
fn the_device_is_deleted() {
    for programming in PROGRAMMINGS {
        let Some(scene) = Scene::start(programming) else { return };
        let mac = |scene: &Scene| scene.machine.place.find_link("flannel.1").map(|link| link["address"].clone());
        let before = mac(&scene);
        scene.machine.sh("ip link delete flannel.1");
        scene.settle(&format!("the device is deleted, {programming}"));
        assert_eq!(mac(&scene), before, "others know it by its address");
        scene.machine.sh("ip link set flannel.1 down");
        scene.settle(&format!("the device is down, {programming}"));
    }
}

#[test]
fn a_tenth_of_the_objects_is_deleted() {
    for programming in PROGRAMMINGS {
        let Some(scene) = Scene::start(programming) else { return };
        let mut random = Random(SEED);
        let place = &scene.machine.place;
        let mut objects: Vec<String> = Vec::new();
        for (subnet, (mac, endpoint)) in Tunnels::of(place).ways {
            let base = subnet.split('/').next().expect("a subnet");
            objects.push(format!("ip route delete {subnet} proto 79"));
            objects.push(format!("ip neigh delete {base} dev flannel.1"));
            if programming == "neighbours" {
                objects.push(format!("bridge fdb delete {mac} dst {endpoint} dev flannel.1 self"));
            }
        }
        let nexthops = place.sh("ip nexthop show proto 79");
        let ids = nexthops.lines().filter_map(|line| line.split_whitespace().nth(1));
        objects.extend(ids.map(|id| format!("ip nexthop delete id {id}")));
        assert_eq!(objects.len(), 3 * scene.peers.len());
        for command in random.some(objects.len() / 10, &objects) {
            // A route may have gone with its next hop, and the daemon may have been faster.
            let _ = place.try_sh(&command);
        }
        scene.settle(&format!("a tenth of the objects is deleted, {programming}"));
    }
}

#[test]
fn strangers_on_the_device_are_removed_and_elsewhere_left_alone() {
    for programming in PROGRAMMINGS {
        let Some(scene) = Scene::start(programming) else { return };
        for command in [
            "bridge fdb add 0a:58:ff:00:00:01 dst 198.19.9.9 dev flannel.1 self permanent",
            "bridge fdb append 00:00:00:00:00:00 dst 198.19.9.9 dev flannel.1 self permanent",
            "ip neigh add 10.128.0.77 lladdr 0a:58:ff:00:00:01 dev flannel.1 nud permanent",
            "ip route add 10.200.2.0/24 dev flannel.1",
            "ip route add 10.200.3.0/24 dev flannel.1 proto static",
            "ip route add 10.200.4.0/24 via 203.0.113.7 proto 79",
        ] {
            scene.machine.sh(command);
        }
        // The one that is not on the device, but marked as the daemon's.
        let marked = "ip route show 10.200.4.0/24";
        wait_until("the marked route is removed", || scene.machine.sh(marked).is_empty());
        scene.settle(&format!("strangers on the device, {programming}"));
    }
}

#[test]
fn objects_of_the_daemon_are_changed() {
    for programming in PROGRAMMINGS {
        let Some(scene) = Scene::start(programming) else { return };
        scene.machine.sh("ip neigh replace 10.128.3.0 lladdr 0a:58:ff:00:00:02 dev flannel.1 nud permanent");
        scene.machine.sh("ip route replace 10.128.4.0/24 via 10.128.5.0 dev flannel.1 onlink proto 79");
        if programming == "neighbours" {
            scene.machine.sh("bridge fdb replace 0a:58:00:00:00:06 dst 198.19.9.9 dev flannel.1 self permanent");
        }
        scene.settle(&format!("objects are changed, {programming}"));
        scene.machine.sh("ip link set flannel.1 address 0a:58:ff:00:00:03 mtu 1300");
        let right = || {
            let link = scene.machine.place.find_link("flannel.1").expect("flannel.1");
            link["address"] != "0a:58:ff:00:00:03" && link["mtu"] == 1450
        };
        wait_until("the device has its own address and MTU again", right);
        scene.settle(&format!("the device is changed, {programming}"));
    }
}

#[test]
fn notifications_are_lost() {
    for programming in PROGRAMMINGS {
        // The least that the kernel gives: a few notifications.
        let Some(scene) = Scene::start_with(programming, &json!({"receive_buffer": 2048})) else { return };
        let routes: String = scene.peers.iter().map(|peer| format!("route delete {}\n", peer.subnet())).collect();
        let batch = scene.machine.write("routes", &routes);
        scene.machine.sh(&format!("ip -batch {}", batch.display()));
        scene.settle(&format!("notifications are lost, {programming}"));
    }
}

#[test]
fn the_firewall_is_flushed() {
    let Some(scene) = Scene::start("neighbours") else { return };
    let table = || {
        let tables = scene.machine.sh("nft list tables");
        let table = tables.lines().find(|line| !line.contains("stranger")).map(|line| line.trim().to_owned());
        table.map(|table| (table.clone(), scene.machine.sh(&format!("nft -s list {table}"))))
    };
    let (name, before) = table().expect("a table for masquerading");
    assert!(before.contains("masquerade"), "{before}");
    for command in [format!("nft flush {name}"), format!("nft delete {name}")] {
        scene.machine.sh(&command);
        let again = || table().is_some_and(|(_, now)| now == before);
        let took = wait_until("the table is as before", again);
        crate::tell(&format!("{command}: as before after {} ms", took.as_millis()));
    }
    scene.settle("the firewall is flushed");
}

#[test]
fn the_external_interface_changes_address_and_mtu() {
    for programming in PROGRAMMINGS {
        let Some(mut scene) = Scene::start(programming) else { return };
        let machine = &scene.machine;
        let mtu = || machine.place.find_link("flannel.1").map(|link| link["mtu"].clone());
        machine.sh("ip link set eth0 mtu 1400");
        wait_until("the device's MTU follows", || mtu() == Some(json!(1350)));
        let subnet = || std::fs::read_to_string(machine.path("/run/flannel/subnet.env")).unwrap_or_default();
        wait_until("the subnet file's MTU follows", || subnet().contains("FLANNEL_MTU=1350\n"));
        let file = scene.cluster.nodes().join("node1.toml");
        let says = |what: &str| std::fs::read_to_string(&file).unwrap_or_default().contains(what);
        wait_until("others are told", || says("mtu = 1350"));
        machine.sh("ip address delete 198.18.0.11/24 dev eth0");
        machine.sh("ip address add 198.18.0.99/24 dev eth0");
        machine.sh("ip route replace default via 198.18.0.1");
        wait_until("others are told the new address", || says("198.18.0.99"));
        // It is the link's or each next hop's.
        let details = || machine.run("ip -d link show flannel.1").unwrap_or_default() + &machine.sh("ip nexthop show");
        let from = if programming == "nexthops" { "src 198.18.0.99" } else { "local 198.18.0.99" };
        wait_until("tunnels leave from the new address", || details().contains(from));
        scene.look_at_others_again();
        scene.settle(&format!("another external address and MTU, {programming}"));
    }
}
