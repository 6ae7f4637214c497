//! A plugin that leaves a part of its work to another: in this process where that is the same file, else by running
//! it. Both ways look the same.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use libcni::plugin::{AnyPlugin, Attachment, Call, Delegate, DelegateError, Env, Plugin, dispatch};
use libcni::types::{AddResult, AttachmentId};
use libcni::{ErrorCode, ErrorReply};
use serde_json::json;

use crate::fake::{Fake, Outcome, config, env_with, run_any};

/// Leaves everything to the plugin that `ipam.type` names.
struct Front;

fn ipam<'c>(call: &'c Call<'c>) -> Result<Delegate<'c>, DelegateError> {
    call.ipam().map(|delegate| delegate.unwrap())
}

impl Plugin for Front {
    type Error = DelegateError;
    fn name(&self) -> &'static str {
        "front"
    }
    fn add(&self, call: &Call<'_>, _attachment: &Attachment) -> Result<AddResult, DelegateError> {
        ipam(call)?.add()
    }
    fn del(&self, call: &Call<'_>, _attachment: &Attachment) -> Result<(), DelegateError> {
        ipam(call)?.del()
    }
    fn check(&self, call: &Call<'_>, _attachment: &Attachment) -> Result<(), DelegateError> {
        ipam(call)?.check()
    }
    fn gc(&self, call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), DelegateError> {
        ipam(call)?.gc()
    }
    fn status(&self, call: &Call<'_>) -> Result<(), DelegateError> {
        ipam(call)?.status()
    }
}

fn delegating(version: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(&config(version)).unwrap();
    let object = value.as_object_mut().unwrap();
    object.insert("ipam".into(), json!({"type": "fake"}));
    object.insert("cni.dev/valid-attachments".into(), json!([]));
    value.to_string()
}

fn call(plugins: &[&dyn AnyPlugin], verb: &str, cni_path: &Path, stdin: &str) -> Outcome {
    let mut env = env_with(verb, "CNI_PATH", cni_path.to_str().unwrap());
    env.push(("PATH", "/usr/bin:/bin"));
    run_any(&Front, plugins, &env, stdin)
}

/// A directory in which `fake` is this very test.
fn this_file_as_fake() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    symlink(std::env::current_exe().unwrap(), dir.path().join("fake")).unwrap();
    dir
}

