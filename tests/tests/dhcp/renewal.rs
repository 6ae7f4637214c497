//! Leases of seconds: prolonged, lost, and gone on with by another daemon.

use std::time::Duration;

use ferrule_tests::eventually;

use crate::server::{Said, Server};
use crate::{Bed, Pod, words};

const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;

/// The requests to prolong a lease: they have `ciaddr`.
fn prolonging(server: &Server) -> Vec<Said> {
    server.said_of_kind(REQUEST).into_iter().filter(|said| !said.ciaddr.is_unspecified()).collect()
}

/// The lease is lost: the interface is down, and CHECK says why.
#[track_caller]
fn assert_lost(bed: &Bed, pod: &Pod, why: &str) {
    eventually("the interface is down", || !pod.is_up());
    let failure = bed.call("CHECK", &pod.container).expect_err("CHECK");
    assert!(words(&failure).contains(why), "{failure:?}");
    assert!(bed.records().is_empty());
    bed.end(pod);
}

#[test]
fn a_lease_is_renewed_by_its_server_from_the_containers_address() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 4);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    eventually("two renewals", || prolonging(&server).len() >= 2);
    for said in prolonging(&server) {
        assert_eq!((said.from.to_string(), said.ciaddr.to_string()), (pod.ip(), pod.ip()));
        // RFC 2131, table 5: neither in RENEWING.
        assert_eq!((said.option(50), said.option(54)), (None, None));
    }
    assert_eq!(server.said_of_kind(DISCOVER).len(), 1, "{}", daemon.log());
    bed.network.check(&pod.container).expect("CHECK");
    assert!(pod.is_up());
    bed.end(&pod);
}

#[test]
fn a_server_that_missed_the_renewal_hears_the_rebinding() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 4);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    server.set_silent(true);
    eventually("a renewal", || prolonging(&server).len() == 1);
    server.set_silent(false);
    eventually("a rebinding, and a renewal of what it brought", || prolonging(&server).len() >= 3);
    assert_eq!(server.said_of_kind(DISCOVER).len(), 1, "{}", daemon.log());
    bed.network.check(&pod.container).expect("CHECK");
    bed.end(&pod);
}

#[test]
fn a_lease_that_nobody_prolongs_ends_with_the_interface_down() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 4);
    let _daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    server.set_silent(true);
    assert_lost(&bed, &pod, "no DHCP server prolonged it");
    assert!(server.releases().is_empty(), "it was not ours any more");
}

#[test]
fn after_a_nak_the_same_address_is_had_again() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 4);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    server.set_refusing(true);
    eventually("a DISCOVER after the NAK", || server.said_of_kind(DISCOVER).len() >= 2);
    server.set_refusing(false);
    let address: std::net::Ipv4Addr = pod.ip().parse().unwrap();
    assert_eq!(server.said_of_kind(DISCOVER)[1].option(50), Some(&address.octets()[..]));
    let asked = prolonging(&server).len();
    eventually("a renewal of the new lease", || prolonging(&server).len() > asked);
    assert!(daemon.log().contains("a server refuses"), "{}", daemon.log());
    assert!(pod.is_up());
    bed.network.check(&pod.container).expect("CHECK");
    bed.end(&pod);
}

#[test]
fn a_container_never_gets_another_address() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 4);
    let _daemon = bed.daemon(&["-timeout", "1s"]);
    let pod = bed.attach("pod");
    server.forget();
    assert_lost(&bed, &pod, "refused to prolong it");
    let addresses = server.said_of_kind(REQUEST).into_iter().filter_map(|said| said.option(50).map(<[u8]>::to_vec));
    assert_eq!(addresses.collect::<Vec<_>>(), [[10, 7, 0, 100]], "what it was offered was not taken");
}

#[test]
fn a_killed_daemon_is_followed_by_one_that_renews_its_leases() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 6);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    daemon.kill();
    assert_eq!(bed.records().len(), 1);
    let daemon = bed.daemon(&[]);
    bed.network.check(&pod.container).expect("CHECK");
    eventually("two renewals", || prolonging(&server).len() >= 2);
    assert_eq!(server.said_of_kind(DISCOVER).len(), 1, "{}", daemon.log());
    bed.end(&pod);
    assert_eq!(server.releases().len(), 1);
}

#[test]
fn a_daemon_that_ends_keeps_the_leases() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 600);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    assert_eq!(daemon.terminate(), Some(0));
    let _daemon = bed.daemon(&[]);
    bed.network.check(&pod.container).expect("CHECK");
    assert!(server.releases().is_empty());
    bed.end(&pod);
    assert_eq!(server.releases().len(), 1);
}

#[test]
fn a_lease_that_ended_meanwhile_is_asked_for_as_after_a_reboot() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 2);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    daemon.kill();
    std::thread::sleep(Duration::from_secs(3));
    let before = server.said().len();
    let _daemon = bed.daemon(&[]);
    eventually("INIT-REBOOT", || server.said().len() > before);
    let said = &server.said()[before];
    let address: std::net::Ipv4Addr = pod.ip().parse().unwrap();
    assert_eq!((said.kind, said.ciaddr.is_unspecified()), (REQUEST, true));
    assert_eq!((said.option(50), said.option(54)), (Some(&address.octets()[..]), None));
    eventually("renewals go on", || prolonging(&server).last().is_some_and(|last| last.ciaddr == address));
    bed.network.check(&pod.container).expect("CHECK");
    bed.end(&pod);
}

#[test]
fn a_container_that_lost_its_address_keeps_its_lease() {
    let Some(bed) = Bed::start() else { return };
    let server = Server::start(&bed, 4);
    let daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    pod.place().sh("ip address flush dev eth0 scope global");
    eventually("a renewal", || !prolonging(&server).is_empty());
    assert!(daemon.log().contains("does not have the address 10.7.0.100"), "{}", daemon.log());
    assert_eq!(prolonging(&server)[0].from.to_string(), pod.ip());
    bed.network.del(&pod.container).expect("DEL");
    assert_eq!(server.releases().len(), 1);
}
