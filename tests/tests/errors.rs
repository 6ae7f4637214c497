//! What operators read when a plugin's configuration is wrong.
//!
//! `tests/errors/<plugin>.json` lists mistakes, `tests/errors/<plugin>.golden` holds the replies: a reply that changes
//! is a change that somebody must have read. `UPDATE_GOLDEN=1` writes the golden files anew.
//!
//! ```json
//! {
//!     "config": {"ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": "$DIR/ipam"}},
//!     "mistakes": [
//!         {"mistake": "a VLAN out of range", "config": {"vlan": 4095}},
//!         {"mistake": "an unknown key in CNI_ARGS", "args": "COLOR=red"},
//!         {"mistake": "nothing to compare with", "verb": "CHECK", "config": {"prevResult": null}}
//!     ]
//! }
//! ```
//! A mistake's `config` replaces the members of the file's; `cniVersion`, `name` and `type` are there by themselves.
//! `$DIR` is a directory of the test's own, `$NETNS` the container's namespace, `$FIXTURES` is `tests/fixtures`; in the
//! golden file they stand in the replies again. Each call must fail and leave nothing behind.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "golden files are sources, not state")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ferrule_tests::{Binaries, Container, Invocation, Node};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistakes {
    #[serde(default)]
    config: Map<String, Value>,
    mistakes: Vec<Mistake>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    mistake: String,
    #[serde(default = "add")]
    verb: String,
    #[serde(default)]
    args: String,
    #[serde(default)]
    config: Map<String, Value>,
}

fn add() -> String {
    "ADD".to_owned()
}

/// `text` with the names that stand for this test's own paths.
struct Paths(Vec<(&'static str, String)>);

impl Paths {
    fn of(node: &Node, container: &Container, binaries: &Binaries) -> Self {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        Self(vec![
            ("$NETNS", text(&container.netns)),
            ("$DIR", text(node.dir())),
            ("$CNI_PATH", binaries.search_path().replace(':', " ")),
            ("$FIXTURES", concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures").to_owned()),
        ])
    }

    fn put_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, path)| text.replace(name, path))
    }

    fn take_out(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, path)| text.replace(path, name))
    }
}

fn lists() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("errors");
    let mut lists: Vec<_> = fs::read_dir(&dir).expect("tests/errors").map(|entry| entry.unwrap().path()).collect();
    lists.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    lists.sort();
    lists
}

/// The replies to all mistakes of one plugin, as the golden file holds them.
fn replies(plugin: &str, list: &Path) -> Option<String> {
    let binaries = Binaries::ours()?;
    let node = Node::start()?;
    let container = node.container("web");
    let paths = Paths::of(&node, &container, &binaries);
    let text = fs::read_to_string(list).unwrap();
    let list: Mistakes = serde_json::from_str(&paths.put_in(&text)).unwrap_or_else(|e| panic!("{plugin}: {e}"));
    let mut golden = String::new();
    for Mistake { mistake, verb, args, config } in list.mistakes {
        let own = Value::Object(config.clone());
        let mut whole = json!({"cniVersion": "1.1.0", "name": "net", "type": plugin});
        let members = whole.as_object_mut().unwrap();
        members.extend(list.config.clone().into_iter().chain(config));
        let before = node.snapshot();
        let output = Invocation::new(&binaries.plugin(plugin))
            .env("CNI_COMMAND", &verb)
            .env("CNI_CONTAINERID", &container.id)
            .env("CNI_NETNS", &container.netns)
            .env("CNI_IFNAME", &container.ifname)
            .env("CNI_PATH", binaries.search_path())
            .env("CNI_ARGS", &args)
            .config(&whole)
            .run(&node.host);
        let failure = output.reply().expect_err(&format!("{plugin}: {mistake}: this must fail"));
        node.assert_nothing_left(&before, &[]);
        let given = if args.is_empty() { String::new() } else { format!(" CNI_ARGS={args}") };
        writeln!(golden, "# {mistake}\n{verb}{given} {own}\n{} {}", failure.code, failure.msg).unwrap();
        if !failure.details.is_empty() {
            writeln!(golden, "    {}", failure.details).unwrap();
        }
        golden.push('\n');
    }
    Some(paths.take_out(&golden))
}

#[test]
fn a_mistake_in_the_configuration_is_told_as_the_golden_file_says() {
    let mut differ = Vec::new();
    for list in lists() {
        let plugin = list.file_stem().and_then(|name| name.to_str()).unwrap();
        let Some(replies) = replies(plugin, &list) else { return };
        let golden = list.with_extension("golden");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, replies).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != replies {
            differ.push(format!("{plugin}:\n{replies}"));
        }
    }
    assert!(differ.is_empty(), "other replies than in tests/errors/*.golden:\n{}", differ.join("\n"));
}
