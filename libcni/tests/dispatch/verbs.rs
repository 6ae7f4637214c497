//! What the verbs do, and what comes back.

use std::io;

use libcni::plugin::{Attachment, Call, Env, Plugin, dispatch};
use libcni::types::{AddResult, AttachmentId};
use libcni::{CniError, ErrorCode, ErrorReply};
use serde_json::{Value, json};

use crate::fake::{Broken, Fake, config, env, env_with, run};

#[test]
fn the_plugin_s_error_is_passed_on_unchanged() {
    let reply = ErrorReply::new(ErrorCode::TRY_AGAIN_LATER, "the daemon starts", "no answer");
    for verb in ["ADD", "DEL", "CHECK", "STATUS"] {
        let plugin = Fake { fault: Some(reply.clone()), ..Fake::new() };
        let error = run(&plugin, &env(verb), config("1.1.0")).error();
        assert_eq!(error, (11, "the daemon starts".into(), "no answer".into()));
        assert_eq!(plugin.calls().len(), 1, "a failed ADD has undone itself: {:?}", plugin.calls());
    }
    assert_eq!(reply.code(), ErrorCode(11));
}

#[test]
fn the_result_is_printed_in_the_configuration_s_version() {
    let plugin = Fake::new();
    let outcome = run(&plugin, &env("ADD"), config("1.0.0"));
    assert_eq!(
        outcome.stdout,
        "{\n    \"cniVersion\": \"1.0.0\",\n    \"ips\": [\n        {\n            \"address\": \"10.1.0.5/16\"\n        }\n    ]\n}"
    );
    let outcome = run(&plugin, &env("ADD"), config("0.2.0"));
    let result: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(result, json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.5/16"}, "dns": {}}));
    for verb in ["DEL", "CHECK"] {
        run(&plugin, &env(verb), config("1.0.0")).assert_silent_success();
    }
    assert_eq!(plugin.calls(), ["ADD blue eth0", "ADD blue eth0", "DEL blue eth0", "CHECK blue eth0"]);
}

#[test]
fn an_add_whose_result_cannot_be_said_is_undone() {
    let plugin = Fake { result: AddResult::default(), ..Fake::new() };
    let error = run(&plugin, &env("ADD"), config("0.2.0")).error();
    assert_eq!(error.1, "cannot convert: no valid IP addresses");
    assert_eq!(plugin.calls(), ["ADD blue eth0", "DEL blue eth0"]);
}

#[test]
fn an_add_whose_result_nobody_reads_is_undone() {
    let plugin = Fake::new();
    let env = env("ADD").into_iter().collect::<Env>();
    let stdin = config("1.1.0");
    let code = dispatch(&plugin, &[], &env, &mut stdin.as_bytes(), &mut Broken, &mut io::sink());
    assert_eq!(code, 1);
    assert_eq!(plugin.calls(), ["ADD blue eth0", "DEL blue eth0"]);
}

#[test]
fn del_needs_no_namespace() {
    let plugin = Fake::new();
    run(&plugin, &env_with("DEL", "CNI_NETNS", ""), config("1.1.0")).assert_silent_success();
    assert_eq!(plugin.calls(), ["DEL blue eth0"]);
}

#[test]
fn the_host_s_namespace_is_refused_before_anything_is_done() {
    let own = "/proc/self/ns/net";
    for verb in ["ADD", "DEL"] {
        let plugin = Fake::new();
        let error = run(&plugin, &env_with(verb, "CNI_NETNS", own), config("1.1.0")).error();
        let msg = "plugin's netns and netns from CNI_NETNS should not be the same";
        assert_eq!(error, (8, msg.into(), String::new()));
        assert_eq!(plugin.calls(), [""; 0]);
    }
    for (value, allowed) in [("1", true), ("TRUE", true), ("true", true), ("0", false), ("yes", false), ("", false)] {
        let plugin = Fake::new();
        let mut env = env_with("ADD", "CNI_NETNS", own);
        env.push(("CNI_NETNS_OVERRIDE", value));
        assert_eq!(run(&plugin, &env, config("1.1.0")).code == 0, allowed, "{value}");
        assert_eq!(plugin.calls().len(), usize::from(allowed), "{value}");
    }
    let plugin = Fake::new();
    run(&plugin, &env_with("CHECK", "CNI_NETNS", own), config("1.1.0")).assert_silent_success();
    assert_eq!(plugin.calls(), ["CHECK blue eth0"], "CHECK changes nothing and is not guarded");
}

#[test]
fn gc_does_only_what_the_list_says() {
    let gc = |extra: Value| {
        let mut config: Value = serde_json::from_str(&config("1.1.0")).unwrap();
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let plugin = Fake::new();
        let outcome = run(&plugin, &env("GC"), config.to_string());
        (outcome, plugin.calls())
    };
    let valid = json!([{"containerID": "blue", "ifname": "eth0"}, {"containerID": "green", "ifname": "eth1"}]);
    let both = "GC [blue eth0, green eth1]";
    for (extra, calls) in [
        (json!({}), vec![]),
        (json!({"cni.dev/valid-attachments": null}), vec!["GC []"]),
        (json!({"cni.dev/valid-attachments": []}), vec!["GC []"]),
        (json!({"cni.dev/valid-attachments": valid}), vec![both]),
        (json!({"cni.dev/attachments": valid}), vec![both]),
        (json!({"cni.dev/attachments": [], "cni.dev/valid-attachments": valid}), vec![both]),
    ] {
        let (outcome, made) = gc(extra.clone());
        outcome.assert_silent_success();
        assert_eq!(made, calls, "{extra}");
    }
    for (list, path) in [
        (json!("blue"), "cni.dev/valid-attachments: "),
        (json!([{"ifname": "eth0"}]), "cni.dev/valid-attachments[0]: missing key \"containerID\""),
        (json!([{"containerID": "", "ifname": "eth0"}]), "cni.dev/valid-attachments[0].containerID: "),
        (json!([{"containerID": "blue", "ifname": "eth0"}, 7]), "cni.dev/valid-attachments[1]: "),
    ] {
        let (outcome, made) = gc(json!({"cni.dev/valid-attachments": list}));
        let (code, _, details) = outcome.error();
        assert_eq!(code, 7);
        assert!(details.starts_with(path), "{details}");
        assert!(made.is_empty(), "half a list is no list");
    }
}

#[test]
fn stdin_reaches_the_plugin_as_it_came() {
    struct Raw;
    impl Plugin for Raw {
        type Error = ErrorReply;
        fn name(&self) -> &'static str {
            "raw"
        }
        fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, ErrorReply> {
            assert_eq!(call.stdin, INPUT.as_bytes());
            assert_eq!(attachment.sandbox().to_str(), Some("/nowhere/blue"));
            assert_eq!(attachment.args().unwrap().value("MAC"), Some("0a:58:0a:01:02:03"));
            Ok(AddResult::default())
        }
        fn del(&self, _call: &Call<'_>, _attachment: &Attachment) -> Result<(), ErrorReply> {
            unreachable!("nothing is to be undone")
        }
        fn check(&self, _call: &Call<'_>, _attachment: &Attachment) -> Result<(), ErrorReply> {
            unreachable!("not asked for")
        }
        fn gc(&self, _call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), ErrorReply> {
            unreachable!("not asked for")
        }
        fn status(&self, _call: &Call<'_>) -> Result<(), ErrorReply> {
            unreachable!("not asked for")
        }
    }
    const INPUT: &str = "  {\"name\": \"dbnet\",\n\t\"CNIVersion\": \"1.1.0\", \"big\": 12345678901234567890123, \"é\": \"\\u00e9\"}\n\n";
    let env = env_with("ADD", "CNI_ARGS", "IgnoreUnknown=1;MAC=0a:58:0a:01:02:03").into_iter().collect::<Env>();
    let mut stdout = Vec::new();
    assert_eq!(dispatch(&Raw, &[], &env, &mut INPUT.as_bytes(), &mut stdout, &mut io::sink()), 0);
    assert_eq!(stdout, b"{\n    \"cniVersion\": \"1.1.0\"\n}");
}
