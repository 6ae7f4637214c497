//! What deploy/ has fits together, and is what the programs understand.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrule_tests::{Binaries, Node};
use serde_json::Value;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a YAML file.
fn documents(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|value| value.as_str().unwrap()).collect()
}

fn daemon_set() -> Value {
    documents(&deploy("kubernetes/daemonset.yaml")).remove(0)
}

#[test]
fn every_manifest_is_one_and_kustomizations_name_files_that_are_there() {
    let dirs = [
        "kubernetes",
        "kubernetes-with-flannel",
        "kubernetes-plugins",
        "kubernetes-removal",
        "kubernetes-plugins-removal",
    ];
    for dir in dirs.map(deploy) {
        for file in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "yaml") {
                for document in documents(&file) {
                    assert!(document["kind"].is_string() && document["apiVersion"].is_string(), "{}", file.display());
                }
            }
        }
        let kustomization = documents(&dir.join("kustomization.yaml")).remove(0);
        let generator = &kustomization["configMapGenerator"][0];
        for file in strings(&kustomization["resources"]).into_iter().chain(strings(&generator["files"])) {
            assert!(dir.join(file).exists(), "{}/{file}", dir.display());
        }
    }
}

#[test]
fn the_configurations_are_understood() {
    let Some(binaries) = Binaries::ours() else { return };
    for file in ["kubernetes/overlayd.toml", "kubernetes-with-flannel/overlayd.toml", "systemd/overlayd.toml"] {
        let output = Command::new(binaries.plugin("overlayd"))
            .args(["check-config", "--config"])
            .arg(deploy(file))
            .output()
            .unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_conflist_is_understood() {
    let (Some(binaries), Some(_sandbox)) = (Binaries::ours(), Node::start()) else { return };
    let output = Command::new(binaries.plugin("cnitool"))
        .arg("validate")
        .arg(deploy("kubernetes/10-overlay.conflist"))
        .env("CNI_PATH", binaries.search_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_daemon_set_mounts_what_the_daemon_uses() {
    let pod = &daemon_set()["spec"]["template"]["spec"];
    let volumes: Vec<&str> = pod["volumes"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    let containers = pod["initContainers"].as_array().unwrap().iter().chain(pod["containers"].as_array().unwrap());
    for mount in containers.flat_map(|container| container["volumeMounts"].as_array().unwrap()) {
        assert!(volumes.contains(&mount["name"].as_str().unwrap()), "{mount}");
    }
    let daemon = &pod["containers"][0];
    let mounted: Vec<&str> =
        daemon["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
    // The defaults of `subnet_file`, `socket` and `state_dir`, and what --config names.
    assert_eq!(mounted, ["/etc/ferrule", "/run/flannel", "/run/overlayd", "/var/lib/overlayd"]);
    assert_eq!(daemon["args"][1], "/etc/ferrule/overlayd.toml");
    assert_eq!(daemon["env"][0]["name"], "NODE_NAME");

    let config: toml::Table = read(&deploy("kubernetes/overlayd.toml")).parse().unwrap();
    let http: std::net::SocketAddr = config["http"].as_str().unwrap().parse().unwrap();
    for probe in ["livenessProbe", "readinessProbe"].map(|probe| &daemon[probe]["httpGet"]) {
        assert_eq!(probe["host"], http.ip().to_string());
        assert_eq!(probe["port"], http.port());
    }
}

#[test]
fn the_init_container_installs_the_plugins_and_the_conflist() {
    let Some(binaries) = Binaries::ours() else { return };
    let dir = tempfile::tempdir().unwrap();
    let pod = &daemon_set()["spec"]["template"]["spec"];
    let init = &pod["initContainers"][0];
    assert_eq!(strings(&init["command"]), ["/opt/cni/bin/cnitool", "install"]);
    let root = dir.path().to_str().unwrap();
    fs::create_dir_all(dir.path().join("host/etc/cni/net.d")).unwrap();
    let arguments = strings(&init["args"]).into_iter().map(|argument| {
        let (from, to) = argument.split_once('=').unwrap();
        let from = match from.strip_prefix("/etc/ferrule/") {
            Some(name) => deploy("kubernetes").join(name),
            None => binaries.dir().to_owned(),
        };
        format!("{}={root}{to}", from.display())
    });
    let output = Command::new(binaries.plugin("cnitool")).arg("install").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let installed = dir.path().join("host/opt/cni/bin/bridge");
    let version = Command::new(&installed).env("CNI_COMMAND", "VERSION").output().unwrap();
    assert!(version.status.success(), "{version:?}");
    let conflist = read(&dir.path().join("host/etc/cni/net.d/10-overlay.conflist"));
    assert_eq!(serde_json::from_str::<Value>(&conflist).unwrap()["cniVersion"], "1.0.0");
}
