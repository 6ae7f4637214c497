//! Plugins that break one rule of the specification each; the conformance suite must catch every one.
//!
//! `broken-NAME`, where NAME is in a table below, does what the good plugin beside it does (`bridge`, `tuning` or
//! `host-local`), but for that one rule. `sound-interface`, `sound-chained` and `sound-ipam` break none. Executed by its
//! own name, this program prints the tables as JSON.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program for tests; JSON values, where indexing does not panic"
)]

mod call;
mod chain;
mod delegate;
mod kernel;
mod protocol;
mod remains;
mod verbs;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use call::{Call, Reply};

/// A rule, and how it is broken.
pub(crate) struct Broken {
    /// The plugin is `broken-NAME`.
    pub(crate) name: &'static str,
    /// Which good plugin it is otherwise.
    pub(crate) class: Class,
    /// What it does, in words.
    pub(crate) does: &'static str,
    /// The cases of the suite that catch it.
    pub(crate) caught_by: &'static [&'static str],
    pub(crate) answer: fn(&Call) -> Reply,
}

/// The classes of plugins that the suite knows.
#[derive(Clone, Copy)]
pub(crate) enum Class {
    Interface,
    Chained,
    Ipam,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Chained => "chained",
            Self::Ipam => "ipam",
        }
    }

    fn good(self) -> &'static str {
        match self {
            Self::Interface => "bridge",
            Self::Chained => "tuning",
            Self::Ipam => "host-local",
        }
    }
}

fn all() -> impl Iterator<Item = &'static Broken> {
    [protocol::BROKEN, verbs::BROKEN, remains::BROKEN, chain::BROKEN, delegate::BROKEN].into_iter().flatten()
}

fn main() -> ExitCode {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program);
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name == delegate::SHIM {
        return delegate::shim_main();
    }
    let good = |class: Class| program.with_file_name(class.good());
    let sound = [Class::Interface, Class::Chained, Class::Ipam];
    if let Some(class) = sound.into_iter().find(|class| name == format!("sound-{}", class.name())) {
        return reply(&protocol::talkative(&call(&good(class))));
    }
    match all().find(|broken| name.strip_prefix("broken-") == Some(broken.name)) {
        Some(broken) => reply(&(broken.answer)(&call(&good(broken.class)))),
        None => reply(&Reply::success(&table())),
    }
}

fn call(good: &Path) -> Call {
    Call::of_process(good.to_owned()).expect("stdin")
}

fn reply(reply: &Reply) -> ExitCode {
    std::io::stdout().write_all(&reply.stdout).expect("stdout");
    ExitCode::from(u8::try_from(reply.code).unwrap_or(u8::MAX))
}

fn table() -> Value {
    let rows = all().map(|broken| {
        let class = broken.class.name();
        json!({"name": broken.name, "class": class, "does": broken.does, "caughtBy": broken.caught_by})
    });
    rows.collect()
}
