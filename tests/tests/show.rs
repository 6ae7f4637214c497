//! `cnitool show` on a node with many attachments, by our plugins and by the Go plugins: is it the truth?
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

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

/// Texts, sorted.
fn texts(values: &Value) -> Vec<&str> {
    let mut texts: Vec<&str> = values.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect();
    texts.sort_unstable();
    texts
}

fn addresses(result: &Value) -> Vec<&str> {
    let mut addresses: Vec<&str> =
        result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap()).collect();
    addresses.sort_unstable();
    addresses
}

/// The link of the host that the result names, besides the bridge and what bandwidth made.
fn host_veth(result: &Value) -> &str {
    let names = result["interfaces"].as_array().unwrap().iter().filter(|interface| interface["sandbox"].is_null());
    names.map(|interface| interface["name"].as_str().unwrap()).find(|name| name.starts_with("veth")).unwrap()
}

/// Published ports that were asked for and are there, as `8000->80/tcp`.
fn ports(row: &Value) -> Vec<String> {
    let port = |port: &Value| {
        assert_eq!((&port["asked"], &port["published"]), (&true.into(), &true.into()), "{row:#}");
        format!("{}->{}/{}", port["hostPort"], port["containerPort"], port["protocol"].as_str().unwrap())
    };
    let mut ports: Vec<String> = row["ports"].as_array().unwrap().iter().map(port).collect();
    ports.sort();
    ports
}

fn asked_ports(member: &Member) -> Vec<String> {
    let asked = member.container.capabilities["portMappings"].as_array();
    let port = |port: &Value| {
        format!("{}->{}/{}", port["hostPort"], port["containerPort"], port["protocol"].as_str().unwrap())
    };
    let mut ports: Vec<String> = asked.into_iter().flatten().map(port).collect();
    ports.sort();
    ports
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
        assert_eq!(row["pod"], serde_json::json!({"namespace": member.pod.0, "name": member.pod.1}));
        assert_eq!(texts(&row["addresses"]), addresses(&member.result));
        assert_eq!(ports(row), asked_ports(member));
        let link = row["hostLink"].as_str().unwrap();
        assert_eq!(link, host_veth(&member.result), "{row:#}");
        let master = crowd.node.host.find_link(link).unwrap()["master"].clone();
        assert_eq!(row["bridge"], master, "{row:#}");
    }
    for bridge in shown["bridges"].as_array().unwrap() {
        let name = bridge["name"].as_str().unwrap();
        let ports = crowd.node.host.json(&format!("ip -j link show master {name}"));
        let mut ports: Vec<&str> =
            ports.as_array().unwrap().iter().map(|port| port["ifname"].as_str().unwrap()).collect();
        ports.sort_unstable();
        assert_eq!(texts(&bridge["ports"]), ports);
        let on_it = crowd.members.iter().filter(|member| row(&shown, member)["bridge"] == *name).count();
        assert_eq!(ports.len(), on_it);
    }
    assert_eq!(shown["bridges"].as_array().unwrap().len(), 5);
    assert_eq!(shown["strayPorts"], serde_json::json!([]));
    for owned in shown["owned"].as_array().unwrap() {
        assert_eq!(owned["standing"], "alive", "{owned:#}");
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
