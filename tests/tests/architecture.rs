//! The shape of the workspace, as ARCHITECTURE.md promises it.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The names below `[dependencies]` of a crate.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap_or_else(|e| panic!("{}: {e}", manifest.display()));
    text.lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The crates in a folder of crates, by folder name.
fn crates_in(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").exists())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn libcni_speaks_the_protocol_and_nothing_else() {
    let allowed = ["fs2", "ipnet", "nix", "serde", "serde_json", "thiserror"];
    for name in dependencies(&root().join("libcni/Cargo.toml")) {
        assert!(allowed.contains(&name.as_str()), "libcni must not depend on {name}");
    }
}

#[test]
fn linuxnet_knows_libcni_and_no_plugin() {
    let plugins = [crates_in("plugins"), crates_in("ipam")].concat();
    for name in dependencies(&root().join("linuxnet/Cargo.toml")) {
        assert!(!plugins.contains(&name) && name != "cnitool", "linuxnet must not depend on {name}");
    }
}

#[test]
fn a_plugin_never_depends_on_a_plugin() {
    let plugins = [crates_in("plugins"), crates_in("ipam")].concat();
    let folders = crates_in("plugins")
        .into_iter()
        .map(|n| ("plugins", n))
        .chain(crates_in("ipam").into_iter().map(|n| ("ipam", n)));
    for (folder, name) in folders.filter(|(_, name)| name != "all") {
        for dependency in dependencies(&root().join(folder).join(&name).join("Cargo.toml")) {
            assert!(!plugins.contains(&dependency), "{name} must not depend on {dependency}");
            assert_ne!(dependency, "rtnetlink", "{name}: only linuxnet speaks to the kernel");
            assert_ne!(dependency, "tokio", "{name}: a plugin is a short synchronous process");
        }
    }
}

#[test]
fn overlayd_knows_one_plugin_and_nobody_knows_overlayd() {
    let plugins = [crates_in("plugins"), crates_in("ipam")].concat();
    for name in dependencies(&root().join("overlay/Cargo.toml")) {
        let is_allowed = name == "vxlan-delegate" || (!plugins.contains(&name) && name != "cnitool");
        assert!(is_allowed, "overlayd must not depend on {name}");
        assert_ne!(name, "rtnetlink", "only linuxnet speaks to the kernel");
    }
    let folders = [("", "libcni"), ("", "linuxnet"), ("", "cnitool"), ("", "tests")].map(|(f, n)| (f, n.to_owned()));
    let of = |folder| crates_in(folder).into_iter().map(move |name| (folder, name));
    for (folder, name) in folders.into_iter().chain(of("plugins")).chain(of("ipam")) {
        let dependencies = dependencies(&root().join(folder).join(&name).join("Cargo.toml"));
        assert!(!dependencies.contains(&"overlayd".to_owned()), "{name} must not depend on overlayd");
    }
}

#[test]
fn a_plugins_main_is_one_line_and_its_files_have_their_names() {
    let folders = crates_in("plugins")
        .into_iter()
        .map(|n| ("plugins", n))
        .chain(crates_in("ipam").into_iter().map(|n| ("ipam", n)));
    for (folder, name) in folders {
        let source = root().join(folder).join(&name).join("src");
        let main = fs::read_to_string(source.join("main.rs")).unwrap_or_else(|e| panic!("{name}: {e}"));
        let statements = main.lines().filter(|l| !l.is_empty() && !l.starts_with("//")).count();
        assert!(
            name == "all" || statements <= 3,
            "{name}: main.rs is fn main with one statement, found {statements} lines"
        );
        if name != "all" {
            for file in ["lib.rs", "error.rs"] {
                assert!(source.join(file).exists(), "{name} has no src/{file}");
            }
            assert!(root().join(folder).join(&name).join("README.md").exists(), "{name} has no README.md");
            let mistakes = root().join("tests/errors").join(&name).with_extension("golden");
            assert!(mistakes.exists(), "nobody has read how {name} tells mistakes: {} is missing", mistakes.display());
        }
    }
}

#[test]
fn every_plugin_is_in_the_multi_call_executable() {
    let all = dependencies(&root().join("plugins/all/Cargo.toml"));
    for name in [crates_in("plugins"), crates_in("ipam")].concat() {
        assert!(name == "all" || all.contains(&name), "plugins/all does not hold {name}");
    }
}
