//! The rules of masquerading.

use super::bed::*;
use crate::config::{Config, MasqueradeConf};
use crate::event::Event;

fn masquerading(bed: &Bed, except: &str) -> Config {
    let except = vec![except.parse().unwrap()];
    let masquerade = Some(MasqueradeConf { except, random_fully: true, forward: true });
    Config { masquerade, ..bed.config() }
}

#[test]
fn rules_are_repaired_follow_the_configuration_and_go_with_it() {
    let Some(bed) = Bed::new() else { return };
    let list = "nft list table inet overlayd";
    bed.run("nft add table ip flannel-ipv4");
    let engine = bed.start(masquerading(&bed, "198.51.100.0/24"), v4_network());
    engine.begin(vec![node(1)]);
    assert!(bed.run(list).contains("198.51.100.0/24"));
    assert!(!bed.can("nft list table ip flannel-ipv4"), "this node is taken over");
    bed.run("nft flush ruleset");
    bed.until(list, |shown| shown.contains("masquerade"));
    assert_eq!(engine.until(|status| status.drift_repaired > 0).drift_repaired, 1);

    engine.queue.send(Event::Reload(Box::new(masquerading(&bed, "203.0.113.0/24")))).unwrap();
    bed.until(list, |shown| shown.contains("203.0.113.0/24"));
    engine.queue.send(Event::Reload(Box::new(bed.config()))).unwrap();
    bed.until(list, str::is_empty);
    engine.queue.send(Event::Reload(Box::new(masquerading(&bed, "203.0.113.0/24")))).unwrap();
    bed.until(list, |shown| shown.contains("masquerade"));
    bed.run("nft delete table inet overlayd");
    bed.until(list, |shown| shown.contains("masquerade"));
    assert_eq!(engine.until(|status| status.drift_repaired > 1).drift_repaired, 2, "what we changed is no drift");
    drop(engine);
    assert!(bed.can(list), "they stay when the daemon ends");

    let engine = bed.start(bed.config(), v4_network());
    engine.begin(vec![node(1)]);
    bed.until(list, str::is_empty);
}
