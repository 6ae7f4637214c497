use super::bed::*;
use crate::config::Programming;
use crate::store::News;

#[test]
fn what_left_while_the_daemon_was_down_is_removed_and_the_rest_is_not_touched() {
    let Some(bed) = Bed::new() else { return };
    let engine = bed.vxlan(Programming::Neighbours);
    engine.begin(vec![node(1), node(2), node(3)]);
    engine.stop();
    let before = bed.objects();
    assert!(before.contains("10.42.2.0/24"), "{before}");
    let engine = bed.vxlan(Programming::Neighbours);
    let link = bed.run("ip -o link show dev flannel.1");
    engine.begin(vec![node(1), node(3)]);
    assert_eq!(bed.run("ip -o link show dev flannel.1"), link);
    assert_eq!(
        bed.objects(),
        before
            .lines()
            .filter(|line| !line.contains("10.42.2.0") && !line.contains("00:02"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    );
    assert_eq!(engine.status().drift_repaired, 0);
}

#[test]
fn while_the_store_is_away_the_nodes_of_the_snapshot_stay() {
    let Some(bed) = Bed::new() else { return };
    let engine = bed.vxlan(Programming::Neighbours);
    engine.begin(vec![node(1), node(2), node(3)]);
    engine.stop();
    let before = bed.objects();
    // As after a boot: the kernel has forgotten all.
    bed.run("ip link delete flannel.1");
    let engine = bed.vxlan(Programming::Neighbours);
    engine.hear(News::Unreachable("connection refused".into()));
    engine.until_ready();
    assert_eq!(bed.objects(), before);
    let status = engine.status();
    assert_eq!((status.stale, status.subnets.as_slice()), (3, &["10.42.0.0/24".to_owned()][..]));
    assert!(
        status.store.starts_with("unreachable for ") && status.store.ends_with(": connection refused"),
        "{status:?}"
    );
    assert_eq!(engine.state_of("n1"), "stale");
    // The store is back: one left meanwhile, one is new.
    engine.hear(News::Reachable);
    engine.begin(vec![node(1), node(3), node(4)]);
    let shown = bed.until("ip route show proto 79", |shown| shown.contains("10.42.4.0/24"));
    assert!(!shown.contains("10.42.2.0/24") && shown.lines().count() == 3, "{shown}");
    assert_eq!((engine.status().stale, engine.status().store.as_str()), (0, "reachable"));
    assert_eq!(engine.differences(), []);
}

#[test]
fn thousands_of_nodes_are_programmed_and_questions_answered_meanwhile() {
    let Some(bed) = Bed::new() else { return };
    let network = crate::network::Network {
        v4: Some(crate::network::Pool { network: "10.0.0.0/8".parse().unwrap(), ..v4_network().v4.unwrap() }),
        ..v4_network()
    };
    let nodes: Vec<_> = (0..3000u16)
        .map(|n| {
            let [a, b] = n.to_be_bytes();
            let mut record = node_at(1, &format!("198.51.{a}.{b}"), 1);
            record.name = format!("n{n:04}");
            if let Ok(claim) = &mut record.claim {
                claim.subnets = vec![format!("10.{}.{b}.0/24", a + 43).parse().unwrap()];
                claim.v4_data = Some(serde_json::json!({"VNI": 1, "VtepMAC": format!("0a:00:00:00:{a:02x}:{b:02x}")}));
            }
            record
        })
        .collect();
    let engine = bed.start(bed.config(), network);
    engine.begin(nodes.clone());
    assert_eq!(engine.status().peers, 3000);
    assert_eq!(bed.run("ip route show proto 79").lines().count(), 3000);
    assert_eq!(engine.differences(), []);
    // Nearly all leave at once.
    engine.hear(crate::store::News::All(nodes.into_iter().take(10).collect()));
    bed.until("ip route show proto 79", |shown| shown.lines().count() == 10);
    engine.until(|status| status.peers == 10 && status.not_ready.is_empty());
    engine.until(|_| engine.differences().is_empty());
}
