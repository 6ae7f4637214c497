//! `tests/fixtures/conflists`: in `good` what projects ship or write in their documentation, of which nothing is found;
//! in `broken` files and directories with what is found beside them, in `NAME.txt`.
//!
//! `FERRULE_WRITE_GOLDEN=1 cargo test -p cnitool corpus` writes these files anew; read the difference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use libcni::SpecVersion;
use libcni::store::write_atomic;

use super::host::{Answer, HostLink, HostNetwork, HostRoute, Programs};
use super::*;

/// Plugins of others that the good files name.
const FOREIGN: [&str; 12] = [
    "calico",
    "calico-ipam",
    "cilium-cni",
    "dnsname",
    "istio-cni",
    "multus",
    "old-plugin",
    "silent-plugin",
    "sriov",
    "tc-redirect-tap",
    "weave-net",
    "whereabouts",
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/conflists")
}

/// A node with an uplink, a VPN, Docker, and the bridge of containerd's example.
fn host(files: &[File]) -> Host {
    let link = |(name, kind, mtu): (&str, &str, u32)| HostLink { name: name.to_owned(), kind: kind.to_owned(), mtu };
    let links = [("lo", "", 65536), ("eth0", "", 1500), ("docker0", "bridge", 1500), ("cni0", "bridge", 1500)];
    let route = |(dst, link): (&str, &str)| HostRoute { dst: dst.parse().unwrap(), link: link.to_owned() };
    let routes = [
        ("192.0.2.0/24", "eth0"),
        ("172.17.0.0/16", "docker0"),
        ("10.8.0.0/16", "tun0"),
        ("10.88.0.0/16", "cni0"),
        ("10.244.0.7/32", "veth1"),
        ("fe80::/64", "eth0"),
    ];
    let links = links.into_iter().chain([("tun0", "tun", 1400), ("veth1", "veth", 1500)]);
    let network = HostNetwork {
        links: links.map(link).collect(),
        routes: routes.into_iter().map(route).collect(),
        uplink: Some("eth0".to_owned()),
    };
    Host { programs: Some(programs(files)), network: Some(network) }
}

fn programs(files: &[File]) -> Programs {
    let known = crate::schema::plugin_types().chain(crate::schema::ipam_types()).chain(FOREIGN);
    let present: BTreeSet<String> = known.map(str::to_owned).collect();
    let all: Vec<String> = SpecVersion::ALL.iter().map(ToString::to_string).collect();
    let answer = |kind: &str| match kind {
        "old-plugin" => Answer::Versions(vec!["0.3.1".to_owned(), "0.4.0".to_owned()]),
        "silent-plugin" => Answer::None("exit status: 1".to_owned()),
        kind if present.contains(kind) => Answer::Versions(all.clone()),
        _ => Answer::Missing,
    };
    let nobody = Host::default();
    let answers = types(files, &nobody).into_iter().map(|kind| (kind.clone(), answer(&kind))).collect();
    Programs { dirs: vec![PathBuf::from("/opt/cni/bin")], present, answers }
}

/// The file, or the files of the directory, with paths as from [`corpus`].
fn files(path: &Path) -> Vec<File> {
    let paths = if path.is_dir() { in_dir(path).unwrap() } else { vec![path.to_owned()] };
    let mut files = read(&paths);
    for file in &mut files {
        file.path = file.path.strip_prefix(corpus()).unwrap().to_owned();
    }
    files
}

fn entries(dir: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(corpus().join(dir)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_none_or(|e| ["conflist", "conf"].iter().any(|x| e == *x)));
    paths.sort();
    paths
}

fn screen() -> Screen {
    Screen { width: Some(80), ..Screen::default() }
}

