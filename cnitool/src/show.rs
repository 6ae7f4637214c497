//! `show`: what is on this node now.

mod detail;
mod json;
mod select;
mod text;
mod view;

use clap::{Args, ValueEnum};

use crate::error::ToolError;
use crate::node::Inventory;
use crate::session::Session;
use view::View;

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    /// Only this: a network, a container ID or its beginning, a pod, an address, a subnet, a bridge or link of the host
    #[arg(value_name = "NETWORK|CONTAINER|POD|ADDRESS|LINK")]
    pub(crate) what: Option<String>,
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
    let reading = session.progress("reading the node");
    let inventory = Inventory::read(session.sources());
    drop(reading);
    let mut view = View::of(&inventory);
    if let Some(what) = &options.what
        && !view.narrow(what)
    {
        return Err(ToolError::NotOnNode(what.clone()));
    }
    match options.format {
        Format::Text => text::print(session, &view),
        Format::Json => session.print(format_args!("{}\n", libcni::json::pretty(&json::of(&view)))),
    }
}
