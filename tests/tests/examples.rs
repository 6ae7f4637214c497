//! The example of each plugin's README is one that the plugins understand.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use ferrule_tests::{Binaries, Invocation, Node};
use serde_json::{Value, json};

/// The READMEs of all plugins.
fn readmes() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folders = ["plugins", "ipam"].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let readmes = folders.into_iter().flatten().map(|entry| entry.unwrap().path().join("README.md"));
    readmes.filter(|path| path.exists()).collect()
}

/// The configurations of plugins in the text: of lists, or alone. A block of JSON that is no whole is passed over.
fn examples(text: &str) -> Vec<Value> {
    let blocks = text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let wholes = blocks.filter_map(|block| serde_json::from_str::<Value>(block).ok());
    let plugins = wholes.flat_map(|whole| match whole.get("plugins") {
        Some(Value::Array(plugins)) => plugins.clone(),
        _ => vec![whole],
    });
    plugins.filter(|plugin| plugin.get("type").is_some_and(Value::is_string)).collect()
}

#[test]
fn the_plugins_understand_the_examples_of_their_readmes() {
    let (Some(binaries), Some(node)) = (Binaries::ours(), Node::start()) else { return };
    for readme in readmes() {
        let examples = examples(&fs::read_to_string(&readme).unwrap());
        assert!(!examples.is_empty(), "{} has no example", readme.display());
        for plugin in examples {
            let program = binaries.plugin(plugin["type"].as_str().unwrap());
            let mut config = plugin.clone();
            config["cniVersion"] = json!("1.1.0");
            config["name"] = json!("net");
            // STATUS reads the configuration, asks IPAM, and makes nothing.
            let status = Invocation::new(&program).env("CNI_COMMAND", "STATUS").env("CNI_PATH", binaries.search_path());
            // 50: understood, but this node has no such device, daemon or kernel.
            if let Err(failure) = status.config(&config).run(&node.host).reply() {
                assert_eq!(failure.code, 50, "{}: {plugin}: {failure:?}", readme.display());
            }
        }
    }
}
