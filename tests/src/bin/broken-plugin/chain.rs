//! Rules about prevResult of chained plugins, and about the results of IPAM plugins.

use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::{Broken, Class, kernel};

pub(crate) const BROKEN: &[Broken] = &[
    Broken {
        name: "drops-result",
        class: Class::Chained,
        does: "does not hand prevResult on",
        caught_by: &["chain/prev-result"],
        answer: |call| added(call, |result| *result = json!({"cniVersion": result["cniVersion"]})),
    },
    Broken {
        name: "drops-interface",
        class: Class::Chained,
        does: "leaves the first interface of prevResult out of its result",
        caught_by: &["chain/prev-result"],
        answer: |call| {
            added(call, |result| {
                if let Some(interfaces) = result["interfaces"].as_array_mut().filter(|list| !list.is_empty()) {
                    interfaces.remove(0);
                }
            })
        },
    },
    Broken {
        name: "drops-dns",
        class: Class::Chained,
        does: "leaves dns of prevResult out of its result",
        caught_by: &["chain/prev-result"],
        answer: |call| added(call, |result| result["dns"] = json!({})),
    },
    Broken {
        name: "drops-routes",
        class: Class::Chained,
        does: "leaves routes of prevResult out of its result",
        caught_by: &["chain/prev-result"],
        answer: |call| {
            added(call, |result| {
                result["routes"] = json!([]);
                result["ip4"]["routes"] = json!([]);
            })
        },
    },
    Broken {
        name: "drops-gateway",
        class: Class::Chained,
        does: "leaves the gateway of an address of prevResult out of its result",
        caught_by: &["chain/prev-result"],
        answer: |call| {
            added(call, |result| {
                for pointer in ["/ips/0", "/ip4"] {
                    if let Some(ip) = result.pointer_mut(pointer).and_then(Value::as_object_mut) {
                        ip.remove("gateway");
                    }
                }
            })
        },
    },
    Broken {
        name: "drops-device",
        class: Class::Chained,
        does: "leaves what 1.1.0 knows of an interface out of its result",
        caught_by: &["chain/prev-result-1.1.0"],
        answer: |call| {
            added(call, |result| {
                for interface in
                    result["interfaces"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut)
                {
                    interface.retain(|key, _| ["name", "mac", "sandbox"].contains(&key.as_str()));
                }
            })
        },
    },
    Broken {
        name: "chained-del-once",
        class: Class::Chained,
        does: "fails at the second DEL",
        caught_by: &["verbs/del-twice"],
        answer: |call| {
            let mark = call.file_in("/run/broken");
            match call.verb.as_str() {
                "ADD" => call.good().then(|| kernel::write(&mark, b"added")),
                "DEL" if std::fs::remove_file(&mark).is_err() => Reply::error(3, "there was no ADD"),
                _ => call.good(),
            }
        },
    },
    Broken {
        name: "ipam-with-interfaces",
        class: Class::Ipam,
        does: "has interfaces in the result of IPAM",
        caught_by: &["verbs/ipam-result"],
        answer: |call| {
            added(call, |result| {
                if result["ips"].is_array() {
                    result["interfaces"] = json!([{"name": "eth0"}]);
                    result["ips"][0]["interface"] = 0.into();
                }
            })
        },
    },
    Broken {
        name: "ipam-without-addresses",
        class: Class::Ipam,
        does: "has no address in the result of IPAM",
        caught_by: &["verbs/ipam-result"],
        answer: |call| {
            added(call, |result| {
                result["ips"] = json!([]);
                result["ip4"] = Value::Null;
            })
        },
    },
    Broken {
        name: "ipam-one-for-all",
        class: Class::Ipam,
        does: "gives everybody the same address",
        caught_by: &["concurrency/many-at-once"],
        answer: |call| {
            added(call, |result| {
                for (pointer, key) in [("/ips/0", "address"), ("/ip4", "ip")] {
                    if let Some(ip) = result.pointer_mut(pointer).filter(|ip| !ip.is_null()) {
                        ip[key] = "10.77.0.9/16".into();
                    }
                }
            })
        },
    },
    Broken {
        name: "ipam-keeps",
        class: Class::Ipam,
        does: "does not release the address at DEL",
        caught_by: &["verbs/add-check-del"],
        answer: |call| if call.is("DEL") { Reply::nothing() } else { call.good() },
    },
    Broken {
        name: "ipam-gc-nothing",
        class: Class::Ipam,
        does: "does nothing at GC",
        caught_by: &["verbs/gc-empty"],
        answer: |call| if call.is("GC") { Reply::nothing() } else { call.good() },
    },
];

fn added(call: &Call, change: impl FnOnce(&mut Value)) -> Reply {
    let reply = call.good();
    if call.is("ADD") { reply.with_result(change) } else { reply }
}
