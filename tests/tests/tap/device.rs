//! The device: its settings, what the result says of it, and frames at its other end.

use std::fs;

use ferrule_tests::bed::{host_local, scripted, text, words};
use ferrule_tests::{Invocation, eventually};
use serde_json::{Value, json};

use crate::start;

const MAC: &str = "0a:58:0a:01:00:07";

#[test]
fn a_device_with_addresses() {
    let mut ipam = host_local(&["10.1.0.0/24", "fd00:1::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    let Some(bed) = start(&json!({ "ipam": ipam })) else { return };
    bed.network.status().expect("STATUS");
    let a = bed.attach("a");
    let link = a.interface();
    let info = &link["linkinfo"];
    assert_eq!((&info["info_kind"], &info["info_data"]["type"]), (&json!("tun"), &json!("tap")));
    assert_eq!(info["info_data"]["persist"], json!(true));
    assert!(link["flags"].as_array().unwrap().contains(&json!("UP")));
    let sandbox = a.container.netns.display().to_string();
    let expected = json!([{"name": "eth0", "mac": link["address"], "mtu": 1500, "sandbox": sandbox}]);
    assert_eq!(a.result["interfaces"], expected);
    assert_eq!(a.result["ips"][0]["interface"], 0);
    assert_eq!(a.place().sysctl("net/ipv4/conf/eth0/arp_notify"), "1");
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn every_setting_is_in_the_kernel() {
    let keys = json!({"multiQueue": true, "mtu": 1400, "mac": MAC, "owner": 0, "group": 0});
    let Some(bed) = start(&keys) else { return };
    let a = bed.attach("a");
    let link = a.interface();
    let data = &link["linkinfo"]["info_data"];
    assert_eq!((&link["mtu"], &link["address"]), (&json!(1400), &json!(MAC)));
    assert_eq!(data["multi_queue"], json!(true));
    assert_eq!((&data["user"], &data["group"]), (&json!("root"), &json!("root")));
    assert_eq!(a.result["interfaces"][0]["mtu"], 1400);
    assert!(a.result.get("ips").is_none(), "no IPAM, no addresses");
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

#[test]
fn without_owner_anybody_with_the_privilege_may_open_it() {
    let Some(bed) = start(&json!({"multiQueue": false})) else { return };
    let a = bed.attach("a");
    let data = a.interface()["linkinfo"]["info_data"].clone();
    assert_eq!((&data["user"], &data["group"]), (&Value::Null, &Value::Null));
    assert_eq!(data["multi_queue"], json!(false));
    bed.end(&[&a]);
}

#[test]
fn an_owner_that_the_kernel_does_not_know_is_refused() {
    // In the sandbox there is no such user.
    let Some(bed) = start(&json!({"owner": 4_000_000_000_u32, "ipam": host_local(&["10.1.0.0/24"])})) else { return };
    let container = bed.node.container("a");
    let failure = bed.refused(&container);
    assert_eq!(failure.msg, "cannot give tap device eth0 to user 4000000000");
    assert!(container.place.find_link("eth0").is_none());
}

#[test]
fn the_runtimes_mac_address_comes_first() {
    let Some(bed) = start(&json!({"mac": "02:00:00:00:00:01"})) else { return };
    let container = bed.node.container("a");
    let with_args = container.clone().with_args("IgnoreUnknown=1;MAC=02:00:00:00:00:02");
    let with_capability = with_args.clone().with_capability("mac", json!("02:00:00:00:00:03"));
    for (container, expected) in [(container, "01"), (with_args, "02"), (with_capability, "03")] {
        let a = bed.attach_to(&bed.network, container);
        assert_eq!(a.interface()["address"], format!("02:00:00:00:00:{expected}"));
        assert_eq!(text(&a.result, "/interfaces/0/mac"), format!("02:00:00:00:00:{expected}"));
        bed.end(&[&a]);
    }
}

#[test]
fn a_program_at_the_other_end_gets_the_containers_frames() {
    let ipam = scripted(&json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}]), &json!([]));
    let Some(bed) = start(&json!({"mac": MAC, "ipam": ipam})) else { return };
    let a = bed.attach("a");
    let frames = bed.node.dir().join("frames");
    let device = "TUN,tun-name=eth0,tun-type=tap,iff-no-pi";
    let sink = format!("OPEN:{},creat", frames.display());
    let socat = which("socat");
    let program = Invocation::new(&socat).arg("-u").arg(device).arg(sink);
    let mut program = program.start(a.place());
    let asks_for_the_gateway = |bytes: &[u8]| {
        // Ethernet from the device, ARP (0x0806) for 10.1.0.1.
        let from = [0x0a, 0x58, 0x0a, 0x01, 0x00, 0x07, 0x08, 0x06];
        bytes.windows(8).any(|window| window == from) && bytes.windows(4).any(|window| window == [10, 1, 0, 1])
    };
    eventually("a question for the gateway's address", || {
        assert!(a.place().is_unreachable("10.1.0.1".parse().unwrap()));
        fs::read(&frames).is_ok_and(|bytes| asks_for_the_gateway(&bytes))
    });
    program.kill().expect("kill");
    program.wait().expect("the end of socat");
    assert!(a.place().find_link("eth0").is_some(), "it stays when its program ends");
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
}

fn which(program: &str) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|dir| dir.join(program)).filter(|file| file.exists());
    found.next().unwrap_or_else(|| panic!("{program} is not installed"))
}

