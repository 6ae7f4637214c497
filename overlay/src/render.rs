//! What `cnitool overlay` prints.

use std::fmt::Write as _;

use crate::report::{Difference, Explanation, PeerRow, Status};

/// The table of [`Status`].
pub(crate) fn status(status: &Status) -> String {
    let Status { node, backend, peers, refused, failing, stale, .. } = status;
    let ready =
        if status.not_ready.is_empty() { "yes".to_owned() } else { format!("no: {}", status.not_ready.join("; ")) };
    let subnets = if status.subnets.is_empty() { "none".to_owned() } else { status.subnets.join(", ") };
    let rows = [
        ("node", node.clone()),
        ("ready", ready),
        ("backend", backend.clone()),
        ("subnets", subnets),
        ("mtu", format!("{} bytes", status.mtu)),
        ("store", status.store.clone()),
        ("peers", format!("{peers}; {refused} refused, {failing} failing, {stale} not confirmed by the store")),
        ("repaired", format!("{} objects that somebody else had changed", status.drift_repaired)),
    ];
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:10}{value}");
        text
    })
}

/// The table of the nodes.
pub(crate) fn peers(peers: &[PeerRow]) -> String {
    let mut rows = vec![["NODE", "SUBNETS", "ENDPOINTS", "HOW", "STATE"].map(str::to_owned)];
    rows.extend(peers.iter().map(|peer| {
        let (subnets, endpoints) = (peer.subnets.join(","), peer.endpoints.join(","));
        [peer.name.clone(), subnets, endpoints, peer.how.clone(), peer.state.clone()]
    }));
    table(&rows)
}

/// A line for each difference.
pub(crate) fn diff(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut rows = vec![["WHAT", "OBJECT", "NODE"].map(str::to_owned)];
    rows.extend(differences.iter().map(|difference| {
        let peer = difference.peer.clone().unwrap_or_default();
        [difference.what.to_owned(), difference.object.clone(), peer]
    }));
    table(&rows)
}

/// The steps, then the faults.
pub(crate) fn explanation(explanation: &Explanation) -> String {
    let steps = explanation.steps.iter().enumerate().map(|(i, step)| format!("{}. {step}\n", i + 1));
    steps.chain(explanation.faults.iter().map(|fault| format!("FAULT: {fault}\n"))).collect()
}

/// Rows in columns as wide as they need to be; the first is the head.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_table() {
        let mut of = Status {
            not_ready: vec!["no subnet".to_owned(), "no device".to_owned()],
            node: "n1".to_owned(),
            backend: "vxlan".to_owned(),
            subnets: Vec::new(),
            mtu: 1450,
            store: "reachable".to_owned(),
            peers: 3,
            refused: 1,
            failing: 0,
            stale: 2,
            drift_repaired: 7,
        };
        let text = status(&of);
        assert!(
            text.starts_with("node      n1\nready     no: no subnet; no device\nbackend   vxlan\nsubnets   none\n"),
            "{text}"
        );
        assert!(text.contains("\npeers     3; 1 refused, 0 failing, 2 not confirmed by the store\n"), "{text}");
        of.not_ready.clear();
        of.subnets = vec!["10.42.3.0/24".to_owned(), "fd42::/64".to_owned()];
        assert!(status(&of).contains("\nready     yes\n"));
        assert!(status(&of).contains("\nsubnets   10.42.3.0/24, fd42::/64\n"));
    }

    #[test]
    fn nodes_are_in_columns() {
        let row = |name: &str, state: &str| PeerRow {
            name: name.to_owned(),
            subnets: vec!["10.42.1.0/24".to_owned()],
            endpoints: vec!["192.0.2.1".to_owned()],
            how: "host-gw".to_owned(),
            state: state.to_owned(),
        };
        assert_eq!(
            peers(&[row("a", "ok"), row("longer", "stale")]),
            "NODE    SUBNETS       ENDPOINTS  HOW      STATE\n\
             a       10.42.1.0/24  192.0.2.1  host-gw  ok\n\
             longer  10.42.1.0/24  192.0.2.1  host-gw  stale\n"
        );
    }

    #[test]
    fn differences_and_explanations() {
        assert_eq!(diff(&[]), "no difference\n");
        let difference =
            Difference { what: "missing", object: "route 10.42.1.0/24".to_owned(), peer: Some("a".to_owned()) };
        assert_eq!(diff(&[difference]), "WHAT     OBJECT              NODE\nmissing  route 10.42.1.0/24  a\n");
        let explained = Explanation { steps: vec!["a".to_owned(), "b".to_owned()], faults: vec!["c".to_owned()] };
        assert_eq!(explanation(&explained), "1. a\n2. b\nFAULT: c\n");
    }
}
