//! What fails, and what it says.

use ferrule_tests::Container;

use crate::server::Server;
use crate::{Bed, socket, words};

#[test]
fn without_a_server_add_fails_in_time() {
    let Some(bed) = Bed::start() else { return };
    let daemon = bed.daemon(&["-resendtimeout=2s"]);
    let failure = bed.refused("pod");
    assert_eq!(failure.code, 11);
    assert_eq!(
        words(&failure),
        "no address on \"eth0\" from DHCP: no DHCP server offered an address within 2 s: no more tries"
    );
    assert!(bed.records().is_empty(), "{}", daemon.log());
}

#[test]
fn without_a_daemon_add_says_how_to_start_it() {
    let Some(bed) = Bed::start() else { return };
    let failure = bed.refused("pod");
    let text = words(&failure);
    assert!(text.starts_with("error dialing DHCP daemon at ") && text.contains("hint: start `dhcp daemon`"), "{text}");
    assert_eq!(failure.code, 11);
    let failure = bed.network.status().expect_err("STATUS");
    assert_eq!((failure.code, failure.msg.as_str()), (50, "the DHCP daemon cannot be asked"));
    assert!(failure.details.contains("No such file or directory"), "{failure:?}");
    let container = bed.node.container("check");
    assert_eq!(bed.call("CHECK", &container).expect_err("CHECK").code, 11);
    bed.call("DEL", &container).expect("DEL");
    // Nor does a configuration that cannot be read any more keep a pod from ending.
    let mut broken = bed.network.clone();
    broken.conflist["plugins"][0]["ipam"]["daemonSocketPath"] = serde_json::json!(7);
    broken.del(&container).expect("DEL with a broken configuration");
}

#[test]
fn a_missing_interface_or_namespace_is_told() {
    let Some(bed) = Bed::start() else { return };
    let _daemon = bed.daemon(&[]);
    let container = bed.node.container("pod");
    let failure = bed.call("ADD", &container).expect_err("no interface");
    assert_eq!(failure.code, 999);
    assert_eq!(
        words(&failure),
        "cannot ask for an address on \"eth0\": error looking up \"eth0\": it is not in the container"
    );
    bed.node.kill(&container);
    let failure = bed.call("ADD", &container).expect_err("no namespace");
    assert_eq!(failure.code, 4);
    assert!(words(&failure).contains("does not exist"), "{failure:?}");
    let lo = Container { ifname: "lo".to_owned(), ..bed.node.container("lo") };
    assert!(words(&bed.call("ADD", &lo).expect_err("lo")).contains("is no Ethernet interface"));
}

#[test]
fn a_lease_that_cannot_be_kept_is_given_back() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    let _daemon = bed.daemon(&[]);
    // Where the directory would be.
    let name = socket(&bed.node).trim_start_matches('/').replace('/', "%2F");
    std::fs::create_dir_all("/var/lib/cni/dhcp").unwrap();
    let file = std::path::Path::new("/var/lib/cni/dhcp").join(name);
    std::fs::File::create(&file).unwrap();
    let failure = bed.refused("pod");
    assert_eq!(failure.code, 5);
    assert!(words(&failure).starts_with("cannot keep the lease of lan "), "{failure:?}");
    assert_eq!(server.releases().len(), 1);
    std::fs::remove_file(&file).unwrap();
    bed.end(&bed.attach("pod"));
}

#[test]
fn noise_from_the_network_does_no_harm() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 4);
    server.set_noisy();
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    ferrule_tests::eventually("a renewal", || server.said_of_kind(3).len() >= 2);
    bed.network.check(&pod.container).unwrap_or_else(|e| panic!("{e:?}: {}", daemon.log()));
    bed.end(&pod);
}
