//! `scripts/bench-overlay`: one daemon and many nodes that do not exist. Times are from the store's change to the kernel's
//! own notification of the route, which the daemon makes last and removes first.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a measurement that fails is none")]

mod case;
mod daemon;
mod floor;
mod store;
mod table;
mod watch;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use ferrule_tests::peers;

use case::{Case, Effort};

/// How peers are put into the kernel; the values of `kernel.programming`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Programming {
    Neighbours,
    Nexthops,
}

impl Programming {
    fn name(self) -> &'static str {
        match self {
            Self::Neighbours => "neighbours",
            Self::Nexthops => "nexthops",
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    peers: Vec<u32>,
    etcd: bool,
    effort: Effort,
    binaries: PathBuf,
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        let _ = writeln!(std::io::stderr(), "usage: bench-overlay [--quick] [--store file|etcd] [--peers N]… BIN_DIR");
        return ExitCode::from(2);
    };
    let mut columns = Vec::new();
    for peers in options.peers {
        for programming in [Programming::Neighbours, Programming::Nexthops] {
            let case = Case { peers, programming, etcd: options.etcd, effort: options.effort };
            let _ = writeln!(std::io::stderr(), "bench-overlay: {}", case.title());
            columns.push(case.run(&options.binaries).expect("measurement"));
        }
    }
    std::io::stdout().write_all(table::of(&columns).as_bytes()).expect("stdout");
    ExitCode::SUCCESS
}

/// `None`: they are wrong.
fn options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let (mut numbers, mut etcd, mut effort, mut binaries) = (Vec::new(), false, Effort::FULL, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => effort = Effort::QUICK,
            "--peers" => {
                let number = arguments.next()?.parse().ok()?;
                // The churn needs some more.
                numbers.push(Some(number).filter(|number| (100..=peers::MOST / 2).contains(number))?);
            }
            "--store" => {
                etcd = match arguments.next()?.as_str() {
                    "etcd" => true,
                    "file" => false,
                    _ => return None,
                }
            }
            path if binaries.is_none() && !path.starts_with('-') => binaries = Some(PathBuf::from(path)),
            _ => return None,
        }
    }
    if numbers.is_empty() {
        numbers = effort.peers.to_vec();
    }
    Some(Options { peers: numbers, etcd, effort, binaries: binaries?.canonicalize().ok()? })
}
