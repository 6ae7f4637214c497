//! Rules about what ADD, CHECK, GC and STATUS do, and tell.

use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::kernel::{self, to_interface};
use crate::{Broken, Class};

pub(crate) const BROKEN: &[Broken] = &[
    Broken {
        name: "no-link",
        class: Class::Interface,
        does: "makes no interface, but says so",
        caught_by: &["verbs/add-interface"],
        answer: |call| after_add(call, |call| to_interface(call, kernel::remove)),
    },
    Broken {
        name: "link-down",
        class: Class::Interface,
        does: "leaves the interface down",
        caught_by: &["verbs/add-interface"],
        answer: |call| after_add(call, |call| to_interface(call, kernel::set_down)),
    },
    Broken {
        name: "no-address",
        class: Class::Interface,
        does: "does not give the interface the address that IPAM chose",
        caught_by: &["verbs/add-addresses"],
        answer: |call| after_add(call, |call| to_interface(call, kernel::remove_addresses)),
    },
    Broken {
        name: "no-routes",
        class: Class::Interface,
        does: "does not make the routes that IPAM chose",
        caught_by: &["verbs/add-routes"],
        answer: |call| after_add(call, |call| to_interface(call, kernel::remove_routes)),
    },
    Broken {
        name: "no-sandbox",
        class: Class::Interface,
        does: "does not say in which namespace its interface is",
        caught_by: &["verbs/result-interfaces"],
        answer: |call| interfaces_changed(call, |interface| interface["sandbox"] = "".into()),
    },
    Broken {
        name: "wrong-mac",
        class: Class::Interface,
        does: "tells another hardware address than the interface has",
        caught_by: &["verbs/result-interfaces"],
        answer: |call| interfaces_changed(call, |interface| interface["mac"] = "02:00:00:00:00:01".into()),
    },
    Broken {
        name: "no-interfaces",
        class: Class::Interface,
        does: "has no interfaces in its result",
        caught_by: &["verbs/result-interfaces"],
        answer: |call| added(call, |result| result["interfaces"] = json!([])),
    },
    Broken {
        name: "index-of-host",
        class: Class::Interface,
        does: "says that the address belongs to a link of the host",
        caught_by: &["verbs/result-ips"],
        answer: |call| added(call, |result| result["ips"][0]["interface"] = 0.into()),
    },
    Broken {
        name: "index-of-nothing",
        class: Class::Interface,
        does: "says that the address belongs to an interface that is not in the result",
        caught_by: &["verbs/result-ips"],
        answer: |call| added(call, |result| result["ips"][0]["interface"] = 9.into()),
    },
    Broken {
        name: "replaces-interface",
        class: Class::Interface,
        does: "removes an interface that has the requested name already",
        caught_by: &["verbs/add-existing-interface"],
        answer: |call| {
            if call.is("ADD") {
                to_interface(call, kernel::remove);
            }
            call.good()
        },
    },
    Broken {
        name: "harms-on-second-add",
        class: Class::Interface,
        does: "takes down the interface of the first ADD when a second one fails",
        caught_by: &["verbs/add-twice"],
        answer: |call| {
            call.good().or(|| {
                if call.is("ADD") {
                    to_interface(call, kernel::set_down);
                }
            })
        },
    },
    Broken {
        name: "add-harms-others",
        class: Class::Interface,
        does: "takes down the interfaces of other containers at ADD",
        caught_by: &["verbs/add-of-others"],
        answer: |call| {
            if call.is("ADD") {
                for_all_veths(kernel::set_down);
            }
            call.good()
        },
    },
    Broken {
        name: "check-blind",
        class: Class::Interface,
        does: "succeeds at every CHECK",
        caught_by: &["verbs/check-address", "verbs/check-interface", "verbs/check-route"],
        answer: |call| if call.is("CHECK") { Reply::nothing() } else { call.good() },
    },
    Broken {
        name: "check-fails",
        class: Class::Interface,
        does: "fails at every CHECK",
        caught_by: &["verbs/check"],
        answer: |call| if call.is("CHECK") { Reply::error(11, "not yet") } else { call.good() },
    },
    Broken {
        name: "check-repairs",
        class: Class::Interface,
        does: "changes the interface at CHECK",
        caught_by: &["verbs/check"],
        answer: |call| {
            if call.is("CHECK") {
                to_interface(call, kernel::add_address);
            }
            call.good()
        },
    },
    Broken {
        name: "check-without-result",
        class: Class::Interface,
        does: "does not look at prevResult at CHECK, but at what it remembers",
        caught_by: &["verbs/check-prev-result"],
        answer: check_by_memory,
    },
    Broken {
        name: "gc-all",
        class: Class::Interface,
        does: "removes valid attachments at GC",
        caught_by: &["verbs/gc-keeps"],
        answer: |call| {
            if call.is("GC") {
                for_all_veths(kernel::remove);
            }
            call.good()
        },
    },
    Broken {
        name: "gc-fails-when-empty",
        class: Class::Interface,
        does: "fails at GC where nothing is valid",
        caught_by: &["verbs/gc-empty"],
        answer: |call| match call.config["cni.dev/valid-attachments"].as_array() {
            Some(list) if list.is_empty() && call.is("GC") => Reply::error(7, "no valid attachments"),
            _ => call.good(),
        },
    },
    Broken {
        name: "gc-fails-on-unknown",
        class: Class::Interface,
        does: "fails at GC where an attachment is valid that it has not made",
        caught_by: &["verbs/gc-unknown"],
        answer: |call| {
            let valid = call.config["cni.dev/valid-attachments"].to_string();
            if call.is("GC") && valid.contains("unknown") { Reply::error(3, "unknown") } else { call.good() }
        },
    },
    Broken {
        name: "gc-malformed-is-empty",
        class: Class::Interface,
        does: "takes a list of GC that is none for an empty one",
        caught_by: &["verbs/gc-malformed"],
        answer: |call| {
            let valid = &call.config["cni.dev/valid-attachments"];
            if call.is("GC") && !valid.is_array() && !valid.is_null() {
                for_all_veths(kernel::remove);
                return call.with_config(|config| config["cni.dev/valid-attachments"] = json!([])).good();
            }
            call.good()
        },
    },
    Broken {
        name: "gc-prints",
        class: Class::Interface,
        does: "prints something after GC",
        caught_by: &["verbs/gc-empty"],
        answer: |call| if call.is("GC") { Reply { stdout: b"{}".to_vec(), ..call.good() } } else { call.good() },
    },
    Broken {
        name: "status-never",
        class: Class::Interface,
        does: "is never ready",
        caught_by: &["verbs/status"],
        answer: |call| if call.is("STATUS") { Reply::error(50, "not ready") } else { call.good() },
    },
];

