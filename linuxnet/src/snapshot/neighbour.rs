//! Neighbours that somebody set, as lines.

use super::{Entry, Kind, Names, Object};
use crate::neigh::Neighbour;

/// `10.1.0.9 dev eth0 lladdr 0a:58:0a:01:00:09`.
pub(super) fn entry(neighbour: Neighbour, names: &Names) -> Entry {
    let dev = names.of(neighbour.link);
    let mac = neighbour.mac.map(|mac| format!(" lladdr {mac}")).unwrap_or_default();
    Entry {
        kind: Kind::Neighbour,
        is_automatic: false,
        text: format!("{} dev {dev}{mac}", neighbour.ip),
        key: format!("{dev} {}", neighbour.ip),
        dev: Some(dev),
        object: Object::Neighbour(neighbour),
    }
}
