//! A table for people.

use super::view::{Row, View};
use crate::error::ToolError;
use crate::node::Life;
use crate::session::Session;
use crate::terminal::Cell;

/// How much of a container ID is shown, in characters: as container tools do.
const ID_SHOWN: usize = 12;

/// Prints the view.
pub(crate) fn print(session: &mut Session<'_>, view: &View<'_>) -> Result<(), ToolError> {
    let rows: Vec<[Cell; 6]> = view.rows.iter().map(|each| row(each).map(Cell::from)).collect();
    session.table(["NETWORK", "CONTAINER", "INTERFACE", "ADDRESSES", "HOST END", "NAMESPACE"], rows)
}

fn row(row: &Row<'_>) -> [String; 6] {
    let attached = row.attached;
    let container = match &attached.pod {
        Some(pod) => pod.to_string(),
        None => attached.id.container_id.as_str().chars().take(ID_SHOWN).collect(),
    };
    let addresses: Vec<String> = row.addresses.iter().map(ToString::to_string).collect();
    let host_end = [row.host_link.map(|link| link.name.as_str()), row.bridge];
    let netns = attached.netns.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let netns = if attached.life == Life::Gone { format!("{netns} (gone)") } else { netns };
    [
        attached.network.to_string(),
        container,
        attached.id.ifname.to_string(),
        addresses.join(","),
        host_end.into_iter().flatten().collect::<Vec<_>>().join(" on "),
        netns,
    ]
}
