//! The overlay between nodes: whether this node has its subnet, and whether overlayd is well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libcni::json;
use libcni::socket::{self, AskError};
use serde_json::{Value, json};

use super::configured::Plugin;
use super::report::Group;
use crate::finding::Finding;
use crate::node::Inventory;

/// Where vxlan-delegate looks, unless the configuration says otherwise.
const SUBNET_FILE: &str = "/run/flannel/subnet.env";
const SOCKET: &str = "/run/overlayd/overlayd.sock";
/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn examine(inventory: &Inventory) -> Group {
    let mut group = Group::new("Overlay");
    let mut sockets = BTreeSet::new();
    for (_, list) in &inventory.networks {
        for plugin in Plugin::of(list).iter().filter(|plugin| plugin.is(&["vxlan-delegate", "flannel"])) {
            subnet(&mut group, list.name.as_str(), Path::new(plugin.text("subnetFile").unwrap_or(SUBNET_FILE)));
            sockets.insert(PathBuf::from(plugin.text("overlaydSocket").unwrap_or(SOCKET)));
        }
    }
    if sockets.is_empty() {
        group.ok("no network uses it");
    }
    for socket in sockets {
        daemon(&mut group, &socket);
    }
    group
}

fn subnet(group: &mut Group, network: &str, file: &Path) {
    let shown = file.display();
    match std::fs::read_to_string(file) {
        Ok(text) => match text.lines().find_map(|line| line.strip_prefix("FLANNEL_SUBNET=")) {
            Some(subnet) => group.ok(format!("this node's subnet of network \"{network}\" is {subnet} ({shown})")),
            None => group.ok(format!("network \"{network}\" has its file of the node's subnet ({shown})")),
        },
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => group.found(
            Finding::error(
                "overlay-without-subnet",
                format!("there is no file {shown}, which network \"{network}\" needs"),
            )
            .because("every ADD of the network fails until the overlay's daemon has written it")
            .cure("systemctl start overlayd (or flanneld)"),
        ),
        Err(fault) => group.unknown(format!("{shown} cannot be read: {fault}")),
    }
}

fn daemon(group: &mut Group, socket: &Path) {
    for (question, code, cure) in
        [("ready", "overlay-not-ready", "cnitool overlay status"), ("diff", "overlay-differs", "cnitool overlay diff")]
    {
        match socket::ask(socket, &json!({"ask": question, "format": "text"}), PATIENCE) {
            // flanneld has none.
            Err(AskError::Absent(_)) => return group.ok("overlayd has never run here; another daemon may"),
            Err(fault) => {
                let seen = libcni::error::causes(Some(&fault));
                return group.found(
                    Finding::error("overlay-not-ready", seen)
                        .because("nodes that come or move are not learnt, and new containers are refused")
                        .cure("systemctl restart overlayd"),
                );
            }
            Ok(answer) if exit(&answer) == Some(0) => group.ok(format!("overlayd says that it is well ({question})")),
            Ok(answer) => group.found(
                Finding::error(code, format!("overlayd says: {}", output(&answer)))
                    .because("containers of other nodes may not be reached")
                    .cure(cure),
            ),
        }
    }
}

fn exit(answer: &Value) -> Option<u64> {
    json::member(answer.as_object()?, "exit")?.as_u64()
}

fn output(answer: &Value) -> String {
    let text = answer.as_object().and_then(|object| json::member(object, "output")).and_then(Value::as_str);
    text.unwrap_or_default().trim_end().to_owned()
}
