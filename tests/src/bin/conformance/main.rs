//! `scripts/conformance`: the cases of tests/conformance, driven by the Go cnitool against a directory of plugins, and
//! against the reference plugins as a check of the cases.
#![expect(clippy::expect_used, reason = "a test program reports by failing")]

mod case;
mod trial;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrule_tests::{Binaries, Firewall, require};

use case::Case;
use trial::Trial;

/// How a case went with one directory of plugins, over all its versions and firewall backends.
#[derive(Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    failures: Vec<String>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(binaries), Some(reference)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(2);
    };
    let (binaries, reference) = (Binaries::at(Path::new(&binaries)), Binaries::at(Path::new(&reference)));
    let chosen: Vec<String> = arguments.collect();
    let cases = match cases(&chosen) {
        Ok(cases) => cases,
        Err(e) => {
            say(&format!("{e}\n"));
            return ExitCode::FAILURE;
        }
    };
    let outcomes = run_all(&cases, &binaries, &reference);
    let (table, failed) = table(&cases, &outcomes);
    say(&table);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn say(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).expect("stdout");
}

/// The cases whose names are chosen, or all.
fn cases(chosen: &[String]) -> Result<Vec<Case>, String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&dir).map_err(|e| e.to_string())?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut cases = paths.iter().map(|path| Case::load(path)).collect::<Result<Vec<_>, _>>()?;
    if let Some(unknown) = chosen.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        return Err(format!("there is no case {unknown} in {}", dir.display()));
    }
    cases.retain(|case| chosen.is_empty() || chosen.contains(&case.name));
    Ok(cases)
}

/// Each case with both directories, a few at once: most of the time is waiting for the kernel.
fn run_all(cases: &[Case], binaries: &Binaries, reference: &Binaries) -> Vec<[Tally; 2]> {
    let cnitool = reference.plugin("cnitool");
    let outcomes: Vec<Mutex<[Tally; 2]>> = cases.iter().map(|_| Mutex::default()).collect();
    let (next, trials) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((case, slot)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(index).zip(outcomes.get(index))
                } {
                    let tallies = || [binaries, reference].map(|dir| run(case, dir, &cnitool, &trials));
                    // On a thread with the case's name, by which a skip calls it.
                    let thread = std::thread::Builder::new().name(case.name.clone());
                    let thread = thread.spawn_scoped(scope, tallies).expect("a thread");
                    *slot.lock().expect("outcome") = thread.join().unwrap_or_else(|panic| {
                        [Tally { failures: vec![panic_text(&*panic)], ..Tally::default() }, Tally::default()]
                    });
                }
            });
        }
    });
    outcomes.into_iter().map(|slot| slot.into_inner().expect("outcome")).collect()
}

/// One case with one directory, at all its versions and with all its firewall backends.
fn run(case: &Case, binaries: &Binaries, cnitool: &Path, trials: &AtomicUsize) -> Tally {
    let mut tally = Tally::default();
    for version in &case.versions {
        for firewall in Firewall::ALL.into_iter().filter(|f| case.firewalls.iter().any(|name| name == f.name())) {
            let number = trials.fetch_add(1, Ordering::Relaxed);
            if !case.needs.iter().copied().all(require) {
                tally.skipped += 1;
                continue;
            }
            let Some(trial) = Trial::new(case, version, firewall, binaries, cnitool.to_owned(), number) else {
                tally.skipped += 1;
                continue;
            };
            // The harness panics where a person has to look; that is one trial's failure.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trial.run()))
                .unwrap_or_else(|panic| Err(panic_text(&*panic)));
            match outcome {
                Ok(()) => tally.passed += 1,
                Err(e) => tally.failures.push(format!("{version} {}: {e}", firewall.name())),
            }
        }
    }
    tally
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "panic".to_owned())
}

/// The table of outcomes, and whether anything is not as it should be.
fn table(cases: &[Case], outcomes: &[[Tally; 2]]) -> (String, bool) {
    let mut failed = false;
    let mut text = format!("{:<36} {:>6} {:>6} {:>6}  reference\n", "case", "pass", "fail", "skip");
    let mut totals = [0; 3];
    for (case, [ours, reference]) in cases.iter().zip(outcomes) {
        let (verdict, wrong) = reference_verdict(case, reference);
        let counts = [ours.passed, ours.failures.len(), ours.skipped];
        for (total, count) in totals.iter_mut().zip(counts) {
            *total += count;
        }
        let [passed, failures, skipped] = counts;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<36} {passed:>6} {failures:>6} {skipped:>6}  {verdict}", case.name);
        if !ours.failures.is_empty() || wrong {
            failed = true;
            let _ = writeln!(text, "    {}", case.about);
        }
        for failure in &ours.failures {
            let _ = writeln!(text, "    FAIL {failure}");
        }
        for failure in reference.failures.iter().filter(|_| wrong) {
            let _ = writeln!(text, "    REFERENCE {failure}");
        }
    }
    let [passed, failures, skipped] = totals;
    let _ = writeln!(text, "{:<36} {passed:>6} {failures:>6} {skipped:>6}", "total");
    (text, failed)
}

/// How the reference did, and whether the case file says otherwise.
fn reference_verdict(case: &Case, reference: &Tally) -> (String, bool) {
    if reference.passed == 0 && reference.failures.is_empty() {
        return ("skipped".to_owned(), false);
    }
    match (&case.reference, reference.failures.is_empty()) {
        (None, true) => (format!("passes ({})", reference.passed), false),
        (None, false) => (format!("FAILS ({}): a wrong case, or one to be marked", reference.failures.len()), true),
        (Some(reason), false) => (reason.clone(), false),
        (Some(reason), true) => (format!("PASSES, but is marked \"{reason}\""), true),
    }
}
