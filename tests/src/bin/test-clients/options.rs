//! The command line, as `scripts/test-clients` writes it.

use std::path::PathBuf;

/// How often a runtime is killed, if nobody says: once in each plugin.
const KILLS: usize = 4;

/// How often pods come and go in waves, if nobody says.
const ROUNDS: usize = 10;

/// What to do.
#[derive(Debug)]
pub(crate) struct Options {
    /// The plugins.
    pub(crate) bin: PathBuf,
    /// The program `record-call`.
    pub(crate) recorder: PathBuf,
    /// Where sources are that a client needs.
    pub(crate) tools: PathBuf,
    /// How often to kill the runtime in ADD, and in DEL.
    pub(crate) kills: usize,
    /// How often pods come and go in waves.
    pub(crate) rounds: usize,
    /// Where the calls are to be kept.
    pub(crate) keep_calls: Option<PathBuf>,
    pub(crate) client: String,
}

impl Options {
    /// `None` if something is missing or unknown.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            bin: PathBuf::new(),
            recorder: PathBuf::new(),
            tools: PathBuf::new(),
            kills: KILLS,
            rounds: ROUNDS,
            keep_calls: None,
            client: String::new(),
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bin" => options.bin = path(&mut arguments)?,
                "--recorder" => options.recorder = path(&mut arguments)?,
                "--tools" => options.tools = path(&mut arguments)?,
                "--kill" => options.kills = arguments.next()?.parse().ok()?,
                "--rounds" => options.rounds = arguments.next()?.parse().ok()?,
                "--calls" => options.keep_calls = Some(path(&mut arguments)?),
                client => options.client = client.to_owned(),
            }
        }
        (!options.client.is_empty()).then_some(options)
    }
}

fn path(arguments: &mut impl Iterator<Item = String>) -> Option<PathBuf> {
    std::fs::canonicalize(arguments.next()?).ok()
}