#[test]
fn a_port_of_a_bridge_of_the_container() {
    let Some(bed) = start(&json!({"bridge": "br0"})) else { return };
    let container = bed.node.container("a");
    container.place.sh("ip link add br0 type bridge");
    let a = bed.attach_to(&bed.network, container);
    assert_eq!(a.interface()["master"], "br0");
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
    assert!(a.place().find_link("br0").is_some());
}

#[test]
fn a_bridge_that_is_missing_or_none() {
    let Some(bed) = start(&json!({"bridge": "br0", "ipam": host_local(&["10.1.0.0/24"])})) else { return };
    // One of the host is not meant.
    bed.host().sh("ip link add br0 type bridge");
    let container = bed.node.container("a");
    let failure = bed.refused(&container);
    assert_eq!(
        (failure.code, failure.msg.as_str()),
        (7, "failed to get bridge br0: the container has no link of this name")
    );
    container.place.sh("ip link add br0 type veth peer name br1");
    let failure = bed.refused(&container);
    assert!(words(&failure).contains("is not a bridge (it is veth)"), "{failure:?}");
    assert!(container.place.find_link("eth0").is_none());
}

#[test]
fn every_version_has_its_form() {
    let Some(mut bed) = start(&json!({"ipam": host_local(&["10.1.0.0/24"])})) else { return };
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        bed.network.conflist["cniVersion"] = json!(version);
        let a = bed.attach("a");
        assert_eq!(a.result["cniVersion"], version);
        assert_eq!(bed.network.check(&a.container).is_ok(), version >= "0.4.0", "{version}");
        bed.end(&[&a]);
    }
}

#[test]
fn no_program_is_started() {
    let Some(bed) = start(&json!({"mtu": 1400})) else { return };
    let log = bed.node.dir().join("executed");
    let strace = ["strace", "-f", "-qq", "-e", "trace=execve", "-o", log.to_str().unwrap()];
    let network = bed.network.wrapped_in(&strace);
    let a = bed.attach_to(&network, bed.node.container("a"));
    let programs = fs::read_to_string(&log).unwrap();
    assert_eq!(programs.lines().count(), 1, "{programs}");
    bed.end(&[&a]);
}

#[test]
fn a_failed_add_leaves_nothing() {
    let ips = json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}]);
    let unreachable = scripted(&ips, &json!([{"dst": "10.7.0.0/16", "gw": "172.16.0.1"}]));
    for (keys, expected) in [
        (json!({ "ipam": unreachable }), "cannot add route 10.7.0.0/16 via 172.16.0.1 dev eth0"),
        (json!({"mtu": 65535}), "cannot set the MTU of eth0 to 65535"),
        (json!({"mac": "02:00"}), "mac: invalid value \"02:00\""),
    ] {
        let Some(bed) = start(&keys) else { return };
        let container = bed.node.container("a");
        let failure = bed.refused(&container);
        assert!(words(&failure).contains(expected), "{failure:?}");
        assert!(container.place.find_link("eth0").is_none());
    }
}

#[test]
fn a_second_add_leaves_the_first_attachment_intact() {
    let Some(bed) = start(&json!({"ipam": host_local(&["10.1.0.0/24"])})) else { return };
    let a = bed.attach("a");
    let failure = bed.network.add(&a.container).expect_err("ADD again");
    assert!(failure.msg.contains("the container has an interface eth0 already"), "{failure:?}");
    bed.network.check(&a.container).expect("CHECK of the first");
    bed.end(&[&a]);
}

#[test]
fn a_label_without_selinux() {
    let context = "system_u:system_r:container_t:s0";
    let Some(bed) = start(&json!({ "selinuxContext": context })) else { return };
    if fs::read_to_string("/proc/filesystems").unwrap().contains("selinuxfs") {
        return ferrule_tests::skip("this test is about a kernel without SELinux");
    }
    let container = bed.node.container("a");
    let failure = bed.refused(&container);
    assert_eq!(failure.code, 7);
    assert!(
        failure.msg.contains(context) && failure.msg.contains("SELinux is not enabled on this host"),
        "{failure:?}"
    );
    assert_eq!(bed.network.status().expect_err("STATUS").code, 50);
    // A kernel that says it has SELinux, and knows no labels: the plugin tries, and tells why it cannot.
    let list = bed.node.dir().join("filesystems");
    fs::copy("/proc/filesystems", &list).unwrap();
    let script =
        format!("echo 'nodev selinuxfs' >>{0}; mount --bind {0} /proc/filesystems && exec \"$@\"", list.display());
    let network = bed.network.wrapped_in(&["unshare", "-m", "sh", "-c", &script, "sh"]);
    network.status().expect("STATUS");
    let failure = network.add(&container).expect_err("ADD");
    assert!(failure.msg.starts_with("cannot create tap device eth0 with the SELinux context"), "{failure:?}");
    assert!(container.place.find_link("eth0").is_none());
}

/// What the plugin executes under another label: itself, with these arguments.
#[test]
fn the_executable_makes_a_device_by_itself() {
    let Some(bed) = start(&json!({})) else { return };
    let container = bed.node.container("a");
    let create = || {
        let program = Invocation::new(&bed.network.binaries.plugin("tap")).arg("create-device").arg("eth0");
        program.arg("multi-queue").arg("0").arg("-").run(&container.place)
    };
    assert!(create().status.success());
    let link = container.place.find_link("eth0").expect("eth0");
    let data = &link["linkinfo"]["info_data"];
    assert_eq!((&data["multi_queue"], &data["user"], &data["group"]), (&json!(true), &json!("root"), &Value::Null));
    assert_eq!(data["persist"], json!(true));
    let again = create();
    assert!(!again.status.success() && again.stdout.is_empty());
    assert!(again.stderr.starts_with("cannot create tap device eth0: "), "{again:?}");
}
