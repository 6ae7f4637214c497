//! A call of the broken plugin, the good plugin behind it, and the reply.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// What the plugin was asked.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `CNI_COMMAND`.
    pub(crate) verb: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) stdin: Vec<u8>,
    /// What stdin says; `null` if that is no JSON.
    pub(crate) config: Value,
    /// The plugin that does everything right.
    pub(crate) good: PathBuf,
}

/// What the plugin answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
}

impl Call {
    /// This process's environment and input.
    pub(crate) fn of_process(good: PathBuf) -> io::Result<Self> {
        let env: BTreeMap<String, String> = std::env::vars().collect();
        let mut stdin = Vec::new();
        io::stdin().read_to_end(&mut stdin)?;
        let config = serde_json::from_slice(&stdin).unwrap_or_default();
        let verb = env.get("CNI_COMMAND").cloned().unwrap_or_default();
        Ok(Self { verb, env, stdin, config, good })
    }

    /// The value of a variable; empty where it is not set.
    pub(crate) fn var(&self, name: &str) -> &str {
        self.env.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is(&self, verb: &str) -> bool {
        self.verb == verb
    }

    /// The version of the specification that is asked for.
    pub(crate) fn version(&self) -> &str {
        self.config["cniVersion"].as_str().unwrap_or("0.1.0")
    }

    /// What the good plugin answers to the same call.
    pub(crate) fn good(&self) -> Reply {
        let mut command = Command::new(&self.good);
        command.env_clear().envs(&self.env).stdin(Stdio::piped()).stdout(Stdio::piped());
        let output = command.spawn().and_then(|mut child| {
            if let Some(mut stdin) = child.stdin.take() {
                // A plugin that fails early does not read: its exit code says why.
                let _ = stdin.write_all(&self.stdin);
            }
            child.wait_with_output()
        });
        match output {
            Ok(output) => Reply { code: output.status.code().unwrap_or(101), stdout: output.stdout },
            Err(e) => Reply::error(999, &format!("{}: {e}", self.good.display())),
        }
    }

    /// The call with a variable set otherwise.
    pub(crate) fn with_env(&self, name: &str, value: &str) -> Self {
        let mut call = self.clone();
        call.env.insert(name.to_owned(), value.to_owned());
        call.verb = call.var("CNI_COMMAND").to_owned();
        call
    }

    /// The call with another configuration.
    pub(crate) fn with_config(&self, change: impl FnOnce(&mut Value)) -> Self {
        let mut call = self.clone();
        change(&mut call.config);
        call.stdin = call.config.to_string().into_bytes();
        call
    }

    /// A file that is this attachment's alone.
    pub(crate) fn file_in(&self, dir: &str) -> PathBuf {
        Path::new(dir).join(format!("{}-{}", self.var("CNI_CONTAINERID"), self.var("CNI_IFNAME")))
    }
}

impl Reply {
    /// Success, with nothing on stdout.
    pub(crate) fn nothing() -> Self {
        Self { code: 0, stdout: Vec::new() }
    }

    pub(crate) fn success(value: &Value) -> Self {
        Self { code: 0, stdout: value.to_string().into_bytes() }
    }

    pub(crate) fn error(code: u64, msg: &str) -> Self {
        let error = json!({"cniVersion": "1.1.0", "code": code, "msg": msg});
        Self { code: 1, stdout: error.to_string().into_bytes() }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.code == 0
    }

    /// The reply with the JSON on stdout changed.
    pub(crate) fn changed(mut self, change: impl FnOnce(&mut Value)) -> Self {
        if let Ok(mut value) = serde_json::from_slice(&self.stdout) {
            change(&mut value);
            self.stdout = value.to_string().into_bytes();
        }
        self
    }

    /// The result of a successful call, changed.
    pub(crate) fn with_result(self, change: impl FnOnce(&mut Value)) -> Self {
        if self.is_success() { self.changed(change) } else { self }
    }

    /// The error object of a failed call, changed.
    pub(crate) fn with_error(self, change: impl FnOnce(&mut Value)) -> Self {
        if self.is_success() { self } else { self.changed(change) }
    }

    /// After a success, something else is done.
    pub(crate) fn then(self, action: impl FnOnce()) -> Self {
        if self.is_success() {
            action();
        }
        self
    }

    /// After a failure, something else is done.
    pub(crate) fn or(self, action: impl FnOnce()) -> Self {
        if !self.is_success() {
            action();
        }
        self
    }
}
