//! Where a macvlan's Ethernet address may be asked for, and which one wins.

use ferrule_tests::bed::{text, words};
use serde_json::{Value, json};

use crate::Kind;

const CONFIG: &str = "0a:58:0a:00:00:01";
const ENVIRONMENT: &str = "0a:58:0a:00:00:02";
const ARGUMENTS: &str = "0a:58:0a:00:00:03";
const RUNTIME: &str = "0a:58:0a:00:00:04";

#[test]
fn the_runtime_is_over_args_over_the_environment_over_the_configuration() {
    let arguments = json!({"cni": {"mac": ARGUMENTS}});
    let cases = [
        (json!({"mac": CONFIG, "args": arguments}), true, true, RUNTIME),
        (json!({"mac": CONFIG, "args": arguments}), true, false, ARGUMENTS),
        (json!({"mac": CONFIG}), true, true, RUNTIME),
        (json!({"mac": CONFIG}), true, false, ENVIRONMENT),
        (json!({"mac": CONFIG}), false, false, CONFIG),
    ];
    let Some(bed) = Kind::Macvlan.bed(&json!({})) else { return };
    for (keys, in_environment, in_capability, expected) in cases {
        let network = Kind::Macvlan.network(&bed, "macs", &keys);
        let mut container = bed.node.container("a");
        if in_environment {
            container = container.with_args(&format!("IgnoreUnknown=1;K8S_POD_NAME=web;MAC={ENVIRONMENT}"));
        }
        if in_capability {
            container = container.with_capability("mac", json!(RUNTIME));
        }
        let a = bed.attach_to(&network, container);
        assert_eq!(text(&a.interface(), "/address"), expected, "{keys}");
        assert_eq!(text(&a.result, "/interfaces/0/mac"), expected);
        network.check(&a.container).expect("CHECK");
        network.del(&a.container).expect("DEL");
    }
}

#[test]
fn without_one_it_is_random_and_given_so_that_nobody_changes_it() {
    let Some(bed) = Kind::Macvlan.bed(&json!({})) else { return };
    let (a, b) = (bed.attach("a"), bed.attach("b"));
    assert_ne!(a.interface()["address"], b.interface()["address"]);
    // NET_ADDR_SET: udev leaves it alone. (/sys shows the namespace of whoever mounted it.)
    let look = "mount -t sysfs sysfs /sys && cat /sys/class/net/eth0/addr_assign_type";
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c", look]);
    let shown = a.place().run(|| command.output()).expect("unshare");
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "3", "{shown:?}");
    bed.end(&[&a, &b]);
}

#[test]
fn what_no_interface_can_have_is_refused() {
    let Some(bed) = Kind::Macvlan.bed(&json!({})) else { return };
    for (keys, path) in [
        (json!({"mac": "0a:58"}), "mac: invalid value \"0a:58\""),
        (json!({"mac": "01:00:5e:00:00:01"}), "mac: invalid value"),
        (json!({"args": {"cni": {"mac": "00:00:00:00:00:00"}}}), "args.cni.mac: invalid value"),
    ] {
        let keys: Value = keys;
        let failure = Kind::Macvlan.network(&bed, "bad", &keys).add(&bed.node.container("a")).expect_err("ADD");
        assert!(failure.code == 7 && words(&failure).contains(path), "{failure:?}");
    }
    let failure = bed.refused(&bed.node.container("a").with_args("COLOR=red"));
    assert!(failure.code == 4 && words(&failure).contains("unknown args [\"COLOR=red\"]"), "{failure:?}");
}
