//! `scripts/bench`: our chain against the reference's, interleaved in one run, and the floor below both.
//!
//! Every side has a node of its own (namespaces on a tmpfs). Chains are executed directly, as a runtime executes them;
//! making and ending containers is not measured. What runs while this runs disturbs it: trust ratios, not times.
//!
//! With the directory of a container runtime's tools as fourth argument it measures pods instead, and adds them to the rows of
//! the last run.
#![expect(clippy::expect_used, reason = "a measurement that fails is none")]

mod floor;
mod pods;
mod report;
mod sample;
mod side;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use ferrule_tests::{Binaries, Firewall, fixture};
use serde_json::Value;

use floor::{Floor, Link};
use report::{Quantity, Report, Subject};
use sample::Sample;
use side::{Round, Side};

/// Runs before the first that counts: infrastructure is made, pages are cached.
const WARM_UP: usize = 2;
const AT_ONCE: usize = 32;

/// A chain of plugins that is measured.
#[derive(Clone, Copy, Debug)]
struct Chain {
    /// As it stands in the table.
    work: &'static str,
    /// The configuration list.
    fixture: &'static str,
    /// The kernel's part of it.
    floor: Floor,
}

const BRIDGE: Chain = Chain {
    work: "bridge+host-local",
    fixture: "bridge.conflist",
    floor: Floor { link: Link::Port, sets: &[], port: false, limits: false },
};
const CHAIN: Chain = Chain {
    work: "bridge+host-local+portmap",
    fixture: "bridge-portmap.conflist",
    floor: Floor { sets: &[floor::MASQUERADED, floor::HAIRPIN, floor::LOCAL], port: true, ..BRIDGE.floor },
};
const LONG: Chain = Chain {
    work: "bridge+host-local+portmap+firewall+tuning+bandwidth",
    fixture: "long.conflist",
    floor: Floor {
        sets: &[floor::MASQUERADED, floor::HAIRPIN, floor::LOCAL, floor::PASSING],
        limits: true,
        ..CHAIN.floor
    },
};
const PTP: Chain = Chain {
    work: "ptp+host-local",
    fixture: "ptp.conflist",
    floor: Floor { link: Link::Routed, sets: &[floor::MASQUERADED], ..BRIDGE.floor },
};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    rounds_at_once: usize,
    /// Attachments present, of both sides and then of ours alone.
    present: usize,
    present_ours: usize,
}

const FULL: Effort = Effort { rounds: 30, rounds_at_once: 5, present: 500, present_ours: 1000 };
const QUICK: Effort = Effort { rounds: 5, rounds_at_once: 1, present: 50, present_ours: 100 };

fn main() -> ExitCode {
    let (options, paths): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let [ours, reference, json, tools @ ..] = paths.as_slice() else { return ExitCode::from(2) };
    let effort = if options.iter().any(|option| option == "--quick") { QUICK } else { FULL };
    let binaries = [Binaries::at(Path::new(ours)), Binaries::at(Path::new(reference))];

    let mut report = Report::default();
    // Dropped at the end: see `Side`.
    let mut retired = Vec::new();
    if let Some(tools) = tools.first() {
        pods::measure(&binaries, Path::new(tools), effort.rounds, &mut report);
    } else {
        retired.extend(one_at_a_time(&binaries, effort, &mut report));
        retired.extend(at_once(&binaries, effort, &mut report));
        retired.extend(with_many_present(&binaries, effort, &mut report));
        retired.extend(quantities(&binaries, &mut report));
    }
    report.write(Path::new(json), !tools.is_empty());
    std::io::stdout().write_all(report.table().as_bytes()).expect("stdout");
    drop(retired);
    ExitCode::SUCCESS
}

/// What is being measured goes to stderr: a full run takes minutes.
pub(crate) fn announce(what: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {what}");
}

fn sides(conflist: &Value, firewall: Firewall, binaries: &[Binaries; 2]) -> [Side; 2] {
    binaries.each_ref().map(|dir| Side::of_plugins(conflist, firewall, dir))
}

/// Rounds of all sides, taken in turns; of each side its ADDs and its DELs.
fn take_turns(sides: &[&Side], rounds: usize, round: impl Fn(&Side) -> Round) -> Vec<[Vec<Sample>; 2]> {
    let mut samples: Vec<[Vec<Sample>; 2]> = vec![Default::default(); sides.len()];
    for number in 0..rounds + WARM_UP {
        for (side, [adds, dels]) in sides.iter().zip(&mut samples) {
            let Round { add, del } = round(side);
            if number >= WARM_UP {
                adds.push(add);
                dels.push(del);
            }
        }
    }
    samples
}

/// Two rows: `samples` are of ours, the reference and, if it took part, the floor.
fn add_rows(report: &mut Report, subject: Subject<'_>, samples: &[[Vec<Sample>; 2]]) {
    for (index, verb) in ["ADD", "DEL"].into_iter().enumerate() {
        let of = |side: usize| samples.get(side).and_then(|verbs| verbs.get(index)).map_or(&[][..], Vec::as_slice);
        report.add(subject, verb, [of(0), of(1), of(2)]);
    }
}

fn one_at_a_time(binaries: &[Binaries; 2], effort: Effort, report: &mut Report) -> Vec<Side> {
    announce(BRIDGE.work);
    let [ours, reference] = sides(&fixture(BRIDGE.fixture), Firewall::Nftables, binaries);
    let floor = Side::of_kernel(BRIDGE.floor);
    let samples = take_turns(&[&ours, &reference, &floor], effort.rounds, Side::round);
    add_rows(report, Subject { work: BRIDGE.work, backend: "none", present: 0 }, &samples);
    let mut retired = vec![ours, reference, floor];
    for chain in [CHAIN, LONG, PTP] {
        retired.extend(with_each_backend(chain, binaries, effort, report));
    }
    retired
}

