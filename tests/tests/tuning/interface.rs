//! The settings of the interface, and where they come from.

use serde_json::{Value, json};

use crate::{Bed, Settings};

#[test]
fn every_setting_is_made_reported_and_taken_back() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    let keys = json!({"mac": "0a:58:0a:01:02:03", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 500});
    let network = bed.network(&keys);
    let result = bed.add(&network).expect("ADD");
    let tuned =
        Settings { mac: "0a:58:0a:01:02:03".to_owned(), mtu: 1400, queue: 500, promiscuous: true, all_multicast: true };
    assert_eq!(bed.interface(), tuned);
    let mut expected = bed.prev_result();
    expected["interfaces"][1]["mac"] = json!("0a:58:0a:01:02:03");
    expected["interfaces"][1]["mtu"] = json!(1400);
    assert_eq!(result, expected, "and of the host's interface nothing");
    network.check(&bed.container).expect("CHECK");
    network.status().expect("STATUS");
    network.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "afterwards");
}

#[test]
fn what_was_on_can_be_turned_off() {
    let Some(bed) = Bed::start() else { return };
    bed.container.place.sh("ip link set eth0 allmulticast on");
    let network = bed.tune(&json!({"allmulti": false, "txQLen": 0}));
    let is = bed.interface();
    assert!(!is.all_multicast && is.queue == 0, "{is:?}");
    network.del(&bed.container).expect("DEL");
    assert!(bed.interface().all_multicast);
}

#[test]
fn what_is_not_configured_is_left_alone() {
    let Some(bed) = Bed::start() else { return };
    bed.container.place.sh("ip link set eth0 promisc on");
    bed.container.place.sh("ip link set eth0 allmulticast on");
    let before = bed.state();
    let network = bed.tune(&json!({"promisc": false, "mtu": 0, "mac": ""}));
    bed.assert_untouched_since(&before, "after ADD");
    network.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "after DEL");
}

#[test]
fn a_mac_address_comes_from_four_places() {
    let Some(mut bed) = Bed::start() else { return };
    let mac = |last: u8| format!("0a:58:0a:01:02:{last:02x}");
    let plain = bed.container.clone();
    let mut keys = json!({"mac": mac(1)});
    let attached = |bed: &Bed, keys: &Value| {
        let network = bed.tune(keys);
        let is = bed.interface().mac;
        network.del(&bed.container).expect("DEL");
        is
    };
    assert_eq!(attached(&bed, &keys), mac(1));
    bed.container = plain.clone().with_args(&format!("IgnoreUnknown=1;K8S_POD_NAME=web;MAC={}", mac(2)));
    assert_eq!(attached(&bed, &keys), mac(2));
    bed.container = bed.container.clone().with_capability("mac", json!(mac(3)));
    assert_eq!(attached(&bed, &keys), mac(3));
    keys["args"] = json!({"cni": {"mac": mac(4)}});
    assert_eq!(attached(&bed, &keys), mac(4));
    let own = bed.interface().mac;
    keys["args"] = json!({"cni": {"mac": ""}});
    assert_eq!(attached(&bed, &keys), own, "an empty one in args means none");
}

#[test]
fn args_take_the_place_of_the_configuration() {
    let Some(bed) = Bed::start() else { return };
    bed.tune(&json!({
        "mtu": 1300, "promisc": true, "allmulti": true, "TXQLEN": 5,
        "args": {"cni": {"mtu": 1350, "promisc": false, "allmulti": false, "txQLen": 6}},
    }));
    let is = bed.interface();
    assert_eq!((is.mtu, is.queue, is.promiscuous, is.all_multicast), (1350, 6, false, false));
}

#[test]
fn capital_letters_in_a_mac_address_are_no_difference() {
    let Some(bed) = Bed::start() else { return };
    bed.tune(&json!({"mac": "0A-58-0A-01-02-FF"}));
    assert_eq!(bed.interface().mac, "0a:58:0a:01:02:ff");
}
