use std::path::PathBuf;

use libcni::error::{CniError, ErrorCode};
use libcni::store::StoreError;

use super::place::PlaceError;
use crate::lease::Ending;
use crate::record::Owner;

/// What the daemon answers where it cannot do what the plugin asks.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("an ADD of {0} is under way")]
    UnderWay(Owner),
    #[error("cannot ask for an address on \"{ifname}\"")]
    Place { ifname: String, source: PlaceError },
    #[error("no address on \"{ifname}\" from DHCP")]
    NoLease { ifname: String, source: Ending },
    #[error("cannot keep the lease of {0}")]
    Record(Owner, #[source] StoreError),
    #[error("the container of {0} ended before it had an address")]
    ContainerGone(Owner),
    #[error("the daemon ends")]
    Ends,
    #[error("no lease of {0} is known: nobody prolongs it (hint: it is of another daemon, or was lost with its files)")]
    Unknown(Owner),
    #[error("{0} has no lease")]
    Lost(Owner, #[source] Ending),
    #[error("{0} has no lease yet")]
    NotYet(Owner),
    #[error("the lease of {owner} is for another container than that of {}", netns.display())]
    OtherContainer { owner: Owner, netns: PathBuf },
}

impl CniError for Refusal {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Place { source: PlaceError::Netns(_), .. } => ErrorCode::INVALID_ENVIRONMENT,
            Self::UnderWay(_) | Self::NoLease { .. } | Self::ContainerGone(_) | Self::Ends | Self::NotYet(_) => {
                ErrorCode::TRY_AGAIN_LATER
            }
            Self::Record(..) => ErrorCode::IO,
            Self::Place { .. } | Self::Unknown(_) | Self::Lost(..) | Self::OtherContainer { .. } => ErrorCode::INTERNAL,
        }
    }
}
