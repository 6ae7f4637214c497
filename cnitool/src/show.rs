//! `show`: what is on this node now.

mod json;
mod text;
mod view;

use clap::{Args, ValueEnum};

use crate::error::ToolError;
use crate::node::Inventory;
use crate::session::Session;
use view::View;

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// A table
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// Shows the node.
pub(crate) fn show(session: &mut Session<'_>, options: &ShowOptions) -> Result<(), ToolError> {
    let inventory = Inventory::read(session.sources());
    let view = View::of(&inventory);
    match options.format {
        Format::Text => text::print(session, &view),
        Format::Json => session.print(format_args!("{}\n", libcni::json::pretty(&json::of(&view)))),
    }
}
