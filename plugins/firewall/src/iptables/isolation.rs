//! The ingress policies of bridges in iptables, as the Go plugin writes them:
//! ```text
//! -A FORWARD -m comment --comment "… (ingressPolicy: same-bridge|isolated)" -j CNI-ISOLATION-STAGE-1
//! -A CNI-ISOLATION-STAGE-1 -i cni0 -o cni0 … -j DROP                        (isolated)
//! -A CNI-ISOLATION-STAGE-1 -i cni0 ! -o cni0 … -j CNI-ISOLATION-STAGE-2
//! -A CNI-ISOLATION-STAGE-1 … -j RETURN
//! -A CNI-ISOLATION-STAGE-2 -o cni0 … -j DROP
//! -A CNI-ISOLATION-STAGE-2 … -j RETURN
//! ```

use libcni::names::IfName;
use linuxnet::iptables::{Batch, Rule, Table};

use crate::conf::Policy;
use crate::container::Isolation;
use crate::forward::FORWARD;

const STAGE_1: &str = "CNI-ISOLATION-STAGE-1";
const STAGE_2: &str = "CNI-ISOLATION-STAGE-2";
const COMMENT: &str = "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)";

fn comment_of(policy: Policy) -> String {
    format!("CNI firewall plugin rules (ingressPolicy: {})", policy.as_str())
}

/// Whether a rule of stage 1 drops what goes from the bridge to itself.
fn drops_within(rule: &Rule, bridge: &str) -> bool {
    rule.target() == Some("DROP") && rule.option("-i") == Some(bridge) && rule.option("-o") == Some(bridge)
}

/// Whether a rule of stage 1 sends what leaves the bridge to stage 2. (That `-o` is negated the option says by its
/// absence.)
fn leads_out(rule: &Rule, bridge: &str) -> bool {
    rule.target() == Some(STAGE_2) && rule.option("-i") == Some(bridge)
}

/// Whether a rule of stage 2 drops what goes to the bridge.
fn drops_into(rule: &Rule, bridge: &str) -> bool {
    rule.target() == Some("DROP") && rule.option("-o") == Some(bridge)
}

/// The bridges that have a policy.
pub(super) fn bridges(table: &Table) -> Vec<IfName> {
    table.rules_of(STAGE_2).filter_map(|rule| rule.option("-o")?.parse().ok()).collect()
}

/// Adds to `batch` what gives the bridges of `wanted` the strictest policy wanted for each, and takes from those of
/// `freed` what nobody wants any more; nothing where `others` may want it.
pub(super) fn settle(batch: &mut Batch, table: &Table, wanted: Vec<Isolation>, mut freed: Vec<IfName>, others: bool) {
    freed.sort_unstable();
    freed.dedup();
    let mut strictest: Vec<Isolation> = Vec::new();
    for isolation in wanted {
        match strictest.iter_mut().find(|known| known.bridge == isolation.bridge) {
            Some(known) => known.policy = known.policy.max(isolation.policy),
            None => strictest.push(isolation),
        }
    }
    if !strictest.is_empty() {
        add_chains(batch, table);
    }
    for isolation in &strictest {
        add(batch, table, isolation);
    }
    for bridge in freed.iter().filter(|_| !others) {
        let still = strictest.iter().find(|isolation| isolation.bridge == *bridge).map(|isolation| isolation.policy);
        take(batch, table, bridge.as_str(), still);
    }
}

/// The chains, their last rules, and the jump from FORWARD.
fn add_chains(batch: &mut Batch, table: &Table) {
    for stage in [STAGE_1, STAGE_2] {
        if !table.has_chain(stage) {
            batch.reset_chain(stage);
        }
        if !table.rules_of(stage).any(|rule| rule.target() == Some("RETURN")) {
            batch.append(stage, ["-m", "comment", "--comment", COMMENT, "-j", "RETURN"]);
        }
    }
    if !table.rules_of(FORWARD).any(|rule| rule.target() == Some(STAGE_1)) {
        batch.insert(FORWARD, ["-m", "comment", "--comment", COMMENT, "-j", STAGE_1]);
    }
}

fn add(batch: &mut Batch, table: &Table, Isolation { bridge, policy }: &Isolation) {
    let (bridge, comment) = (bridge.as_str(), comment_of(*policy));
    if !table.rules_of(STAGE_1).any(|rule| leads_out(rule, bridge)) {
        let words = ["-i", bridge, "!", "-o", bridge, "-m", "comment", "--comment", &comment, "-j", STAGE_2];
        batch.insert(STAGE_1, words);
    }
    if *policy == Policy::Isolated && !table.rules_of(STAGE_1).any(|rule| drops_within(rule, bridge)) {
        let words = ["-i", bridge, "-o", bridge, "-m", "comment", "--comment", &comment, "-j", "DROP"];
        batch.insert(STAGE_1, words);
    }
    if !table.rules_of(STAGE_2).any(|rule| drops_into(rule, bridge)) {
        batch.insert(STAGE_2, ["-o", bridge, "-m", "comment", "--comment", COMMENT, "-j", "DROP"]);
    }
}

/// Removes what is more than `still`, each rule once, whoever made it how often.
fn take(batch: &mut Batch, table: &Table, bridge: &str, still: Option<Policy>) {
    let of_stage_1 = |rule: &&Rule| match still {
        Some(Policy::Isolated) => false,
        Some(Policy::SameBridge | Policy::Open) => drops_within(rule, bridge),
        None => drops_within(rule, bridge) || leads_out(rule, bridge),
    };
    for rule in table.rules_of(STAGE_1).filter(of_stage_1) {
        batch.delete(rule);
    }
    for rule in table.rules_of(STAGE_2).filter(|rule| still.is_none() && drops_into(rule, bridge)) {
        batch.delete(rule);
    }
}

/// What the table lacks of a policy.
pub(super) fn differences(table: &Table, Isolation { bridge, policy }: &Isolation) -> Vec<String> {
    let (name, mut differences) = (bridge.as_str(), Vec::new());
    let mut lack = |what: String| differences.push(format!("{what} of iptables is missing"));
    if !table.rules_of(FORWARD).any(|rule| rule.target() == Some(STAGE_1)) {
        lack(format!("the jump from {FORWARD} to {STAGE_1}"));
    }
    if !table.rules_of(STAGE_1).any(|rule| leads_out(rule, name)) {
        lack(format!("the rule \"-i {bridge} ! -o {bridge} -j {STAGE_2}\" in chain {STAGE_1}"));
    }
    if *policy == Policy::Isolated && !table.rules_of(STAGE_1).any(|rule| drops_within(rule, name)) {
        lack(format!("the rule \"-i {bridge} -o {bridge} -j DROP\" in chain {STAGE_1}"));
    }
    if !table.rules_of(STAGE_2).any(|rule| drops_into(rule, name)) {
        lack(format!("the rule \"-o {bridge} -j DROP\" in chain {STAGE_2}"));
    }
    differences
}