fn with_each_backend(chain: Chain, binaries: &[Binaries; 2], effort: Effort, report: &mut Report) -> Vec<Side> {
    // All backends in one run, so that ours can be compared with each of the reference's.
    let Chain { work, .. } = chain;
    announce(work);
    let conflist = fixture(chain.fixture);
    let firewalls: Vec<Firewall> = Firewall::ALL.into_iter().filter(|firewall| firewall.available()).collect();
    let all: BTreeMap<&str, [Side; 2]> =
        firewalls.iter().map(|firewall| (firewall.name(), sides(&conflist, *firewall, binaries))).collect();
    let floor = Side::of_kernel(chain.floor);
    let order: Vec<&Side> = all.values().flatten().chain([&floor]).collect();
    let mut samples = take_turns(&order, effort.rounds, Side::round);
    let floor_samples = samples.pop().unwrap_or_default();
    let pairs: BTreeMap<&str, Vec<[Vec<Sample>; 2]>> =
        all.keys().copied().zip(samples.chunks(2).map(<[_]>::to_vec)).collect();
    for (backend, pair) in &pairs {
        let samples = [pair.as_slice(), std::slice::from_ref(&floor_samples)].concat();
        add_rows(report, Subject { work, backend, present: 0 }, &samples);
    }
    // Ours with nf_tables against each kind of the reference's iptables.
    let ours = pairs.get(Firewall::Nftables.name()).and_then(|pair| pair.first()).cloned().unwrap_or_default();
    for (backend, pair) in pairs.iter().filter(|(backend, _)| **backend != Firewall::Nftables.name()) {
        let [_, reference] = pair.as_slice() else { continue };
        let backend = format!("nftables, ref {backend}");
        let samples = [ours.clone(), reference.clone(), floor_samples.clone()];
        add_rows(report, Subject { work, backend: &backend, present: 0 }, &samples);
    }
    all.into_values().flatten().chain([floor]).collect()
}

fn at_once(binaries: &[Binaries; 2], effort: Effort, report: &mut Report) -> Vec<Side> {
    let work = format!("{}, {AT_ONCE} at once", CHAIN.work);
    announce(&work);
    let firewall = Firewall::Nftables;
    let [ours, reference] = sides(&fixture(CHAIN.fixture), firewall, binaries);
    let samples = take_turns(&[&ours, &reference], effort.rounds_at_once, |side| side.at_once(AT_ONCE));
    add_rows(report, Subject { work: &work, backend: firewall.name(), present: 0 }, &samples);
    vec![ours, reference]
}

fn with_many_present(binaries: &[Binaries; 2], effort: Effort, report: &mut Report) -> Vec<Side> {
    let firewall = Firewall::Nftables;
    let [mut ours, mut reference] = sides(&fixture(CHAIN.fixture), firewall, binaries);
    let empty = Side::of_plugins(&fixture(CHAIN.fixture), firewall, &binaries[0]);
    let subject = |present| Subject { work: CHAIN.work, backend: firewall.name(), present };

    announce(&format!("{}, {} present", CHAIN.work, effort.present));
    reference.populate(effort.present);
    ours.populate(effort.present);
    let samples = take_turns(&[&ours, &reference], effort.rounds, Side::round);
    add_rows(report, subject(effort.present), &samples);

    announce(&format!("{}, {} present, ours", CHAIN.work, effort.present_ours));
    ours.populate(effort.present_ours);
    let samples = take_turns(&[&ours, &empty], effort.rounds, Side::round);
    for (present, samples) in [effort.present_ours, 0].into_iter().zip(&samples) {
        let work = Subject { work: "the same, interleaved, ours alone", ..subject(present) };
        add_rows(report, work, std::slice::from_ref(samples));
    }
    vec![ours, reference, empty]
}

/// What is not a time: memory, processes, sizes.
fn quantities(binaries: &[Binaries; 2], report: &mut Report) -> Vec<Side> {
    announce("memory, processes, sizes");
    let mut retired = Vec::new();
    for chain in [CHAIN, LONG] {
        for firewall in Firewall::ALL.into_iter().filter(|firewall| firewall.available()) {
            let sides = sides(&fixture(chain.fixture), firewall, binaries);
            // The first makes the infrastructure.
            for side in &sides {
                side.round();
            }
            let [ours, reference] = sides.each_ref().map(Side::peak_memory);
            let what = |what: &str| format!("{what} of ADD of {}, {}", chain.work, firewall.name());
            report.quantities.push(Quantity { what: what("peak memory"), unit: "KiB", ours, reference });
            let [ours, reference] = sides.each_ref().map(|side| side.processes() as u64);
            report.quantities.push(Quantity { what: what("processes"), unit: "", ours, reference });
            retired.extend(sides);
        }
    }
    let both = in_both(binaries);
    let [ours, reference] = binaries.each_ref().map(|dir| size(dir, &both));
    let what = format!("{} plugins as installed", both.len());
    report.quantities.push(Quantity { what, unit: "bytes", ours, reference });
    retired
}

/// The plugins that both sides have.
fn in_both(binaries: &[Binaries; 2]) -> Vec<String> {
    let [ours, reference] = binaries;
    let files = std::fs::read_dir(ours.dir()).expect("the plugins under test");
    let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "cnitool" && reference.plugin(name).exists()).collect()
}

/// The bytes of these plugins, hard links counted once.
fn size(binaries: &Binaries, names: &[String]) -> u64 {
    let files: BTreeMap<u64, u64> = names
        .iter()
        .map(|name| std::fs::metadata(binaries.plugin(name)).expect("a plugin"))
        .map(|file| (file.ino(), file.size()))
        .collect();
    files.values().sum()
}