/// A directory in which `fake` is a script that notes its command and stdin, and ends with `answer`.
fn script_as_fake(answer: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fake");
    let notes = dir.path().display();
    let script =
        format!("#!/bin/sh\necho \"$CNI_COMMAND $CNI_CONTAINERID\" >> {notes}/calls\ncat > {notes}/stdin\n{answer}\n");
    fs::File::create(&path).and_then(|mut file| std::io::Write::write_all(&mut file, script.as_bytes())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn notes(dir: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap()
}

#[test]
fn a_delegate_in_the_same_file_is_called_in_this_process() {
    let dir = this_file_as_fake();
    for version in ["0.2.0", "0.4.0", "1.1.0"] {
        let fake = Fake::new();
        let direct = {
            let env = env_with("ADD", "CNI_PATH", "/opt/cni/bin").into_iter().collect::<Env>();
            let mut stdout = Vec::new();
            dispatch(&fake, &[], &env, &mut delegating(version).as_bytes(), &mut stdout, &mut std::io::sink());
            String::from_utf8(stdout).unwrap()
        };
        let outcome = call(&[&Front, &fake], "ADD", dir.path(), &delegating(version));
        assert_eq!((outcome.code, outcome.stdout), (0, direct), "{version}");
        assert_eq!(fake.calls(), ["ADD blue eth0", "ADD blue eth0"]);
    }
    let fake = Fake::new();
    for verb in ["DEL", "CHECK", "GC", "STATUS"] {
        call(&[&Front, &fake], verb, dir.path(), &delegating("1.1.0")).assert_silent_success();
    }
    assert_eq!(fake.calls(), ["DEL blue eth0", "CHECK blue eth0", "GC []", "STATUS"]);
}

#[test]
fn a_delegate_is_known_by_its_other_names() {
    let dir = this_file_as_fake();
    symlink(std::env::current_exe().unwrap(), dir.path().join("phony")).unwrap();
    let fake = Fake::new();
    let stdin = delegating("1.1.0").replace("\"fake\"", "\"phony\"");
    call(&[&Front, &fake], "STATUS", dir.path(), &stdin).assert_silent_success();
    assert_eq!(fake.calls(), ["STATUS"]);
}

#[test]
fn another_file_of_that_name_is_run_even_if_the_plugin_is_known() {
    let dir =
        script_as_fake(r#"[ $CNI_COMMAND != ADD ] || echo '{"ips": [{"version": "4", "address": "10.1.0.9/16"}]}'"#);
    let fake = Fake::new();
    let stdin = delegating("0.4.0");
    let outcome = call(&[&Front, &fake], "ADD", dir.path(), &stdin);
    assert_eq!(outcome.code, 0, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("10.1.0.9/16"), "read in the configuration's version: {}", outcome.stdout);
    assert_eq!(notes(&dir, "stdin"), stdin, "byte by byte");
    for verb in ["DEL", "CHECK"] {
        call(&[&Front, &fake], verb, dir.path(), &stdin).assert_silent_success();
    }
    for verb in ["GC", "STATUS"] {
        call(&[&Front, &fake], verb, dir.path(), &delegating("1.1.0")).assert_silent_success();
    }
    assert_eq!(notes(&dir, "calls"), "ADD blue\nDEL blue\nCHECK blue\nGC blue\nSTATUS blue\n");
    assert!(fake.calls().is_empty());
}

#[test]
fn a_failed_add_is_followed_by_del_and_its_error_passed_on_unchanged() {
    let expected = (11, "no lease yet".to_owned(), "try later".to_owned());

    let dir = this_file_as_fake();
    let reply = ErrorReply::new(ErrorCode::TRY_AGAIN_LATER, "no lease yet", "try later");
    let fake = Fake { fault: Some(reply), ..Fake::new() };
    let outcome = call(&[&Front, &fake], "ADD", dir.path(), &delegating("1.1.0"));
    assert_eq!(outcome.error(), expected);
    assert_eq!(fake.calls(), ["ADD blue eth0", "DEL blue eth0"]);
    assert!(outcome.stderr.contains("DEL of fake failed: no lease yet; try later"), "{}", outcome.stderr);

    let answer = r#"[ $CNI_COMMAND = DEL ] && exit 0
        echo '{"code": 11, "msg": "no lease yet", "details": "try later"}'; exit 1"#;
    let dir = script_as_fake(answer);
    let outcome = call(&[], "ADD", dir.path(), &delegating("1.1.0"));
    assert_eq!(outcome.error(), expected);
    assert_eq!(notes(&dir, "calls"), "ADD blue\nDEL blue\n");
    assert_eq!(outcome.stderr, "");
}

#[test]
fn a_result_that_cannot_be_understood_is_undone() {
    for (answer, details) in [
        ("echo '{'", "failed to unmarshal raw result: line 2, column 0: "),
        ("echo '{\"ips\": [{}]}'", "failed to unmarshal raw result: ips[0]: missing key \"address\""),
        ("echo '{\"cniVersion\": \"9.0.0\"}'", "unsupported CNI result version \"9.0.0\""),
    ] {
        let dir = script_as_fake(answer);
        let error = call(&[], "ADD", dir.path(), &delegating("1.1.0")).error();
        assert_eq!((error.0, error.1.as_str()), (6, "delegate plugin \"fake\" gave an invalid result"));
        assert!(error.2.starts_with(details), "{}", error.2);
        assert_eq!(notes(&dir, "calls"), "ADD blue\nDEL blue\n");
    }
}

#[test]
fn a_delegate_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = call(&[], "ADD", dir.path(), &delegating("1.1.0")).error();
    let msg = format!("failed to find plugin \"fake\" in path [{}]", dir.path().display());
    assert_eq!(error, (7, msg, String::new()));
}
