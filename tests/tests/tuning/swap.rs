//! Plugins replaced under running containers: what one has set, the other sets back.

use ferrule_tests::Binaries;
use serde_json::json;

use crate::Bed;

fn keys() -> serde_json::Value {
    json!({
        "mac": "0a:58:0a:01:02:03", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 500,
        "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"},
    })
}

#[test]
fn ours_sets_back_what_the_reference_has_set() {
    let Some((ours, reference)) = Binaries::both() else { return };
    let Some(bed) = Bed::start() else { return };
    let before = bed.interface();
    let theirs = bed.network(&keys()).served_by(&reference);
    let ours = theirs.served_by(&ours);
    bed.add(&theirs).expect("ADD by the reference");
    assert_ne!(bed.interface(), before);
    ours.check(&bed.container).expect("CHECK by ours");
    ours.gc(&[]).expect("GC by ours");
    assert_eq!(bed.files().len(), 1, "the reference's file names no network: it stays until DEL");
    ours.del(&bed.container).expect("DEL by ours");
    assert_eq!(bed.interface(), before);
    assert_eq!(bed.files(), [] as [&str; 0]);
}

#[test]
fn the_reference_sets_back_what_ours_has_set() {
    let Some((ours, reference)) = Binaries::both() else { return };
    let Some(bed) = Bed::start() else { return };
    let before = bed.interface();
    let ours = bed.network(&keys()).served_by(&ours);
    let theirs = ours.served_by(&reference);
    bed.add(&ours).expect("ADD by ours");
    theirs.check(&bed.container).expect("CHECK by the reference");
    theirs.del(&bed.container).expect("DEL by the reference");
    assert_eq!(bed.interface(), before);
    assert_eq!(bed.sysctl("net/ipv4/conf/eth0/arp_filter"), "1", "it knows nothing of sysctls");
    assert_eq!(bed.files(), [] as [&str; 0]);
}

/// Both write down the same, but for our own key.
#[test]
fn what_is_written_down_has_the_references_form() {
    let Some((ours, reference)) = Binaries::both() else { return };
    let Some(bed) = Bed::start() else { return };
    let network = bed.network(&keys());
    let mut written = [&ours, &reference].map(|binaries| {
        let network = network.served_by(binaries);
        bed.add(&network).expect("ADD");
        let written = bed.backup().unwrap();
        network.del(&bed.container).expect("DEL");
        written
    });
    let own = written[0].as_object_mut().unwrap().remove("ferrule").unwrap();
    assert_eq!(own["network"], "pods");
    assert_eq!(own["sysctl"], json!({"net/ipv4/conf/eth0/arp_filter": "0"}));
    assert_eq!(written[0], written[1]);
}
