//! A place for a runtime to work in: fake plugins, a cache, and the calls that the plugins got.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libcni::plugin::Env;
use libcni::runtime::{Attachment, NetworkList, Runtime};
use libcni::types::AttachmentId;
use proptest::prelude::{Strategy, any, prop};
use serde_json::{Value, json};
use tempfile::TempDir;

/// One call of a fake plugin.
#[derive(Debug)]
pub(crate) struct Call {
    /// `ADD first`.
    pub(crate) name: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Call {
    pub(crate) fn stdin(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn env(&self, key: &str) -> Option<&str> {
        self.env.get(key).map(String::as_str)
    }
}

pub(crate) struct Bed {
    dir: TempDir,
    pub(crate) runtime: Runtime,
}

impl Bed {
    /// With plugins `first`, `second` and `third`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["bin", "calls", "answers", "cache"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runtime/fake-plugin");
        for name in ["first", "second", "third"] {
            std::os::unix::fs::symlink(&fake, dir.path().join("bin").join(name)).unwrap();
        }
        let mut runtime = Runtime::new([dir.path().join("bin")]).with_cache_dir(&dir.path().join("cache"));
        let variables = [("PATH", "/usr/bin:/bin"), ("FAKE_DIR", dir.path().to_str().unwrap()), ("CNI_IFNAME", "own")];
        runtime.env = Env::from_iter(variables);
        Self { dir, runtime }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        libcni::store::write_atomic(&path, content.as_ref(), 0o600).unwrap();
        path
    }

    /// What `plugin` writes to stdout for `verb`.
    pub(crate) fn answer(&self, plugin: &str, verb: &str, stdout: &Value) {
        self.write(&format!("answers/{plugin}.{verb}"), stdout.to_string());
    }

    /// `plugin` fails for `verb` with this error object.
    pub(crate) fn refuse(&self, plugin: &str, verb: &str, code: u32, msg: &str) {
        self.answer(plugin, verb, &json!({"cniVersion": "1.1.0", "code": code, "msg": msg, "details": "why"}));
        self.write(&format!("answers/{plugin}.{verb}.code"), "1");
    }

    /// `plugin` runs this before it answers `verb`.
    pub(crate) fn script(&self, plugin: &str, verb: &str, script: &str) {
        self.write(&format!("answers/{plugin}.{verb}.sh"), script);
    }

    /// The calls since the last time, in order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let files = libcni::store::files(&self.path("calls")).unwrap();
        let stdins = files.iter().filter(|path| path.extension().unwrap() == "stdin");
        let calls = stdins.map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let env = std::fs::read_to_string(path.with_extension("env")).unwrap();
            let env = env.lines().filter_map(|line| line.split_once('='));
            Call {
                name: name.split('.').skip(1).collect::<Vec<_>>().join(" "),
                env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                text: std::fs::read_to_string(path).unwrap(),
            }
        });
        let calls = calls.collect();
        files.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        calls
    }

    /// The calls since the last time, by name.
    pub(crate) fn called(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.name).collect()
    }

    pub(crate) fn cache_file(&self, network: &str) -> PathBuf {
        self.path(&format!("cache/results/{network}-box-eth0"))
    }
}

/// A network `net` of these plugins.
pub(crate) fn network(version: &str, plugins: &[&str]) -> NetworkList {
    let plugins: Vec<Value> = plugins.iter().map(|name| json!({"type": name})).collect();
    list(&json!({"cniVersion": version, "name": "net", "plugins": plugins}))
}

pub(crate) fn list(value: &Value) -> NetworkList {
    NetworkList::from_bytes(value.to_string().as_bytes()).unwrap()
}

/// `eth0` of container `box`.
pub(crate) fn attachment() -> Attachment {
    Attachment::new(id("box", "eth0"), "/run/netns/box")
}

pub(crate) fn id(container_id: &str, ifname: &str) -> AttachmentId {
    AttachmentId { container_id: container_id.parse().unwrap(), ifname: ifname.parse().unwrap() }
}

/// A result with one address.
pub(crate) fn result(version: &str, address: &str) -> Value {
    json!({"cniVersion": version, "ips": [{"address": address}]})
}

/// `text` with some bytes changed and the end cut off, or neither.
pub(crate) fn damaged(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((0..text.len(), any::<u8>()), 0..4);
    (0..=text.len(), changes).prop_map(move |(end, changes)| {
        let mut bytes = text.as_bytes().to_vec();
        for (at, new) in changes {
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = new);
        }
        bytes.truncate(end);
        bytes
    })
}
