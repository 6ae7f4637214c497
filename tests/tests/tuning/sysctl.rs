//! Sysctls: how they are named, in which order they are set, and what was before.

use serde_json::json;

use crate::{Bed, assert_says};

#[test]
fn they_are_set_in_the_container_and_nowhere_else() {
    let Some(bed) = Bed::start() else { return };
    let (before, host) = (bed.state(), bed.node.host.sysctl("net/core/somaxconn"));
    let network = bed.tune(&json!({"sysctl": {
        "net.core.somaxconn": "511",
        "net.ipv4.conf.IFNAME.arp_filter": "1",
        "net/ipv6/conf/IFNAME/hop_limit": "12",
    }}));
    assert_eq!(bed.sysctl("net/core/somaxconn"), "511");
    assert_eq!(bed.sysctl("net/ipv4/conf/eth0/arp_filter"), "1");
    assert_eq!(bed.sysctl("net/ipv6/conf/eth0/hop_limit"), "12");
    assert_eq!(bed.sysctl("net/ipv4/conf/other/arp_filter"), "0");
    assert_eq!(bed.node.host.sysctl("net/core/somaxconn"), host);
    network.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "after DEL, where the reference leaves them");
}

#[test]
fn an_interface_may_have_dots_in_its_name() {
    let Some(bed) = Bed::start_on("eth0.100") else { return };
    for key in [
        "net.ipv4.conf.IFNAME.arp_filter",
        "net/ipv4/conf/IFNAME/arp_filter",
        "net/ipv4/conf/eth0.100/arp_filter",
        "net.ipv4.conf.eth0/100.arp_filter",
    ] {
        let network = bed.tune(&json!({"sysctl": {key: "1"}}));
        assert_eq!(bed.sysctl("net/ipv4/conf/eth0.100/arp_filter"), "1", "{key}");
        network.del(&bed.container).expect("DEL");
        assert_eq!(bed.sysctl("net/ipv4/conf/eth0.100/arp_filter"), "0", "{key}");
    }
}

/// The reference crashes.
#[test]
fn args_alone_may_have_some() {
    let Some(bed) = Bed::start() else { return };
    bed.tune(&json!({"args": {"cni": {"sysctl": {"net.core.somaxconn": "511"}}}}));
    assert_eq!(bed.sysctl("net/core/somaxconn"), "511");
}

#[test]
fn those_of_args_win_in_whichever_spelling() {
    let Some(bed) = Bed::start() else { return };
    bed.tune(&json!({
        "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "0", "net.core.somaxconn": "511"},
        "args": {"cni": {"sysctl": {"net/ipv4/conf/eth0/arp_filter": "1"}}},
    }));
    assert_eq!(bed.sysctl("net/ipv4/conf/eth0/arp_filter"), "1");
    assert_eq!(bed.sysctl("net/core/somaxconn"), "511");
}

/// Writing `ip_forward` writes the setting of each interface.
#[test]
fn general_ones_do_not_undo_particular_ones() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    let network = bed.tune(&json!({"sysctl": {
        "net.ipv4.conf.IFNAME.forwarding": "0",
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.IFNAME.disable_ipv6": "0",
        "net.ipv6.conf.all.disable_ipv6": "1",
        "net.ipv4.conf.default.arp_filter": "1",
        "net.ipv4.conf.IFNAME.arp_filter": "0",
    }}));
    assert_eq!(bed.sysctl("net/ipv4/conf/eth0/forwarding"), "0");
    assert_eq!(bed.sysctl("net/ipv4/conf/other/forwarding"), "1");
    assert_eq!(bed.sysctl("net/ipv6/conf/eth0/disable_ipv6"), "0");
    network.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "after DEL");
}

#[test]
fn the_mtu_of_ipv6_follows_that_of_the_interface() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    let network = bed.tune(&json!({"mtu": 9000, "sysctl": {"net.ipv6.conf.IFNAME.mtu": "8000"}}));
    assert_eq!(bed.sysctl("net/ipv6/conf/eth0/mtu"), "8000");
    network.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "after DEL");
}

#[test]
fn one_that_can_only_be_written_is_written() {
    let Some(bed) = Bed::start() else { return };
    let network = bed.tune(&json!({"sysctl": {"net.ipv4.route.flush": "1"}}));
    network.del(&bed.container).expect("DEL");
}

#[test]
fn several_values_are_the_same_whatever_separates_them() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    let network = bed.tune(&json!({"sysctl": {"net.ipv4.tcp_rmem": "4096  65536 1000000"}}));
    assert_eq!(bed.sysctl("net/ipv4/tcp_rmem"), "4096\t65536\t1000000");
    network.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "after DEL");
}

#[test]
fn one_that_no_namespace_has_is_refused_by_name() {
    let Some(bed) = Bed::start() else { return };
    let failure = bed.refused(&json!({"sysctl": {"net.core.somaxconn": "511", "net.ipv4.tcp_turbo": "1"}}));
    assert_says(&failure, 999, &["cannot set sysctl net.ipv4.tcp_turbo to \"1\"", "hint:", "No such file"]);
}

#[test]
fn a_value_that_the_kernel_refuses_is_named() {
    let Some(bed) = Bed::start() else { return };
    let keys = json!({"mtu": 1400, "mac": "0a:58:0a:01:02:03", "sysctl": {
        "net.core.somaxconn": "511",
        "net.ipv4.conf.IFNAME.arp_filter": "1",
        "net.ipv4.conf.IFNAME.tag": "many",
    }});
    let failure = bed.refused(&keys);
    let why = "cannot set sysctl net/ipv4/conf/eth0/tag to \"many\": Invalid argument";
    assert_says(&failure, 999, &["cannot set sysctl net.ipv4.conf.IFNAME.tag to \"many\"", "hint:", why]);
}

/// A parsed document has lost the first; the text has both.
#[test]
fn one_that_is_written_twice_is_refused() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    let network = bed.network(&json!({"prevResult": bed.prev_result(), "sysctl": {"net.core.somaxconn": "511"}}));
    let once = "\"net.core.somaxconn\":\"511\"";
    let mut config = network.plugins()[0].clone();
    config["name"] = json!("pods");
    config["cniVersion"] = json!("1.1.0");
    let mut config = config.to_string();
    assert!(config.contains(once), "{config}");
    config = config.replace(once, &format!("{once},\"net.core.somaxconn\":\"512\""));
    let add = network.invocation("ADD", 0, Some(&bed.container), &json!(null)).stdin(config);
    let failure = network.run(add).reply().expect_err("ADD must fail");
    assert_says(&failure, 7, &["duplicated sysctl keys are not allowed", "net.core.somaxconn"]);
    bed.assert_untouched_since(&before, "after ADD");
}

#[test]
fn where_nothing_can_be_written_status_says_so_and_what_is_set_is_good() {
    let Some(bed) = Bed::start() else { return };
    let before = bed.state();
    let read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$0\"";
    let network = |value: &str| {
        let keys = json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": value}});
        bed.network(&keys).wrapped_in(&["unshare", "-m", "sh", "-c", read_only])
    };
    assert_says(&network("511").status().unwrap_err(), 50, &["/proc/sys is mounted read-only"]);
    assert_says(&bed.add(&network("511")).unwrap_err(), 999, &["net.core.somaxconn to \"511\"", "read-only"]);
    bed.assert_untouched_since(&before, "after ADD");
    let as_it_is = network(&bed.sysctl("net/core/somaxconn"));
    bed.add(&as_it_is).expect("ADD of the value that it has");
    as_it_is.del(&bed.container).expect("DEL");
    bed.assert_untouched_since(&before, "after DEL");
}
