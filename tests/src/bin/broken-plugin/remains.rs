//! Rules about what is left after DEL, GC, failures and kills, and about several plugins at once.

use std::time::Duration;

use linuxnet::netlink::Netlink;

use crate::call::{Call, Reply};
use crate::kernel::{self, to_interface};
use crate::{Broken, Class};

pub(crate) const BROKEN: &[Broken] = &[
    Broken {
        name: "del-once",
        class: Class::Interface,
        does: "fails at DEL where the interface is gone",
        caught_by: &["verbs/del-twice"],
        answer: |call| {
            let has_namespace = std::path::Path::new(call.var("CNI_NETNS")).exists();
            if call.is("DEL") && has_namespace && !kernel::has_interface(call) {
                return Reply::error(3, "there is no such interface");
            }
            call.good()
        },
    },
    Broken {
        name: "del-wants-netns",
        class: Class::Interface,
        does: "fails at DEL without CNI_NETNS",
        caught_by: &["verbs/del-without-netns"],
        answer: |call| match call.var("CNI_NETNS") {
            "" if call.is("DEL") => Reply::error(4, "CNI_NETNS is not set"),
            _ => call.good(),
        },
    },
    Broken {
        name: "del-wants-living-netns",
        class: Class::Interface,
        does: "fails at DEL where the namespace is gone",
        caught_by: &["verbs/del-gone-netns"],
        answer: |call| match call.var("CNI_NETNS") {
            path if call.is("DEL") && !path.is_empty() && !std::path::Path::new(path).exists() => {
                Reply::error(3, "the namespace is gone")
            }
            _ => call.good(),
        },
    },
    Broken {
        name: "del-wants-result",
        class: Class::Interface,
        does: "fails at DEL without prevResult",
        caught_by: &["verbs/del-without-prev-result"],
        answer: |call| {
            let is_old = call.version() < "0.4.0";
            if call.is("DEL") && !is_old && call.config["prevResult"].is_null() {
                return Reply::error(7, "prevResult is missing");
            }
            call.good()
        },
    },
    Broken {
        name: "del-leaves-link",
        class: Class::Interface,
        does: "leaves a link on the host after DEL",
        caught_by: &["verbs/add-check-del"],
        answer: |call| {
            call.good().then(|| {
                if call.is("DEL") {
                    kernel::leave_link(call);
                }
            })
        },
    },
    Broken {
        name: "del-leaves-file",
        class: Class::Interface,
        does: "leaves a file after DEL",
        caught_by: &["verbs/add-check-del"],
        answer: |call| {
            call.good().then(|| {
                if call.is("ADD") {
                    kernel::leave_file(call);
                }
            })
        },
    },
    Broken {
        name: "del-of-others",
        class: Class::Interface,
        does: "removes the interfaces of other containers at DEL",
        caught_by: &["verbs/del-of-others"],
        answer: |call| {
            if call.is("DEL") {
                let mut netlink = Netlink::open().expect("netlink");
                for link in kernel::veths_of_host(&mut netlink) {
                    kernel::remove(&mut netlink, &link);
                }
            }
            call.good()
        },
    },
    Broken {
        name: "failed-add-leaves-link",
        class: Class::Interface,
        does: "leaves a link after an ADD that failed, which DEL does not remove",
        caught_by: &["leaks/failed-add"],
        answer: |call| {
            call.good().or(|| {
                if call.is("ADD") {
                    kernel::leave_link(call);
                }
            })
        },
    },
    Broken {
        name: "failed-add-leaves-file",
        class: Class::Interface,
        does: "leaves a file after an ADD that failed, which DEL does not remove",
        caught_by: &["leaks/failed-add"],
        answer: |call| {
            call.good().or(|| {
                if call.is("ADD") {
                    kernel::leave_file(call);
                }
            })
        },
    },
    Broken {
        name: "del-after-failed-add",
        class: Class::Interface,
        does: "fails at DEL after an ADD that failed",
        caught_by: &["verbs/del-after-failed-add"],
        answer: del_after_failed_add,
    },
    Broken {
        name: "killed",
        class: Class::Interface,
        does: "leaves a file when it is killed, which DEL does not remove",
        caught_by: &["interruption/add-killed-then-del"],
        answer: |call| {
            if !call.is("ADD") {
                return call.good();
            }
            kernel::leave_file(call);
            std::thread::sleep(Duration::from_millis(10));
            let reply = call.good();
            kernel::remove_file(call);
            reply
        },
    },
    Broken {
        name: "one-at-a-time",
        class: Class::Interface,
        does: "fails where another of its kind runs",
        caught_by: &["concurrency/many-at-once"],
        answer: |call| {
            let lock = std::path::Path::new("/run/broken.lock");
            if call.is("ADD") && std::fs::File::create_new(lock).is_err() {
                return Reply::error(11, "another one runs");
            }
            std::thread::sleep(Duration::from_millis(5));
            let reply = call.good();
            // Gone already is what it should be.
            let _ = std::fs::remove_file(lock);
            reply
        },
    },
    Broken {
        name: "moves-address",
        class: Class::Interface,
        does: "removes the addresses of the interface at a second DEL of another one",
        caught_by: &["verbs/two-interfaces"],
        answer: |call| {
            if call.is("DEL") {
                to_interface(&call.with_env("CNI_IFNAME", "eth0"), kernel::remove_addresses);
            }
            call.good()
        },
    },
];

fn del_after_failed_add(call: &Call) -> Reply {
    let mark = call.file_in("/run/broken");
    match call.verb.as_str() {
        "ADD" => call.good().or(|| kernel::write(&mark, b"failed")),
        // Once: the next DEL succeeds.
        "DEL" if std::fs::remove_file(&mark).is_ok() => Reply::error(3, "there was no ADD"),
        _ => call.good(),
    }
}
