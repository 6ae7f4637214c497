//! Leases of what is gone: the container, its interface, the plugin, the daemon.

use std::os::unix::process::ExitStatusExt;

use ferrule_tests::{Binaries, Invocation, eventually};
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::server::Server;
use crate::{Bed, words};

/// The addresses that were released.
fn released(server: &Server) -> Vec<String> {
    server.releases().iter().map(|said| said.ciaddr.to_string()).collect()
}

/// So that the host reaches the server.
fn join(bed: &Bed) {
    bed.node.host.sh("ip address add 10.7.0.2/24 dev br0");
}

#[test]
fn the_lease_of_a_killed_container_is_released_through_its_interface() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    let daemon = bed.daemon(&[]);
    let idle = daemon.descriptors();
    let (killed, other) = (bed.attach("killed"), bed.attach("other"));
    bed.node.kill(&killed.container);
    eventually("the RELEASE", || released(&server) == [killed.ip()]);
    assert_eq!(server.releases()[0].from.to_string(), killed.ip());
    eventually("the record is gone", || bed.records().len() == 1);
    assert!(daemon.log().contains("its container is gone"), "{}", daemon.log());
    bed.network.del(&killed.container.clone().without_netns()).expect("DEL");
    bed.network.check(&other.container).expect("CHECK");
    bed.end(&other);
    eventually("nothing is held open", || daemon.descriptors() == idle);
}

#[test]
fn the_lease_of_a_removed_interface_is_released_from_the_host() {
    let Some(bed) = Bed::start() else { return };
    join(&bed);
    let server = Server::start(&bed, 600);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    pod.place().sh("ip link delete eth0");
    eventually("the RELEASE", || released(&server) == [pod.ip()]);
    assert_eq!(server.releases()[0].from.to_string(), "10.7.0.2");
    assert!(daemon.log().contains("its interface is gone"), "{}", daemon.log());
    bed.network.del(&pod.container).expect("DEL");
}

#[test]
fn what_ended_while_no_daemon_ran_is_released_when_one_starts() {
    let Some(bed) = Bed::start() else { return };
    join(&bed);
    let server = Server::start(&bed, 600);
    let daemon = bed.daemon(&[]);
    let (gone, kept) = (bed.attach("gone"), bed.attach("kept"));
    daemon.kill();
    bed.node.kill(&gone.container);
    let _daemon = bed.daemon(&[]);
    eventually("the RELEASE", || released(&server) == [gone.ip()]);
    eventually("the record is gone", || bed.records().len() == 1);
    bed.network.check(&kept.container).expect("CHECK");
    bed.network.del(&gone.container).expect("DEL");
    bed.network.del(&kept.container).expect("DEL");
}

#[test]
fn what_is_detached_while_no_daemon_runs_is_released_when_one_starts() {
    let Some(bed) = Bed::start() else { return };
    join(&bed);
    let server = Server::start(&bed, 600);
    let daemon = bed.daemon(&[]);
    let (deleted, collected, kept) = (bed.attach("deleted"), bed.attach("collected"), bed.attach("kept"));
    daemon.kill();
    bed.network.del(&deleted.container).expect("DEL without a daemon");
    bed.network.gc(&[&kept.container]).expect("GC without a daemon");
    assert_eq!((bed.records().len(), released(&server).len()), (3, 0));
    let _daemon = bed.daemon(&[]);
    eventually("both", || {
        let mut released = released(&server);
        released.sort();
        released == [deleted.ip(), collected.ip()]
    });
    eventually("their records are gone", || bed.records().len() == 1);
    bed.network.check(&kept.container).expect("CHECK");
    bed.network.del(&kept.container).expect("DEL");
}

#[test]
fn a_marked_lease_whose_interface_is_there_is_released_through_it() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    daemon.kill();
    bed.call("DEL", &pod.container).expect("DEL");
    let _daemon = bed.daemon(&[]);
    eventually("the RELEASE", || released(&server) == [pod.ip()]);
    assert_eq!(server.releases()[0].from.to_string(), pod.ip());
    eventually("the record is gone", || bed.records().is_empty());
}

#[test]
fn a_plugin_that_is_stopped_while_it_waits_leaves_no_lease() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let Some(bed) = Bed::start() else { return };
        let server = Server::start(&bed, 600);
        server.set_silent(true);
        let daemon = bed.daemon(&[]);
        let container = bed.node.container("pod");
        bed.node.host.sh(&format!("ip link add port type veth peer name eth0 netns {}", container.netns.display()));
        bed.node.host.sh("ip link set port master br0 up");
        let config = json!({
            "cniVersion": "1.1.0", "name": "lan", "type": "bridge", "ipam": bed.network.plugins()[0]["ipam"],
        });
        let invocation = Invocation::new(&Binaries::ours().unwrap().plugin("dhcp"))
            .env("CNI_COMMAND", "ADD")
            .env("CNI_PATH", "/nowhere")
            .env("CNI_CONTAINERID", &container.id)
            .env("CNI_NETNS", &container.netns)
            .env("CNI_IFNAME", "eth0");
        let child = invocation.config(&config).start(&bed.node.host);
        eventually("a DISCOVER", || !server.said().is_empty());
        // A second one does not disturb the first.
        let failure = bed.call("ADD", &container).expect_err("under way");
        assert!(words(&failure).contains("is under way"), "{failure:?}");
        kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        if signal == Signal::SIGTERM {
            assert!(String::from_utf8_lossy(&output.stdout).contains("interrupted by a signal"), "{output:?}");
        } else {
            assert_eq!(output.status.signal(), Some(9));
        }
        server.set_silent(false);
        let failure = bed.call("CHECK", &container).expect_err("no lease");
        assert!(words(&failure).contains("is known"), "{failure:?}: {}", daemon.log());
        assert!(bed.records().is_empty());
    }
}
