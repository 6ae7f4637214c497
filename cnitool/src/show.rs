//! `show`: what is on this node now.

mod detail;
mod dot;
mod json;
mod picture;
mod select;
mod side;
mod svg;
mod text;
mod view;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use libcni::store;

use crate::error::ToolError;
use crate::node::Inventory;
use crate::session::Session;
use view::View;

/// Pictures are for everybody.
const PICTURE_MODE: u32 = 0o644;

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    /// Only this: a network, a container ID or its beginning, a pod, an address, a subnet, a bridge or link of the host
    #[arg(value_name = "NETWORK|CONTAINER|POD|ADDRESS|LINK")]
    pub(crate) what: Option<String>,
    /// Draw a picture into this file instead, for any browser
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub(crate) svg: Option<PathBuf>,
    /// Write a graph for Graphviz into this file instead
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub(crate) dot: Option<PathBuf>,
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
    let pictures = [
        options.svg.as_ref().map(|path| (path, svg::of(&view))),
        options.dot.as_ref().map(|path| (path, dot::of(&view))),
    ];
    if pictures.iter().any(Option::is_some) {
        return pictures
            .into_iter()
            .flatten()
            .try_for_each(|(path, picture)| Ok(store::write_atomic(path, picture.as_bytes(), PICTURE_MODE)?));
    }
    match options.format {
        Format::Text => text::print(session, &view),
        Format::Json => session.print(format_args!("{}\n", libcni::json::pretty(&json::of(&view)))),
    }
}
