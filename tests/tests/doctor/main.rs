//! `cnitool doctor` and `cnitool gc` on a node with many attachments, by our plugins and by the Go plugins: what is well is
//! not touched and not called wrong, what is wrong is found, and nothing else.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod faults;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferrule_tests::{Crowd, Member, eventually};
use libcni::store::write_atomic;
use serde_json::{Value, json};

use faults::Planted;

/// What one test plants among the names of namespaces, doctor finds in another one, too.
static ALONE: Mutex<()> = Mutex::new(());

/// A crowd on a machine that no other test of this program has at the same time. `None`, with a printed SKIP, outside the
/// sandbox.
fn alone_with(ours: usize, reference: usize) -> Option<(MutexGuard<'static, ()>, Crowd)> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Some((alone, Crowd::start(ours, reference)?))
}

/// What doctor says as JSON.
fn examined(crowd: &Crowd) -> Value {
    let output = crowd.cnitool(&["doctor", "--format", "json"]);
    serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// The errors and warnings.
fn findings(report: &Value) -> Vec<&Value> {
    let checks = report["groups"].as_array().unwrap().iter().flat_map(|group| group["checks"].as_array().unwrap());
    checks.filter(|check| matches!(check["status"].as_str().unwrap(), "error" | "warning")).collect()
}

fn codes(report: &Value) -> BTreeSet<&str> {
    findings(report).iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// All that was found, as text.
fn told(report: &Value) -> String {
    findings(report).iter().map(|finding| format!("{finding:#}\n")).collect()
}

fn assert_connected(crowd: &Crowd, member: &Member) {
    let ping = |address: &str| member.container.place.sh(&format!("ping -c 1 -W 5 {address}"));
    match member.network.as_str() {
        // It leads nowhere.
        "storage" => {}
        // It has no masquerading, and nobody outside knows the way back.
        "go-direct" => drop(ping(member.result["ips"][0]["gateway"].as_str().unwrap())),
        _ => drop(ping(&crowd.node.outside_address().to_string())),
    }
}

/// What `validate` finds in configurations is told once, with its place and cure.
fn assert_mistakes_told(crowd: &Crowd, report: &Value, text: &str) {
    for (status, code, file, line, column, cure) in faults::MISTAKES {
        let findings = findings(report);
        let [found] = findings.iter().filter(|found| found["code"] == code).collect::<Vec<_>>()[..] else {
            panic!("{code} is not told once:\n{}", told(report));
        };
        let file = crowd.conf_dir().join(file);
        assert_eq!(found["status"], status, "{found}");
        assert_eq!(found["place"], json!({"file": file, "line": line, "column": column}), "{found}");
        assert_eq!(found["cure"], cure, "{found}");
        let place = format!("           --> {}:{line}:{column}\n", file.display());
        assert_eq!(text.matches(&place).count(), 1, "{place}{text}");
        assert!(text.contains(&format!("{status:<9}{code}: ")) && text.contains(&format!("cure: {cure}\n")), "{text}");
    }
}

#[test]
fn faults_are_found_and_nothing_else() {
    let Some((_alone, crowd)) = alone_with(50, 20) else { return };
    let report = examined(&crowd);
    assert_eq!(told(&report), "", "nothing is wrong yet");

    let planted = Planted::on(&crowd);
    let report = examined(&crowd);
    assert_eq!(codes(&report), faults::CODES.into_iter().collect(), "{}", told(&report));
    planted.assert_told(&told(&report));
    planted.assert_nobody_else_told(&crowd, &told(&report));
    let text = crowd.cnitool(&["doctor"]);
    assert_eq!(text.status.code(), Some(6));
    assert_mistakes_told(&crowd, &report, &text.stdout);
    show(&crowd);

    let fixed = crowd.cnitool(&["doctor", "--fix", "--yes"]);
    let left = examined(&crowd);
    assert_eq!(codes(&left), faults::LEFT.into_iter().collect(), "{fixed:?}\n{}", told(&left));
    let says = faults::LEFT.iter().all(|code| fixed.stdout.contains(code));
    assert!(says && fixed.status.code() == Some(6), "{fixed:?}");
    planted.take_back(&crowd);
    for member in planted.living(&crowd) {
        assert_connected(&crowd, member);
    }
    planted.living(&crowd).for_each(|member| crowd.detach(member));
    eventually("nothing is left", || told(&examined(&crowd)).is_empty());
}

/// The cache is lost, or another runtime's: only what is there can tell who is alive.
#[test]
fn nobody_who_is_alive_is_called_a_leak_or_collected() {
    let Some((_alone, crowd)) = alone_with(10, 10) else { return };
    std::fs::remove_dir_all(crowd.cache_dir()).unwrap();
    let report = examined(&crowd);
    assert_eq!(told(&report), "", "they live");
    let dry = crowd.cnitool(&["gc", "--networks", "all", "--dry-run"]);
    assert!(dry.status.success() && !dry.stdout.contains("  goes "), "{dry:?}");
    let gc = crowd.cnitool(&["gc", "--networks", "all"]);
    assert!(gc.status.success(), "{gc:?}");
    crowd.members.iter().for_each(|member| assert_connected(&crowd, member));
}

#[test]
fn gc_does_what_its_plan_says() {
    let Some((_alone, crowd)) = alone_with(20, 0) else { return };
    let pods: Vec<&Member> = crowd.members.iter().filter(|member| member.network == "pods").collect();
    let [gone, living, listed] = [pods[0], pods[1], pods[2]];
    faults::kill(&crowd, gone);
    let before = crowd.node.snapshot();
    let plan = crowd.cnitool(&["gc", "pods", "--dry-run"]);
    let says = |member: &Member, what: &str| {
        let start = format!("  {what:<7}{}… eth0:", &member.container.id[..12]);
        plan.stdout.lines().any(|line| line.starts_with(&start))
    };
    assert!(says(gone, "goes") && says(living, "stays") && says(listed, "stays"), "{}", plan.stdout);
    assert!(plan.stdout.ends_with("Nothing was done: --dry-run.\n"), "{}", plan.stdout);
    // The kernel makes routes of link-local addresses when it likes.
    let now = crowd.node.snapshot();
    let is_ours = |line: &&str| !line.starts_with("route ");
    assert_eq!(now.since(&before).into_iter().filter(is_ours).collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(before.since(&now).into_iter().filter(is_ours).collect::<Vec<_>>(), Vec::<&str>::new());

    let done = crowd.cnitool(&["gc", "pods"]);
    assert!(done.stdout.ends_with("network pods: detached 1 attachment\n"), "{done:?}");
    assert_eq!(told(&examined(&crowd)), "");
    assert_connected(&crowd, living);

    let keep = format!("{}/eth0", listed.container.id);
    let done = crowd.cnitool(&["gc", "pods", "--keep", &keep]);
    assert!(done.stdout.ends_with(&format!("network pods: detached {} attachments\n", pods.len() - 2)), "{done:?}");
    assert_connected(&crowd, listed);
    assert!(crowd.node.host.find_link("cni0").is_some());
    let other = crowd.members.iter().find(|member| member.network == "edge").unwrap();
    assert_connected(&crowd, other);
}

/// For whoever wants to see it: with `DOCTOR_SHOW=DIR` what it prints in 80 and 160 columns is in files there.
fn show(crowd: &Crowd) {
    let Some(dir) = std::env::var_os("DOCTOR_SHOW").map(std::path::PathBuf::from) else { return };
    for columns in ["80", "160"] {
        for (name, args) in [("doctor", &["doctor"][..]), ("gc", &["gc", "pods", "--dry-run"])] {
            let output = crowd.cnitool_with(args, &[("COLUMNS", columns)]);
            write_atomic(&dir.join(format!("{name}-{columns}")), output.stdout.as_bytes(), 0o644).unwrap();
        }
    }
}
