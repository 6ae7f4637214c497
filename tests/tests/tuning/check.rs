//! CHECK: every difference in what is configured, and no other.

use serde_json::{Value, json};

use crate::{Bed, words};

/// What CHECK says after `change` in the container.
fn complaint(keys: &Value, change: &str) -> Option<String> {
    let bed = Bed::start()?;
    let network = bed.tune(keys);
    bed.container.place.sh(change);
    Some(words(&network.check(&bed.container).expect_err("CHECK must complain")))
}

#[test]
fn each_setting_that_was_changed_is_named_with_both_values() {
    for (keys, change, words) in [
        (
            json!({"mac": "0a:58:0a:01:02:03"}),
            "ip link set eth0 address 0a:58:0a:01:02:04",
            "Tuning configured Ethernet of eth0 is 0a:58:0a:01:02:03, current value is 0a:58:0a:01:02:04",
        ),
        (json!({"mtu": 1400}), "ip link set eth0 mtu 1300", "MTU of eth0 is 1400, current value is 1300"),
        (json!({"promisc": true}), "ip link set eth0 promisc off", "promiscuous mode of eth0 is true"),
        (json!({"allmulti": true}), "ip link set eth0 allmulticast off", "all-multicast mode of eth0 is true"),
        (json!({"allmulti": false}), "ip link set eth0 allmulticast on", "all-multicast mode of eth0 is false"),
        (
            json!({"txQLen": 7}),
            "ip link set eth0 txqueuelen 8",
            "Transmit Queue Length of eth0 is 7, current value is 8",
        ),
        (
            json!({"sysctl": {"net.core.somaxconn": "511"}}),
            "sysctl -w net.core.somaxconn=512",
            "Tuning configured value of net.core.somaxconn is 511, current value is 512",
        ),
        (json!({"mtu": 1400}), "ip link del eth0", "Cannot find container link eth0"),
        (
            json!({"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}),
            "ip link del eth0",
            "net.ipv4.conf.IFNAME.arp_filter is 1, and there is no such sysctl",
        ),
    ] {
        let Some(said) = complaint(&keys, change) else { return };
        assert!(said.contains(words), "{words:?} is not in {said:?}");
    }
}

#[test]
fn all_differences_are_told_at_once() {
    let keys = json!({"mtu": 1400, "txQLen": 7, "sysctl": {"net.core.somaxconn": "511"}});
    let Some(bed) = Bed::start() else { return };
    let network = bed.tune(&keys);
    for change in ["ip link set eth0 mtu 1300", "ip link set eth0 txqueuelen 8", "sysctl -w net.core.somaxconn=512"] {
        bed.container.place.sh(change);
    }
    let said = words(&network.check(&bed.container).expect_err("CHECK must complain"));
    assert!(["1300", "is 8", "512"].iter().all(|value| said.contains(value)), "{said}");
}

/// The reference wants an interface that was not configured to be promiscuous not to be: a packet capture is enough.
#[test]
fn what_is_not_configured_may_be_anything() {
    let Some(bed) = Bed::start() else { return };
    let network = bed.tune(&json!({"mtu": 1400}));
    for change in [
        "ip link set eth0 promisc on",
        "ip link set eth0 allmulticast on",
        "ip link set eth0 txqueuelen 8",
        "ip link set eth0 address 0a:58:0a:01:02:04",
    ] {
        bed.container.place.sh(change);
    }
    network.check(&bed.container).expect("CHECK");
}
