use super::bed::*;
use crate::config::Programming;

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