fn compare(golden: &Path, text: &str) {
    if std::env::var_os("FERRULE_WRITE_GOLDEN").is_some() {
        write_atomic(golden, text.as_bytes(), 0o644).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(text, expected, "{}: FERRULE_WRITE_GOLDEN=1 writes it anew", golden.display());
}

#[test]
fn nothing_is_found_in_the_configurations_of_projects() {
    let paths = entries("good");
    assert!(paths.len() >= 20, "{paths:?}");
    for path in paths {
        let files = files(&path);
        for host in [host(&files), Host::default()] {
            let report = Report::of(&files, &host);
            assert!(report.findings.is_empty(), "{}", report.print(Format::Text, screen()));
            assert!(report.verdict(true).is_ok());
        }
        libcni::runtime::NetworkList::from_file(&path).unwrap();
    }
}

#[test]
fn nothing_is_found_in_the_cookbook() {
    let pages = libcni::store::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cookbook")).unwrap();
    let mut lists = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        let blocks = text.split("```json\n").skip(1).filter_map(|rest| rest.split_once("```"));
        for (list, _) in blocks.filter(|(block, _)| block.contains("\"plugins\"")) {
            let files = [File::of(&page.with_extension("conflist"), list.to_owned())];
            let nobody = Host::default();
            let report = Report::of(&files, &nobody);
            assert!(report.findings.is_empty(), "{}", report.print(Format::Text, screen()));
            lists += 1;
        }
    }
    assert!(lists >= 20, "{lists}");
}

#[test]
fn what_is_found_in_broken_configurations_is_what_was_found_before() {
    let paths = entries("broken");
    assert!(paths.len() >= 20, "{paths:?}");
    for path in paths {
        let files = files(&path);
        let host = host(&files);
        let report = Report::of(&files, &host);
        assert!(!report.findings.is_empty(), "{}", path.display());
        let text = report.print(Format::Text, screen());
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{text}");
        compare(&path.with_extension("txt"), &text);
    }
}

#[test]
fn each_rule_finds_something_in_a_broken_configuration() {
    let mut found = BTreeSet::new();
    for path in entries("broken") {
        let files = files(&path);
        for host in [host(&files), Host::default()] {
            found.extend(Report::of(&files, &host).findings.iter().map(|finding| finding.rule.code));
        }
    }
    let never: Vec<&str> = rules::all().map(|rule| rule.code).filter(|code| !found.contains(code)).collect();
    assert_eq!(never, Vec::<&str>::new());
}

#[test]
fn what_libcni_refuses_is_an_error() {
    for path in entries("broken").into_iter().filter(|path| path.is_file()) {
        let files = files(&path);
        let nobody = Host::default();
        let report = Report::of(&files, &nobody);
        if let Err(fault) = libcni::runtime::NetworkList::from_file(&path) {
            let fault = libcni::error::causes(Some(&fault));
            assert!(report.verdict(false).is_err(), "{}: {fault}", path.display());
        }
    }
}

#[test]
fn the_table_of_codes_is_that_of_the_rules() {
    let head = "# What `cnitool validate` finds\n\n\
        The codes are for ever. `cnitool validate --list-codes` prints this table; a test writes it.\n\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/validate-codes.md");
    compare(&path, &format!("{head}{}", text::codes()));
}

#[test]
fn programs_get_json_and_sarif() {
    let path = corpus().join("broken/same-name");
    let files = files(&path);
    let host = host(&files);
    let report = Report::of(&files, &host);
    compare(&path.with_extension("json"), &report.print(Format::Json, screen()));
    compare(&path.with_extension("sarif"), &report.print(Format::Sarif, screen()));
}

#[test]
fn a_file_of_which_nothing_is_found_is_shown_as_it_is_understood() {
    let files = files(&corpus().join("good/podman-87-podman-bridge.conflist"));
    let nobody = Host::default();
    let text = Report::of(&files, &nobody).print(Format::Text, screen());
    assert_eq!(
        text,
        "valid: good/podman-87-podman-bridge.conflist: network \"podman\", CNI 0.4.0:\n       \
         bridge, portmap, firewall, tuning (capabilities: portMappings)\n1 file: nothing found\n"
    );
}
