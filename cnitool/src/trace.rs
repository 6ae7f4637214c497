//! `trace`: runs the chain as `add`, `del` and `check` do, and shows what each plugin got, gave and changed.

mod fit;
mod json;
mod record;
mod text;
mod waterfall;

use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use libcni::plugin::Verb;

use crate::args::{AddTarget, Target};
use crate::attach;
use crate::error::ToolError;
use crate::session::Session;
use record::Recorder;

#[derive(Debug, Args)]
pub(crate) struct TraceOptions {
    #[command(subcommand)]
    pub(crate) action: Action,
    /// How to show it
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Add a network interface to a network namespace
    Add(AddTarget),
    /// Remove a network interface from a network namespace
    Del(Target),
    /// Check that a network interface is as `add` made it
    Check(Target),
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

impl Action {
    fn verb(&self) -> Verb {
        match self {
            Self::Add(_) => Verb::Add,
            Self::Del(_) => Verb::Del,
            Self::Check(_) => Verb::Check,
        }
    }

    fn target(&self) -> &Target {
        match self {
            Self::Add(options) => &options.target,
            Self::Del(target) | Self::Check(target) => target,
        }
    }

    fn run(&self, session: &mut Session<'_>) -> Result<(), ToolError> {
        match self {
            Self::Add(options) => attach::attach(session, options).map(drop),
            Self::Del(target) => attach::del(session, target),
            Self::Check(target) => attach::check(session, target),
        }
    }
}

/// Runs the action, prints what was recorded, and then says whether it succeeded.
pub(crate) fn trace(session: &mut Session<'_>, options: &TraceOptions) -> Result<(), ToolError> {
    let action = &options.action;
    let target = action.target();
    let progress = session.progress(format!("{} {}", action.verb().as_str(), target.network));
    let recorder = Arc::new(Recorder::start(&target.netns, progress));
    session.runtime.observer = Some(Arc::clone(&recorder) as Arc<dyn libcni::runtime::Observer>);
    let outcome = action.run(session);
    session.runtime.observer = None;
    let record = recorder.finish();
    if record.calls.is_empty() && outcome.is_err() {
        // It did not come to a plugin: there is nothing to show but the error.
        return outcome;
    }
    let screen = session.screen();
    match options.format {
        Format::Text => session.print(text::text(&record, action.verb(), &target.network, screen))?,
        Format::Json => {
            let error = outcome.as_ref().err().map(|fault| libcni::error::causes(Some(fault)));
            let value = json::value(&record, action.verb(), &target.network, error);
            session.print(format_args!("{}\n", libcni::json::pretty(&value)))?;
        }
    }
    outcome
}
