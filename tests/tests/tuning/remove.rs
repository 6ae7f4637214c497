//! DEL and GC: what was before is there again, and nothing is left.

use serde_json::json;

use crate::Bed;

#[test]
fn del_comes_twice_and_without_a_namespace() {
    let Some(bed) = Bed::start() else { return };
    let network = bed.tune(&json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": "511"}}));
    network.del(&bed.container.clone().without_netns()).expect("DEL without CNI_NETNS");
    assert_eq!(bed.files(), [] as [&str; 0]);
    network.del(&bed.container).expect("DEL again");
    bed.add(&network).expect("ADD");
    bed.node.kill(&bed.container);
    network.del(&bed.container).expect("DEL with a namespace that is gone");
    assert_eq!(bed.files(), [] as [&str; 0]);
    network.del(&bed.container).expect("DEL again");
}

/// The reference leaves the file.
#[test]
fn without_the_interface_the_sysctls_of_the_namespace_are_restored() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.sysctl("net/core/somaxconn");
    let keys = json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": "511", "net.ipv4.conf.IFNAME.arp_filter": "1"}});
    let network = bed.tune(&keys);
    bed.container.place.sh("ip link del eth0");
    network.del(&bed.container).expect("DEL");
    assert_eq!(bed.sysctl("net/core/somaxconn"), before);
    assert_eq!(bed.files(), [] as [&str; 0]);
}

#[test]
fn a_broken_configuration_does_not_keep_del_from_its_work() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    bed.tune(&json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": "511"}}));
    let broken = bed.network(&json!({"mtu": "big", "sysctl": 7, "args": "none", "mac": "nonsense"}));
    let container = bed.container.clone().with_args("nonsense");
    broken.del(&container).expect("DEL");
    bed.assert_untouched_since(&before, "afterwards");
}

#[test]
fn a_file_that_says_nothing_is_removed() {
    let Some(bed) = Bed::start() else { return };
    let network = bed.tune(&json!({"mtu": 1400}));
    let name = bed.files().pop().unwrap();
    std::fs::File::create(bed.dir().join(name)).unwrap().set_len(7).unwrap();
    network.del(&bed.container).expect("DEL");
    assert_eq!(bed.files(), [] as [&str; 0]);
}

/// The value that the interface had cannot be had any more; the container must go all the same.
#[test]
fn what_the_kernel_refuses_for_good_does_not_keep_del_from_its_end() {
    let Some(bed) = Bed::start() else { return };
    let network = bed.tune(&json!({"mtu": 1400, "txQLen": 7}));
    let path = bed.dir().join(bed.files().pop().unwrap());
    let text = std::fs::read_to_string(&path).unwrap().replace("\"mtu\": 1500", "\"mtu\": 15");
    std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes()).unwrap();
    let output = network.invocation("DEL", 0, Some(&bed.container), &json!(null)).run(&bed.node.host);
    assert!(output.status.success() && output.stderr.contains("cannot set the MTU of eth0 to 15"), "{output:?}");
    assert_eq!((bed.interface().mtu, bed.interface().queue), (1400, 1000), "the rest is restored");
    assert_eq!(bed.files(), [] as [&str; 0]);
}

/// The reference's second entry overwrites what the first has written down.
#[test]
fn several_entries_of_a_chain_keep_what_was_before_the_first() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    let first = json!({"mtu": 1400, "mac": "0a:58:0a:01:02:03", "sysctl": {"net.core.somaxconn": "511"}});
    let second = json!({"txQLen": 7, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}});
    let third = json!({"mtu": 1300, "mac": "0a:58:0a:01:02:04", "sysctl": {"net.core.somaxconn": "512"}});
    let network = bed.network_of("pods", &[&first, &second, &third]);
    bed.add(&network).expect("ADD");
    let is = bed.interface();
    assert_eq!((is.mtu, is.queue, is.mac.as_str()), (1300, 7, "0a:58:0a:01:02:04"));
    assert_eq!(bed.backup().unwrap()["mtu"], 1500);
    network.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "afterwards");
}

#[test]
fn a_later_entry_that_fails_leaves_what_the_first_has_done_and_written_down() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    let network = bed.network_of("pods", &[&json!({"mtu": 1400}), &json!({"mtu": 1300, "sysctl": {"net.x": "1"}})]);
    bed.add(&network).expect_err("the second entry");
    assert_eq!(bed.interface().mtu, 1400);
    network.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "after DEL");
}

/// A container may be started again with its ID, and DEL may not have come in between.
#[test]
fn what_an_interface_that_is_gone_was_set_to_is_not_believed() {
    let Some(bed) = Bed::start() else { return };
    bed.tune(&json!({"mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}));
    bed.container.place.sh("ip link del eth0");
    bed.make_interface();
    bed.container.place.sh("ip link set eth0 mtu 1450");
    let before = bed.state();
    let network = bed.tune(&json!({"mtu": 1300}));
    network.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "after DEL");
}

#[test]
fn gc_removes_what_was_written_down_for_attachments_that_are_gone() {
    let Some(bed) = Bed::start() else { return };
    let keys = json!({"mtu": 1400});
    let (network, other) = (bed.network(&keys), bed.network_of("other", &[&keys]));
    let container = |id: &str| {
        let mut container = bed.container.clone();
        id.clone_into(&mut container.id);
        container
    };
    let (valid, stale, elsewhere) = (container("valid"), container("stale"), container("elsewhere"));
    for (network, container) in [(&network, &valid), (&network, &stale), (&other, &elsewhere)] {
        bed.add_of(network, container).expect("ADD");
    }
    network.gc(&[&valid]).expect("GC");
    let mut left = bed.files();
    left.sort();
    assert_eq!(left, ["elsewhere_eth0.json", "valid_eth0.json"]);
    network.gc(&[]).expect("GC");
    assert_eq!(bed.files(), ["elsewhere_eth0.json"]);
}
