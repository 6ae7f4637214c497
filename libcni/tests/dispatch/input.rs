//! What is refused before the plugin is called: environment, configuration, versions.

use std::io;

use libcni::plugin::{Env, dispatch};
use libcni::{ErrorCode, ErrorReply, SpecVersion};
use serde_json::{Value, json};

use crate::fake::{Broken, Fake, Outcome, config, env, env_with, run};

#[test]
fn without_a_command_it_says_what_it_is_on_stderr() {
    for env in [&[][..], &[("CNI_COMMAND", "")]] {
        let outcome = run(&Fake::new(), env, "not read");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, ""));
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        // The version of the Go plugins that ours stand for, since runtimes compare it; our own is its build metadata.
        assert_eq!(lines[0], format!("CNI fake plugin v1.9.1+ferrule.{}", env!("CARGO_PKG_VERSION")));
        assert_eq!(lines[1], "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0");
    }
}

#[test]
fn missing_variables_are_listed_in_the_reference_s_order() {
    let plugin = Fake::new();
    let missing = |command: &str| run(&plugin, &[("CNI_COMMAND", command)], config("1.1.0")).error();
    let message = |list: &str| (4, format!("required env variables [{list}] missing"), String::new());
    assert_eq!(missing("ADD"), message("CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"));
    assert_eq!(missing("CHECK"), message("CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"));
    assert_eq!(missing("DEL"), message("CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"));
    assert_eq!(missing("GC"), message("CNI_PATH"));
    assert_eq!(run(&plugin, &env_with("ADD", "CNI_NETNS", ""), config("1.1.0")).error(), message("CNI_NETNS"));
    assert_eq!(plugin.calls(), [""; 0]);

    run(&plugin, &[("CNI_COMMAND", "STATUS")], config("1.1.0")).assert_silent_success();
    assert_eq!(plugin.calls(), ["STATUS"]);
}

