//! Rules about how an IPAM plugin is called. The good plugin finds this program in `CNI_PATH` where the IPAM plugin
//! should be, and this program calls the real one, not quite as it was called itself.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::call::{Call, Reply};
use crate::{Broken, Class};

/// The name by which the good plugin calls the IPAM plugin.
pub(crate) const SHIM: &str = "conformance-ipam";

/// What the shim is to do wrong, the `CNI_PATH` in which the real IPAM plugin is, and what its caller was asked.
const FAULT: &str = "BROKEN_FAULT";
const REAL_PATH: &str = "BROKEN_CNI_PATH";
const CALLER: &str = "BROKEN_CALLER";

pub(crate) const BROKEN: &[Broken] = &[
    Broken {
        name: "delegate-not-on-del",
        class: Class::Interface,
        does: "does not call IPAM on DEL",
        caught_by: &["delegation/add-check-del"],
        answer: |call| through_shim(call, "not-on-DEL"),
    },
    Broken {
        name: "delegate-not-on-check",
        class: Class::Interface,
        does: "does not call IPAM on CHECK",
        caught_by: &["delegation/add-check-del"],
        answer: |call| through_shim(call, "not-on-CHECK"),
    },
    Broken {
        name: "delegate-not-on-gc",
        class: Class::Interface,
        does: "does not call IPAM on GC",
        caught_by: &["delegation/gc"],
        answer: |call| through_shim(call, "not-on-GC"),
    },
    Broken {
        name: "delegate-not-on-status",
        class: Class::Interface,
        does: "is ready though IPAM is not",
        caught_by: &["delegation/status"],
        answer: |call| through_shim(call, "not-on-STATUS"),
    },
    Broken {
        name: "delegate-keeps-after-failure",
        class: Class::Interface,
        does: "does not call DEL of IPAM when ADD fails",
        caught_by: &["delegation/failed-late-add-releases"],
        answer: |call| through_shim(call, "keeps-after-failure"),
    },
    Broken {
        name: "delegate-del-error-hidden",
        class: Class::Interface,
        does: "succeeds at DEL though IPAM failed",
        caught_by: &["delegation/ipam-fails-del"],
        answer: |call| through_shim(call, "hides-DEL"),
    },
    Broken {
        name: "delegate-check-error-hidden",
        class: Class::Interface,
        does: "succeeds at CHECK though IPAM failed",
        caught_by: &["delegation/ipam-fails-check"],
        answer: |call| through_shim(call, "hides-CHECK"),
    },
    Broken {
        name: "delegate-wrong-command",
        class: Class::Interface,
        does: "calls IPAM with CHECK when it should be DEL",
        caught_by: &["delegation/add-check-del"],
        answer: |call| through_shim(call, "wrong-command"),
    },
    Broken {
        name: "delegate-cut-config",
        class: Class::Interface,
        does: "gives IPAM only its own section of the configuration",
        caught_by: &["delegation/same-input"],
        answer: |call| through_shim(call, "cut-config"),
    },
    Broken {
        name: "delegate-cut-environment",
        class: Class::Interface,
        does: "calls IPAM without CNI_ARGS",
        caught_by: &["delegation/same-input"],
        answer: |call| through_shim(call, "cut-environment"),
    },
];

/// What the good plugin answers, with the shim between it and IPAM.
fn through_shim(call: &Call, fault: &str) -> Reply {
    let dir = Path::new("/run").join(format!("broken-{}", std::process::id()));
    let own = std::env::current_exe().expect("this program");
    std::fs::create_dir(&dir).and_then(|()| symlink(own, dir.join(SHIM))).expect("the shim");
    let path = call.var("CNI_PATH").to_owned();
    let mut call = call.with_env("CNI_PATH", &format!("{}:{path}", dir.display()));
    let told = [(FAULT, fault), (REAL_PATH, &path), (CALLER, &call.verb.clone())];
    call.env.extend(told.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let reply = call.good();
    std::fs::remove_dir_all(&dir).expect("the shim");
    reply
}

/// The shim as this process.
pub(crate) fn shim_main() -> ExitCode {
    let mut call = Call::of_process(PathBuf::new()).expect("stdin");
    let told = |env: &mut BTreeMap<String, String>, name: &str| env.remove(name).unwrap_or_default();
    let (fault, path) = (told(&mut call.env, FAULT), told(&mut call.env, REAL_PATH));
    let caller = told(&mut call.env, CALLER);
    call.good = path.split(':').map(|dir| Path::new(dir).join(SHIM)).find(|file| file.exists()).expect("IPAM");
    call.env.insert("CNI_PATH".to_owned(), path);
    crate::reply(&delegate(&call, &fault, &caller))
}

fn delegate(call: &Call, fault: &str, caller: &str) -> Reply {
    let verb = call.verb.as_str();
    if fault.strip_prefix("not-on-") == Some(verb) {
        return Reply::nothing();
    }
    if fault.strip_prefix("hides-") == Some(verb) {
        call.good();
        return Reply::nothing();
    }
    match (fault, verb) {
        ("keeps-after-failure", "DEL") if caller == "ADD" => Reply::nothing(),
        ("wrong-command", "DEL") => call.with_env("CNI_COMMAND", "CHECK").good(),
        ("cut-config", _) => {
            let kept = |key: &str| call.config[key].clone();
            let cut = json!({"cniVersion": kept("cniVersion"), "name": kept("name"), "ipam": kept("ipam")});
            call.with_config(|config| *config = cut).good()
        }
        ("cut-environment", _) => {
            let mut call = call.clone();
            call.env.remove("CNI_ARGS");
            call.good()
        }
        _ => call.good(),
    }
}
