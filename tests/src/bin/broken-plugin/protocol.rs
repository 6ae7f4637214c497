//! Rules about environment, input, versions, stdout and errors.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::{Broken, Class};

pub(crate) const BROKEN: &[Broken] = &[
    Broken {
        name: "stdout-noise",
        class: Class::Interface,
        does: "writes a line for people to stdout before its result",
        caught_by: &["protocol/stdout-is-the-result"],
        answer: |call| {
            let mut reply = call.good();
            if call.is("ADD") {
                reply.stdout.splice(0..0, *b"adding an interface\n");
            }
            reply
        },
    },
    Broken {
        name: "two-results",
        class: Class::Interface,
        does: "writes its result twice",
        caught_by: &["protocol/stdout-is-the-result"],
        answer: |call| {
            let mut reply = call.good();
            if call.is("ADD") {
                reply.stdout.extend_from_within(..);
            }
            reply
        },
    },
    Broken {
        name: "exit-0-on-error",
        class: Class::Interface,
        does: "exits with 0 though it failed",
        caught_by: &["protocol/failure-exit-code"],
        answer: |call| Reply { code: 0, ..call.good() },
    },
    Broken {
        name: "silent-failure",
        class: Class::Interface,
        does: "fails without an error object",
        caught_by: &["protocol/error-object"],
        answer: |call| {
            let reply = call.good();
            if reply.is_success() { reply } else { Reply { stdout: Vec::new(), ..reply } }
        },
    },
    Broken {
        name: "error-without-version",
        class: Class::Interface,
        does: "leaves cniVersion out of its error objects",
        caught_by: &["protocol/error-version"],
        answer: |call| call.good().with_error(|error| without(error, "cniVersion")),
    },
    Broken {
        name: "error-without-code",
        class: Class::Interface,
        does: "leaves code out of its error objects",
        caught_by: &["protocol/error-object"],
        answer: |call| call.good().with_error(|error| without(error, "code")),
    },
    Broken {
        name: "error-without-msg",
        class: Class::Interface,
        does: "leaves msg out of its error objects",
        caught_by: &["protocol/error-object"],
        answer: |call| call.good().with_error(|error| without(error, "msg")),
    },
    Broken {
        name: "error-code-in-words",
        class: Class::Interface,
        does: "has a text as the code of its error objects",
        caught_by: &["protocol/error-object"],
        answer: |call| call.good().with_error(|error| error["code"] = "EINVAL".into()),
    },
    Broken {
        name: "other-version",
        class: Class::Interface,
        does: "has always 1.0.0 as the version of its result",
        caught_by: &["protocol/result-version"],
        answer: |call| {
            call.good().with_result(|result| {
                if call.is("ADD") {
                    result["cniVersion"] = "1.0.0".into();
                }
            })
        },
    },
    Broken {
        name: "newest-form",
        class: Class::Interface,
        does: "answers old versions in the form of the newest",
        caught_by: &["protocol/result-version"],
        answer: |call| {
            let newest = call.with_config(|config| config["cniVersion"] = "1.1.0".into());
            let call = if call.is("ADD") { &newest } else { call };
            call.good().with_result(|result| result["cniVersion"] = call.version().into())
        },
    },
    Broken {
        name: "version-in-words",
        class: Class::Interface,
        does: "answers VERSION with a sentence",
        caught_by: &["protocol/version-of-input", "protocol/version-reply"],
        answer: |call| match call.verb.as_str() {
            "VERSION" => Reply { code: 0, stdout: b"broken-plugin 1.0".to_vec() },
            _ => call.good(),
        },
    },
    Broken {
        name: "version-not-asked-for",
        class: Class::Interface,
        does: "answers VERSION with a version of its own",
        caught_by: &["protocol/version-of-input"],
        answer: |call| {
            call.good().with_result(|result| {
                if call.is("VERSION") {
                    result["cniVersion"] = "0.4.0".into();
                }
            })
        },
    },
    Broken {
        name: "version-wants-all",
        class: Class::Interface,
        does: "refuses VERSION without the variables of ADD",
        caught_by: &["protocol/version-of-input", "protocol/version-reply"],
        answer: |call| match (call.verb.as_str(), call.var("CNI_CONTAINERID")) {
            ("VERSION", "") => Reply::error(4, "CNI_CONTAINERID is not set"),
            _ => call.good(),
        },
    },
    Broken {
        name: "any-version",
        class: Class::Interface,
        does: "accepts versions of the specification that it does not know",
        caught_by: &["protocol/unknown-version"],
        answer: |call| {
            let version = call.version().to_owned();
            if !version.starts_with('9') {
                return call.good();
            }
            let newest = call.with_config(|config| config["cniVersion"] = "1.1.0".into());
            newest.good().with_result(|result| result["cniVersion"] = version.into())
        },
    },
    Broken {
        name: "any-command",
        class: Class::Interface,
        does: "succeeds at commands that it does not know",
        caught_by: &["protocol/unknown-command"],
        answer: |call| match call.verb.as_str() {
            "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION" => call.good(),
            _ => Reply::nothing(),
        },
    },
    Broken {
        name: "no-container-id",
        class: Class::Interface,
        does: "does without CNI_CONTAINERID",
        caught_by: &["protocol/container-id"],
        answer: |call| match call.var("CNI_CONTAINERID") {
            "" if is_attachment(call) => call.with_env("CNI_CONTAINERID", "nobody").good(),
            _ => call.good(),
        },
    },
    Broken {
        name: "any-container-id",
        class: Class::Interface,
        does: "accepts a CNI_CONTAINERID that is none",
        caught_by: &["protocol/container-id"],
        answer: |call| match call.var("CNI_CONTAINERID") {
            id if is_attachment(call) && id.contains('/') => call.with_env("CNI_CONTAINERID", "nobody").good(),
            _ => call.good(),
        },
    },
    Broken {
        name: "no-ifname",
        class: Class::Interface,
        does: "does without CNI_IFNAME",
        caught_by: &["protocol/ifname"],
        answer: |call| match call.var("CNI_IFNAME") {
            "" if is_attachment(call) => call.with_env("CNI_IFNAME", "eth0").good(),
            _ => call.good(),
        },
    },
    Broken {
        name: "any-ifname",
        class: Class::Interface,
        does: "makes eth0 where CNI_IFNAME is a name that no interface can have",
        caught_by: &["protocol/ifname"],
        answer: |call| match call.var("CNI_IFNAME") {
            name if name.len() > 15 || name.contains('/') => call.with_env("CNI_IFNAME", "eth0").good(),
            _ => call.good(),
        },
    },
    Broken {
        name: "no-netns",
        class: Class::Interface,
        does: "succeeds at ADD without CNI_NETNS",
        caught_by: &["protocol/netns"],
        answer: |call| match call.var("CNI_NETNS") {
            "" if call.is("ADD") => Reply::success(&json!({"cniVersion": call.version()})),
            _ => call.good(),
        },
    },
    Broken {
        name: "nameless-variable",
        class: Class::Interface,
        does: "does not say which variable is wrong",
        caught_by: &["protocol/error-names-variable"],
        answer: |call| {
            call.good().with_error(|error| {
                if error["code"] == 4 {
                    error["msg"] = "the environment is wrong".into();
                    without(error, "details");
                }
            })
        },
    },
    Broken {
        name: "any-input",
        class: Class::Interface,
        does: "succeeds at DEL where stdin is no JSON",
        caught_by: &["protocol/malformed-input"],
        answer: |call| if call.config.is_null() && call.is("DEL") { Reply::nothing() } else { call.good() },
    },
    Broken {
        name: "crash",
        class: Class::Interface,
        does: "ends by a signal where stdin is no JSON",
        caught_by: &["protocol/malformed-input"],
        answer: |call| if call.config.is_null() && !call.is("VERSION") { std::process::abort() } else { call.good() },
    },
    Broken {
        name: "no-network-name",
        class: Class::Interface,
        does: "does without the name of the network",
        caught_by: &["protocol/network-name"],
        answer: |call| {
            if call.config["name"].is_null() && !call.is("VERSION") {
                call.with_config(|config| config["name"] = "default".into()).good()
            } else {
                call.good()
            }
        },
    },
    Broken {
        name: "no-reserved-keys",
        class: Class::Interface,
        does: "refuses keys that runtimes add",
        caught_by: &["protocol/reserved-keys"],
        answer: |call| match call.config.as_object().and_then(|keys| keys.keys().find(|key| is_reserved(key))) {
            Some(key) if call.is("ADD") => Reply::error(2, &format!("unknown key {key}")),
            _ => call.good(),
        },
    },
    Broken {
        name: "hang",
        class: Class::Interface,
        does: "never ends when it is asked for its status",
        caught_by: &["verbs/status"],
        answer: |call| {
            while call.is("STATUS") {
                std::thread::park();
            }
            call.good()
        },
    },
];

/// A sound plugin that logs more than a pipe holds: it may.
pub(crate) fn talkative(call: &Call) -> Reply {
    let line = [b'.'; 64 * 1024];
    for _ in 0..4 {
        std::io::stderr().write_all(&line).expect("stderr");
    }
    call.good()
}

fn is_attachment(call: &Call) -> bool {
    call.is("ADD") || call.is("DEL") || call.is("CHECK")
}

fn is_reserved(key: &str) -> bool {
    key == "args" || key == "runtimeConfig" || key.starts_with("cni.dev/")
}

fn without(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
}