#[test]
fn a_value_that_is_present_and_invalid_is_reported_before_later_ones_are_missed() {
    let plugin = Fake::new();
    let refused = |id, ifname| {
        let env = [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", id), ("CNI_IFNAME", ifname)];
        run(&plugin, &env, config("1.1.0")).error()
    };
    let text = |msg: &str, details: &str| (4, msg.to_owned(), details.to_owned());
    assert_eq!(refused("../x", "a/b"), text("invalid characters in containerID", "../x"));
    assert_eq!(refused("blue", "a/b"), text("interface name contains / or : or whitespace characters", "a/b"));
    assert_eq!(
        refused("blue", "sixteen-letters."),
        text("interface name is too long", "interface name should be less than 16 characters")
    );
    assert_eq!(refused("blue", ".."), text("interface name is . or ..", ".."));
    assert_eq!(refused("blue", "eth0"), text("required env variables [CNI_NETNS,CNI_PATH] missing", ""));
    assert_eq!(plugin.calls(), [""; 0]);

    // What a verb does not require is not looked at.
    run(&plugin, &env_with("STATUS", "CNI_CONTAINERID", "../x"), config("1.1.0")).assert_silent_success();
}

#[test]
fn an_error_is_one_indented_object() {
    let outcome = run(&Fake::new(), &[("CNI_COMMAND", "GC")], "");
    assert_eq!(
        outcome.stdout,
        "{\n    \"cniVersion\": \"1.1.0\",\n    \"code\": 4,\n    \"msg\": \"required env variables [CNI_PATH] missing\"\n}"
    );
    assert_eq!(outcome.code, 1);
}

#[test]
fn version_is_one_line_and_does_without_input() {
    let mut stdout = Vec::new();
    let env = Env::from_iter([("CNI_COMMAND", "VERSION")]);
    assert_eq!(dispatch(&Fake::new(), &[], &env, &mut Broken, &mut stdout, &mut io::sink()), 0);
    assert_eq!(
        String::from_utf8(stdout).unwrap(),
        "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"
    );
    let code = dispatch(&Fake::new(), &[], &env, &mut io::empty(), &mut Broken, &mut io::sink());
    assert_eq!(code, 1, "a reply that nobody gets is no success");
}

#[test]
fn version_answers_with_the_version_of_its_input() {
    let answered = |input: &str| {
        let outcome = run(&Fake::new(), &[("CNI_COMMAND", "VERSION")], input);
        let reply: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        reply["cniVersion"].as_str().unwrap().to_owned()
    };
    assert_eq!(answered(r#"{"cniVersion": "0.4.0"}"#), "0.4.0");
    assert_eq!(answered(r#"{"cniVersion": "9.0.0"} and more"#), "9.0.0");
    for nothing in ["", "{}", "[", r#"{"cniVersion": 1}"#] {
        assert_eq!(answered(nothing), "1.1.0", "{nothing}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused() {
    let plugin = Fake::new();
    let refused = |stdin: &str| run(&plugin, &env("ADD"), stdin).error();
    let (code, msg, _) = refused("{");
    assert_eq!(code, 6);
    assert!(msg.starts_with("error unmarshall network config: line 1, column "), "{msg}");
    assert_eq!(refused("[]").0, 6);
    assert_eq!(refused("{}"), (7, "missing network name".into(), String::new()));
    assert_eq!(refused(r#"{"name": ""}"#), (7, "missing network name".into(), String::new()));
    assert_eq!(refused(r#"{"name": "../x"}"#), (7, "invalid characters found in network name".into(), "../x".into()));
    let (code, msg, _) = refused(r#"{"name": "dbnet", "cniVersion": 1}"#);
    assert_eq!(code, 6);
    assert!(msg.starts_with("decoding version from network config: "), "{msg}");
    let (code, msg, details) =
        refused(r#"{"name": "dbnet", "cniVersion": "1.1.0", "prevResult": {"cniVersion": "0.4.0"}}"#);
    assert_eq!((code, msg.as_str()), (6, "could not parse prevResult"));
    assert!(details.starts_with("result type supports [1.0.0 1.1.0]"), "{details}");
    assert_eq!(plugin.calls(), [""; 0]);

    let mut stdout = Vec::new();
    let env = env("ADD").into_iter().collect::<Env>();
    let code = dispatch(&plugin, &[], &env, &mut Broken, &mut stdout, &mut io::sink());
    let outcome = Outcome { code, stdout: String::from_utf8(stdout).unwrap(), stderr: String::new() };
    assert_eq!(outcome.error(), (5, "error reading from stdin: wire cut".into(), String::new()));
}

#[test]
fn an_unknown_command_is_named_after_the_network_is_known() {
    let plugin = Fake::new();
    let refused = |stdin: &str| run(&plugin, &[("CNI_COMMAND", "add")], stdin).error();
    assert_eq!(refused("{").0, 6);
    assert_eq!(refused("{}").1, "missing network name");
    assert_eq!(refused(&config("1.1.0")), (4, "unknown CNI_COMMAND: add".into(), String::new()));
    assert_eq!(refused(&config("7.0.0")).1, "unknown CNI_COMMAND: add", "before the version is looked at");
}

#[test]
fn each_verb_exists_from_its_version_on() {
    for version in SpecVersion::ALL {
        for (verb, since) in [
            ("ADD", SpecVersion::V0_1_0),
            ("DEL", SpecVersion::V0_1_0),
            ("CHECK", SpecVersion::V0_4_0),
            ("GC", SpecVersion::V1_1_0),
            ("STATUS", SpecVersion::V1_1_0),
        ] {
            let mut config: Value = serde_json::from_str(&config(version.as_str())).unwrap();
            config["cni.dev/valid-attachments"] = json!([]);
            let plugin = Fake::new();
            let outcome = run(&plugin, &env(verb), config.to_string());
            if version >= since {
                assert_eq!((outcome.code, plugin.calls().len()), (0, 1), "{verb} {version}: {}", outcome.stdout);
            } else {
                let msg = format!("config version does not allow {verb}");
                assert_eq!(outcome.error(), (1, msg, String::new()), "{version}");
                assert_eq!(plugin.calls(), [""; 0]);
            }
        }
    }
}

#[test]
fn versions_the_plugin_does_not_have_are_refused_with_its_list() {
    let old = || Fake { versions: &[SpecVersion::V0_3_1, SpecVersion::V0_4_0], ..Fake::new() };
    for version in ["0.3.0", "1.1.0", "1.2.0"] {
        for verb in ["ADD", "DEL"] {
            let plugin = old();
            let details = format!("config is \"{version}\", plugin supports [\"0.3.1\" \"0.4.0\"]");
            let expected = (1, "incompatible CNI versions".to_owned(), details);
            assert_eq!(run(&plugin, &env(verb), config(version)).error(), expected);
            assert_eq!(plugin.calls(), [""; 0]);
        }
    }
    let missing = json!({"name": "dbnet"}).to_string();
    assert!(run(&old(), &env("ADD"), &missing).error().2.starts_with("config is \"0.1.0\""), "absent is 0.1.0");
    for verb in ["CHECK", "GC", "STATUS"] {
        let (code, msg, _) = run(&old(), &env(verb), config("1.1.0")).error();
        assert_eq!((code, msg), (1, format!("plugin version does not allow {verb}")));
    }
}

#[test]
fn an_error_is_in_the_configuration_s_version_where_that_is_known() {
    let version = |stdin: &str| {
        let plugin = Fake { fault: Some(ErrorReply::new(ErrorCode(100), "no", "")), ..Fake::new() };
        let outcome = run(&plugin, &env("ADD"), stdin);
        serde_json::from_str::<Value>(&outcome.stdout).unwrap()["cniVersion"].clone()
    };
    assert_eq!(version(&config("0.4.0")), "0.4.0");
    assert_eq!(version(r#"{"cniVersion": "0.4.0"}"#), "0.4.0");
    assert_eq!(version("{}"), "0.1.0");
    assert_eq!(version("{"), "1.1.0");
    assert_eq!(version(&config("7.0.0")), "1.1.0");
}