/// ADD, and then something else.
fn after_add(call: &Call, action: fn(&Call)) -> Reply {
    let reply = call.good();
    if call.is("ADD") { reply.then(|| action(call)) } else { reply }
}

/// ADD, with another result.
fn added(call: &Call, change: impl FnOnce(&mut Value)) -> Reply {
    let has_interfaces = !matches!(call.version(), "0.1.0" | "0.2.0");
    let reply = call.good();
    if call.is("ADD") && has_interfaces { reply.with_result(change) } else { reply }
}

/// ADD, with another description of the container's interfaces.
fn interfaces_changed(call: &Call, change: fn(&mut Value)) -> Reply {
    added(call, |result| {
        let interfaces = result["interfaces"].as_array_mut().into_iter().flatten();
        interfaces.filter(|interface| !interface["sandbox"].as_str().unwrap_or_default().is_empty()).for_each(change);
    })
}

fn for_all_veths(action: fn(&mut linuxnet::netlink::Netlink, &linuxnet::link::Link)) {
    let mut netlink = linuxnet::netlink::Netlink::open().expect("netlink");
    for link in kernel::veths_of_host(&mut netlink) {
        action(&mut netlink, &link);
    }
}

fn check_by_memory(call: &Call) -> Reply {
    let memory = call.file_in("/run/broken");
    match call.verb.as_str() {
        "ADD" => {
            let reply = call.good();
            kernel::write(&memory, &reply.stdout);
            reply
        }
        "CHECK" => {
            let text = std::fs::read(&memory).unwrap_or_default();
            let remembered: Value = serde_json::from_slice(&text).unwrap_or_default();
            call.with_config(|config| config["prevResult"] = remembered).good()
        }
        "DEL" => {
            // A second DEL finds it gone.
            let _ = std::fs::remove_file(&memory);
            call.good()
        }
        _ => call.good(),
    }
}
