//! A plugin that notes what is asked of it, and calls of it.

use std::io::{self, Read, Write};
use std::sync::Mutex;

use libcni::plugin::{AnyPlugin, Attachment, Call, Env, Plugin, dispatch};
use libcni::types::{AddResult, AttachmentId, IpConfig};
use libcni::{ErrorReply, SpecVersion};
use serde_json::{Value, json};

/// Notes its calls; answers as it was told.
pub(crate) struct Fake {
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) result: AddResult,
    pub(crate) fault: Option<ErrorReply>,
    pub(crate) versions: &'static [SpecVersion],
}

impl Fake {
    pub(crate) fn new() -> Self {
        let result = AddResult {
            ips: vec![IpConfig { address: "10.1.0.5/16".parse().unwrap(), gateway: None, interface: None }],
            ..AddResult::default()
        };
        Self { calls: Mutex::default(), result, fault: None, versions: &SpecVersion::ALL }
    }

    /// Notes the call, with stdin as the plugin saw it.
    fn answer(&self, what: String, call: &Call<'_>) -> Result<(), ErrorReply> {
        assert_eq!(serde_json::from_slice::<Value>(call.stdin).unwrap(), call.config.raw);
        self.calls.lock().unwrap().push(what);
        self.fault.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Plugin for Fake {
    type Error = ErrorReply;
    fn name(&self) -> &'static str {
        "fake"
    }
    fn other_names(&self) -> &'static [&'static str] {
        &["phony"]
    }
    fn versions(&self) -> &'static [SpecVersion] {
        self.versions
    }
    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, ErrorReply> {
        self.answer(format!("ADD {}", attachment.id), call).map(|()| self.result.clone())
    }
    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), ErrorReply> {
        self.answer(format!("DEL {}", attachment.id), call)
    }
    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), ErrorReply> {
        self.answer(format!("CHECK {}", attachment.id), call)
    }
    fn gc(&self, call: &Call<'_>, valid: &[AttachmentId]) -> Result<(), ErrorReply> {
        let valid: Vec<String> = valid.iter().map(ToString::to_string).collect();
        self.answer(format!("GC [{}]", valid.join(", ")), call)
    }
    fn status(&self, call: &Call<'_>) -> Result<(), ErrorReply> {
        self.answer("STATUS".to_owned(), call)
    }
}

/// What came back.
pub(crate) struct Outcome {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The error object: `code`, `msg`, `details`.
    pub(crate) fn error(&self) -> (u32, String, String) {
        assert_eq!(self.code, 1, "{}", self.stdout);
        let object: Value = serde_json::from_str(&self.stdout).expect("one JSON document");
        let version = object.get("cniVersion").and_then(Value::as_str).expect("every error has a cniVersion");
        assert!(version.parse::<SpecVersion>().is_ok(), "{version}");
        let ErrorReply { code, msg, details } = serde_json::from_value(object).unwrap();
        (code.0, msg, details)
    }

    pub(crate) fn assert_silent_success(&self) {
        assert_eq!((self.code, self.stdout.as_str(), self.stderr.as_str()), (0, "", ""));
    }
}

pub(crate) fn run(plugin: &Fake, env: &[(&str, &str)], stdin: impl AsRef<[u8]>) -> Outcome {
    run_any(plugin, &[], env, stdin)
}

pub(crate) fn run_any(
    plugin: &dyn AnyPlugin,
    plugins: &[&dyn AnyPlugin],
    env: &[(&str, &str)],
    stdin: impl AsRef<[u8]>,
) -> Outcome {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let env = env.iter().copied().collect::<Env>();
    let code = dispatch(plugin, plugins, &env, &mut stdin.as_ref(), &mut stdout, &mut stderr);
    Outcome { code, stdout: String::from_utf8(stdout).unwrap(), stderr: String::from_utf8(stderr).unwrap() }
}

/// A complete environment for `command`. The namespace does not exist, so the guard lets it pass.
pub(crate) fn env(command: &str) -> Vec<(&str, &str)> {
    vec![
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "blue"),
        ("CNI_NETNS", "/nowhere/blue"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
    ]
}

pub(crate) fn env_with<'a>(command: &'a str, key: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut env = env(command);
    env.retain(|(k, _)| *k != key);
    env.push((key, value));
    env
}

pub(crate) fn config(version: &str) -> String {
    json!({"cniVersion": version, "name": "dbnet", "type": "fake"}).to_string()
}

/// Reading or writing it fails.
pub(crate) struct Broken;

impl Read for Broken {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("wire cut"))
    }
}

impl Write for Broken {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
