//! What is written to stderr: a line for each change.

use std::io;

use tracing::level_filters::LevelFilter;

use crate::config::Log;

/// From now on what happens is logged as the configuration says.
pub(crate) fn begin(log: Log) {
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(LevelFilter::from_level(log.level));
    let builder = builder.with_target(false).with_ansi(false);
    match log.json {
        true => builder.json().flatten_event(true).init(),
        false => builder.init(),
    }
}
