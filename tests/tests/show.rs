//! `cnitool show` on a node with many attachments, by our plugins and by the Go plugins: is it the truth?
#![expect(clippy::unwrap_used, reason = "a test")]

use ferrule_tests::{Crowd, Member};
use serde_json::Value;

fn shown(crowd: &Crowd) -> Value {
    let output = crowd.cnitool(&["show", "--format", "json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

/// What is shown of an attachment.
fn row<'s>(shown: &'s Value, member: &Member) -> &'s Value {
    let rows = shown["attachments"].as_array().unwrap();
    let is_it = |row: &&Value| row["containerID"] == *member.container.id && row["network"] == *member.network;
    rows.iter().find(is_it).unwrap_or_else(|| panic!("{} is not shown", member.container.id))
}

#[test]
fn every_attachment_is_shown_as_its_add_left_it() {
    let Some(crowd) = Crowd::start(50, 20) else { return };
    let shown = shown(&crowd);
    assert_eq!(shown["attachments"].as_array().unwrap().len(), 70);
    assert_eq!(shown["notes"], serde_json::json!([]));
    for member in &crowd.members {
        let row = row(&shown, member);
        assert_eq!(row["result"], member.result);
        assert_eq!(row["odd"], serde_json::json!([]), "{row:#}");
    }
}

#[test]
fn a_container_whose_namespace_is_gone_is_marked() {
    let Some(crowd) = Crowd::start(6, 0) else { return };
    let gone = &crowd.members[3];
    crowd.node.kill(&gone.container);
    let shown = shown(&crowd);
    for member in &crowd.members {
        let row = row(&shown, member);
        let is_gone = member.container.id == gone.container.id;
        assert_eq!(row["netnsAlive"], !is_gone, "{row:#}");
        assert_eq!(row["odd"], if is_gone { serde_json::json!(["namespace gone"]) } else { serde_json::json!([]) });
    }
}
