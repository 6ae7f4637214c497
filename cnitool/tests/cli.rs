//! The command line, driving fake plugins: what they are given, what is printed, which exit code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, in its helpers too")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use libcni::store;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Bed {
    dir: TempDir,
}

struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Bed {
    /// A network `net` of the plugins `first` and `second`.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bed = Self { dir };
        for sub in ["bin", "calls", "answers"] {
            std::fs::create_dir(bed.path(sub)).unwrap();
        }
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("../libcni/tests/runtime/fake-plugin");
        for name in ["first", "second"] {
            std::os::unix::fs::symlink(&fake, bed.path("bin").join(name)).unwrap();
            bed.answer(name, "VERSION", &json!({"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}));
        }
        let plugins = json!([{"type": "first", "capabilities": {"ips": true}}, {"type": "second"}]);
        let network = json!({"cniVersion": "1.1.0", "name": "net", "plugins": plugins});
        bed.write("net.d/10-net.conflist", &network.to_string());
        bed
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn write(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        store::ensure_dir(path.parent().unwrap(), 0o700).unwrap();
        store::write_atomic(&path, content.as_bytes(), 0o600).unwrap();
    }

    fn answer(&self, plugin: &str, verb: &str, stdout: &Value) {
        self.write(&format!("answers/{plugin}.{verb}"), &stdout.to_string());
    }

    fn refuse(&self, plugin: &str, verb: &str, code: u32) {
        self.answer(plugin, verb, &json!({"code": code, "msg": "cannot do it", "details": "the disk is full"}));
        self.write(&format!("answers/{plugin}.{verb}.code"), "1");
    }

    /// `cnitool ARGS` in the bed's directory.
    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_cnitool"))
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("FAKE_DIR", self.dir.path())
            .env("NETCONFPATH", self.path("net.d"))
            .env("CNI_PATH", self.path("bin"))
            .env("CNI_CACHE_DIR", self.path("cache"))
            .envs(env.iter().copied())
            .output()
            .unwrap();
        Outcome {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// As [`Bed::run`], for what has to succeed without a word on stderr.
    fn ok(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let outcome = self.run(args, env);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{args:?}");
        outcome.stdout
    }

    /// The calls since the last time: name, environment, stdin.
    fn calls(&self) -> Vec<(String, String, Value)> {
        let files = store::files(&self.path("calls")).unwrap();
        let stdins = files.iter().filter(|path| path.extension().unwrap() == "stdin");
        let calls = stdins.map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().split_once('.').unwrap().1.replace('.', " ");
            let stdin = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            (name, std::fs::read_to_string(path.with_extension("env")).unwrap(), stdin)
        });
        let calls = calls.collect();
        files.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        calls
    }

    fn called(&self) -> Vec<String> {
        self.calls().into_iter().map(|(name, _, _)| name).collect()
    }
}

#[test]
fn add_prints_the_result_and_gives_plugins_what_the_go_tool_gives() {
    let bed = Bed::new();
    bed.answer("second", "ADD", &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.2/24"}]}));
    let env =
        [("CNI_ARGS", "IgnoreUnknown=1;K=V"), ("CAP_ARGS", r#"{"ips": ["10.0.0.2/24"]}"#), ("CNI_IFNAME", "net1")];
    let stdout = bed.ok(&["add", "net", "/var/run/../run/netns//testing", "ignored"], &env);
    assert_eq!(
        stdout,
        "{\n    \"cniVersion\": \"1.1.0\",\n    \"ips\": [\n        {\n            \"address\": \"10.0.0.2/24\"\n        \
         }\n    ]\n}"
    );
    let (name, environment, stdin) = bed.calls().remove(0);
    assert_eq!(name, "ADD first");
    for line in [
        "CNI_CONTAINERID=cnitool-77383ca0a0715733ca6f",
        "CNI_NETNS=/var/run/netns/testing",
        "CNI_IFNAME=net1",
        "CNI_ARGS=IgnoreUnknown=1;K=V",
    ] {
        assert!(environment.lines().any(|l| l == line), "{line} in\n{environment}");
    }
    assert_eq!(stdin["runtimeConfig"], json!({"ips": ["10.0.0.2/24"]}));
    assert!(bed.path("cache/results/net-cnitool-77383ca0a0715733ca6f-net1").exists());
}

#[test]
fn flags_win_over_the_environment_and_may_stand_anywhere() {
    let bed = Bed::new();
    let cache = bed.path("other");
    let cache = cache.to_str().unwrap();
    bed.ok(&["-i", "one", "add", "net", "ns"], &[("CNI_IFNAME", "two")]);
    bed.ok(&["add", "net", "ns", "--ifname=three", "--cache-dir", cache], &[("CNI_IFNAME", "two")]);
    let ifnames: Vec<bool> = bed
        .calls()
        .iter()
        .step_by(2)
        .zip(["one", "three"])
        .map(|(c, n)| c.1.contains(&format!("IFNAME={n}\n")))
        .collect();
    assert_eq!(ifnames, [true, true]);
    assert_eq!(store::files(&bed.path("other/results")).unwrap().len(), 1);
    assert_eq!(store::files(&bed.path("cache/results")).unwrap().len(), 1);
}

#[test]
fn check_and_del_use_the_arguments_of_add_where_none_are_given() {
    let bed = Bed::new();
    bed.ok(&["add", "net", "/ns"], &[("CAP_ARGS", r#"{"ips": ["10.0.0.2/24"]}"#), ("CNI_ARGS", "A=1")]);
    bed.ok(&["check", "net", "/ns"], &[]);
    bed.calls();
    bed.ok(&["del", "net", "/ns"], &[]);
    let (name, environment, stdin) = bed.calls().pop().unwrap();
    assert_eq!(name, "DEL first");
    assert_eq!(stdin["runtimeConfig"], json!({"ips": ["10.0.0.2/24"]}));
    assert!(environment.contains("CNI_ARGS=A=1\n"));
    assert!(store::files(&bed.path("cache/results")).unwrap().is_empty());
    bed.ok(&["del", "net", "/ns"], &[]);
}

#[test]
fn a_plugins_failure_is_told_with_its_parts() {
    let bed = Bed::new();
    bed.refuse("second", "ADD", 11);
    let outcome = bed.run(&["add", "net", "/ns"], &[]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert_eq!(
        outcome.stderr,
        "Error: plugin type=\"second\" failed (add): cannot do it; the disk is full\n  plugin:  second\n  \
         code:    11 (try again later)\n  message: cannot do it\n  cause:   the disk is full\n  \
         hint:    the condition passes by itself: try again\n"
    );
    assert_eq!(bed.called(), ["ADD first", "ADD second", "DEL first"]);
    bed.run(&["add", "net", "/ns", "--keep-on-failure"], &[]);
    assert_eq!(bed.called(), ["ADD first", "ADD second"]);
}

#[test]
fn an_interrupted_add_is_rolled_back() {
    for signal in ["INT", "TERM"] {
        let bed = Bed::new();
        bed.write("answers/first.ADD.sh", &format!("kill -{signal} $PPID"));
        let outcome = bed.run(&["add", "net", "/ns"], &[]);
        assert_eq!(outcome.code, 1);
        assert!(outcome.stderr.starts_with("Error: interrupted by a signal"), "{}", outcome.stderr);
        assert_eq!(bed.called(), ["ADD first", "DEL first"]);
        assert!(store::files(&bed.path("cache/results")).unwrap().is_empty());
    }
}

#[test]
fn a_plugin_that_hangs_is_stopped() {
    let bed = Bed::new();
    bed.write("answers/second.ADD.sh", "exec sleep 60");
    let outcome = bed.run(&["--timeout", "5", "add", "net", "/ns"], &[]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("did not finish within 5 s and was stopped"), "{}", outcome.stderr);
    assert_eq!(bed.called(), ["ADD first", "ADD second", "DEL first"]);
}

#[test]
fn exit_codes_tell_the_kinds_of_failure_apart() {
    let bed = Bed::new();
    let code = |args: &[&str], env: &[(&str, &str)]| bed.run(args, env).code;
    assert_eq!(code(&["add", "net"], &[]), 2);
    assert_eq!(code(&["attach", "net", "/ns"], &[]), 2);
    assert_eq!(code(&["--help"], &[]), 0);
    assert_eq!(code(&["add", "other", "/ns"], &[]), 3);
    assert_eq!(code(&["add", "net", "/ns"], &[("CNI_PATH", "/nowhere")]), 3);
    assert_eq!(code(&["add", "net", "/ns"], &[("NETCONFPATH", "/nowhere")]), 3);
    assert_eq!(code(&["add", "net", "/ns", "-i", "a/b"], &[]), 3);
    let no_utf8 = Command::new(env!("CARGO_BIN_EXE_cnitool"))
        .args(["add", "net", "/ns"])
        .env("NETCONFPATH", OsStr::from_bytes(b"/\xff"))
        .output()
        .unwrap();
    assert_eq!(no_utf8.status.code(), Some(3));
    for bad in ["A", "A=", "=1", "A=1=2", "A=1;"] {
        let outcome = bed.run(&["add", "net", "/ns"], &[("CNI_ARGS", bad)]);
        assert_eq!(outcome.code, 3, "{bad}");
        assert!(outcome.stderr.starts_with("Error: invalid CNI_ARGS pair \""), "{}", outcome.stderr);
    }
    for bad in ["[]", "{", "7"] {
        let outcome = bed.run(&["add", "net", "/ns"], &[("CAP_ARGS", bad)]);
        assert_eq!(outcome.code, 3, "{bad}");
        assert!(outcome.stderr.contains(&format!("invalid value \"{bad}\" of CAP_ARGS")), "{}", outcome.stderr);
    }
    assert_eq!(code(&["add", "net", "/ns"], &[("CNI_CACHE_DIR", "/dev/null")]), 4);
    assert_eq!(bed.called(), Vec::<String>::new(), "nothing was done");
    assert_eq!(code(&["status", "net"], &[]), 0);
    bed.refuse("first", "STATUS", 50);
    assert_eq!(code(&["status", "net", "/ns"], &[]), 5);
    bed.refuse("first", "STATUS", 7);
    assert_eq!(code(&["status", "net"], &[]), 1);
}

#[test]
fn a_network_that_is_not_there_is_answered_with_those_that_are() {
    let bed = Bed::new();
    bed.write("net.d/20.conflist", "{");
    let outcome = bed.run(&["add", "other", "/ns"], &[]);
    assert!(outcome.stderr.contains("no net configuration with name \"other\""), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("20.conflist: network configuration is no valid JSON"), "{}", outcome.stderr);
    assert!(outcome.stderr.ends_with("hint:    the networks there are: net\n"), "{}", outcome.stderr);
    let outcome = bed.run(&["add", "net", "/ns"], &[]);
    assert_eq!(outcome.code, 0);
    assert!(outcome.stderr.starts_with("Warning: skipped "), "{}", outcome.stderr);
}

#[test]
fn gc_keeps_the_living_unless_told_otherwise() {
    let bed = Bed::new();
    // The namespace of this test lives; a path without a file does not.
    let living = format!("/proc/{}/ns/net", std::process::id());
    bed.ok(&["add", "net", &living], &[]);
    bed.ok(&["add", "net", "/nowhere/ns"], &[]);
    bed.calls();
    bed.ok(&["gc", "net", "/any"], &[]);
    let calls = bed.calls();
    let names: Vec<&str> = calls.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, ["DEL second", "DEL first", "GC first", "GC second"]);
    let told = calls.last().unwrap().2["cni.dev/valid-attachments"].as_array().unwrap().len();
    assert_eq!(told, 1);
    assert_eq!(store::files(&bed.path("cache/results")).unwrap().len(), 1);

    bed.write("cache/results/net-x-eth0", "half of an ent");
    let outcome = bed.run(&["gc", "net"], &[]);
    assert_eq!(outcome.code, 4);
    assert!(outcome.stderr.contains("net-x-eth0"), "{}", outcome.stderr);
    assert_eq!(bed.called(), Vec::<String>::new(), "nobody is cut off on a guess");

    assert_eq!(bed.run(&["gc", "net", "--all"], &[]).code, 0);
    let calls = bed.calls();
    assert_eq!(calls.len(), 4);
    assert_eq!(calls.last().unwrap().2["cni.dev/valid-attachments"], json!([]));
}

#[test]
fn the_plugins_of_cni_path_are_listed_with_their_versions() {
    let bed = Bed::new();
    bed.write("bin/no-program", "not executable");
    let stdout = bed.ok(&["version"], &[]);
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines.first().unwrap().starts_with("cnitool 0."), "{stdout}");
    assert_eq!(lines.len(), 4, "{stdout}");
    assert!(
        lines.get(2).unwrap().starts_with("first ") && lines.get(2).unwrap().ends_with(" 1.0.0, 1.1.0"),
        "{stdout}"
    );
    let outcome = bed.run(&["version"], &[("CNI_PATH", "")]);
    assert_eq!(outcome.code, 0);
    assert!(outcome.stderr.contains("CNI_PATH"));
}

#[test]
fn validate_takes_names_files_and_directories() {
    let bed = Bed::new();
    let expected = "net.d/10-net.conflist: network \"net\", CNI 1.1.0: first, second (capabilities: ips)";
    for target in [&["net"][..], &["net.d/10-net.conflist"], &["net.d"], &[]] {
        let stdout = bed.ok(&[&["validate"], target].concat(), &[("COLUMNS", "200")]);
        assert!(stdout.starts_with("valid: ") && stdout.contains(expected), "{target:?}: {stdout}");
        assert!(stdout.ends_with("\n1 file: nothing found\n"), "{stdout}");
    }
    bed.write("old.conf", r#"{"name": "old", "cniVersion": "0.4.0", "type": "first"}"#);
    let outcome = bed.run(&["validate", "old.conf"], &[]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (3, "Error: 1 error found\n"));
    let fault = "error[CNI0302]: `first` does not support 0.4.0, only 1.0.0, 1.1.0\n --> old.conf:1:48\n";
    assert!(outcome.stdout.starts_with(fault), "{}", outcome.stdout);
    assert_eq!(bed.run(&["validate", "old.conf", "--no-host"], &[]).code, 0);
    assert_eq!(bed.run(&["validate", "no-such-network"], &[]).code, 3);
}

#[test]
fn validate_looks_for_plugins_where_runtimes_have_them() {
    let bed = Bed::new();
    bed.write("lone.conf", r#"{"cniVersion": "1.1.0", "name": "lone", "type": "nobody-has-this"}"#);
    let outcome = bed.run(&["validate", "lone.conf"], &[("CNI_PATH", "")]);
    let told = "there is no plugin `nobody-has-this` in /opt/cni/bin";
    assert!(outcome.stdout.contains(told), "{}", outcome.stdout);
}

#[test]
fn validate_fails_on_errors_and_if_asked_to_on_warnings() {
    let bed = Bed::new();
    bed.write("warned.conflist", r#"{"name": "warned", "plugins": [{"type": "first"}]}"#);
    let json = |options: &[&str]| {
        let outcome =
            bed.run(&[&["validate", "--no-host", "--format", "json", "warned.conflist"], options].concat(), &[]);
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(report["findings"][0]["code"], "CNI0201");
        outcome.code
    };
    assert_eq!((json(&[]), json(&["--strict"])), (0, 3));
    bed.write("bad.conflist", r#"{"name": "bad", "plugins": [{"type": "first"}, {"type": ""}]}"#);
    assert_eq!(bed.run(&["validate", "--no-host", "bad.conflist"], &[]).code, 3);
    let table = bed.ok(&["validate", "--list-codes"], &[]);
    assert!(table.contains("| CNI0201 `no-version` | warning |"), "{table}");
}

#[test]
fn schemas_are_listed_printed_and_written() {
    let bed = Bed::new();
    let names = bed.ok(&["schema"], &[]);
    assert_eq!(names.lines().count(), 20);
    for name in names.lines() {
        let schema: Value = serde_json::from_str(&bed.ok(&["schema", name], &[])).unwrap();
        assert_eq!(schema["type"], "object");
    }
    bed.write("schemas/keep", "");
    bed.ok(&["schema", "--all", "schemas"], &[]);
    assert_eq!(std::fs::read_to_string(bed.path("schemas/ptp.json")).unwrap(), bed.ok(&["schema", "ptp"], &[]));
    let outcome = bed.run(&["schema", "brigde"], &[]);
    assert_eq!(outcome.code, 3);
    assert!(outcome.stderr.contains("the schemas there are: conflist, bandwidth, bridge"), "{}", outcome.stderr);
}

#[test]
fn attachments_are_listed_as_table_and_json() {
    let bed = Bed::new();
    bed.answer("second", "ADD", &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.2/24"}]}));
    bed.ok(&["add", "net", "/nowhere/ns"], &[("CNI_ARGS", "A=1")]);
    let stdout = bed.ok(&["attachments"], &[]);
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 2);
    let row = lines.last().unwrap();
    assert_eq!(row.first().unwrap(), &"net");
    assert_eq!(row.get(2..).unwrap(), ["eth0", "10.0.0.2/24", "/nowhere/ns", "(gone)"]);
    let list: Value = serde_json::from_str(&bed.ok(&["attachments", "--json"], &[])).unwrap();
    let entry = &list[0];
    assert_eq!(entry["addresses"], json!(["10.0.0.2/24"]));
    assert_eq!(entry["netnsAlive"], false);
    assert_eq!(entry["args"], json!({"A": "1"}));
    bed.write("cache/results/net-x-eth0", "half of an ent");
    let outcome = bed.run(&["attachments"], &[]);
    assert_eq!(outcome.code, 0);
    assert!(outcome.stderr.contains("net-x-eth0"));
    assert_eq!(outcome.stdout.lines().count(), 2);
}

#[test]
fn bash_completes_commands_options_and_networks() {
    let bed = Bed::new();
    let completed = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "eval \"$(cnitool completion bash)\"; COMP_WORDS=({}); COMP_CWORD={}; \
             _cnitool_with_names cnitool \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             echo \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1
        );
        let tool = Path::new(env!("CARGO_BIN_EXE_cnitool")).parent().unwrap().to_str().unwrap().to_owned();
        let output = Command::new("bash")
            .args(["-c", &script])
            .env("PATH", format!("{tool}:/usr/bin:/bin"))
            .env("NETCONFPATH", bed.path("net.d"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(completed(&["cnitool", "tra"]), "trace");
    assert_eq!(completed(&["cnitool", "add", ""]), "net");
    assert_eq!(completed(&["cnitool", "trace", "--format", "json", "del", "n"]), "net");
    assert_eq!(completed(&["cnitool", "trace", "--format", "j"]), "json");
    assert_eq!(completed(&["cnitool", "add", "net", "--time"]), "--timeout");
    assert_eq!(completed(&["cnitool", "try"]), "", "what is hidden stays hidden");
}

#[test]
fn the_scripts_of_all_shells_and_the_manual_are_written() {
    let bed = Bed::new();
    for (shell, part) in [("bash", "complete -F"), ("zsh", "#compdef cnitool"), ("fish", "complete -c cnitool")] {
        let out = bed.run(&["completion", shell], &[]);
        assert!(out.code == 0 && out.stdout.contains(part), "{shell}: {}{}", out.stdout, out.stderr);
    }
    let dir = bed.path("man");
    assert_eq!(bed.run(&["man", dir.to_str().unwrap()], &[]).code, 0);
    assert!(std::fs::read_to_string(dir.join("cnitool-del.1")).unwrap().contains("Remove a network interface"));
    assert!(bed.run(&["man"], &[]).stdout.contains("EXIT STATUS"));
}
