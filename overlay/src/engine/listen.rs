//! The threads that hear of the kernel's changes.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use libcni::error::causes;
use linuxnet::NetlinkError;
use linuxnet::netlink::{Netlink, Notice, Notices, Stop};
use linuxnet::nft::{Changes, Nfnetlink};

use crate::event::Event;

/// Why the kernel cannot be heard; then only the timer tells.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Tells `queue` of changes of links, addresses, neighbours, routes and next hops, but for those by `ours`, until it is
/// dropped.
pub(super) fn to_routing(ours: &Netlink, receive_bytes: usize, queue: Sender<Event>) -> Result<Stop, ListenError> {
    let (mut notices, stop) = Notices::open(receive_bytes)?;
    notices.ignore(ours)?;
    let listen = move || {
        loop {
            match notices.wait() {
                Ok(Some(heard)) => {
                    if queue.send(Event::Kernel(heard)).is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(e) => {
                    tracing::error!(error = causes(Some(&e)), "changes are found by the timer alone from now on");
                    let _ = queue.send(Event::Kernel([Notice::Lost].into()));
                    break;
                }
            }
        }
    };
    thread::Builder::new().name("notices".to_owned()).spawn(listen).map_err(ListenError::Thread)?;
    Ok(stop)
}

/// Tells `queue` of changes of nftables, but for those by `ours`, until it is dropped.
pub(super) fn to_firewall(ours: &Nfnetlink, receive_bytes: usize, queue: Sender<Event>) -> Result<Stop, ListenError> {
    let (mut changes, stop) = Changes::open(ours, receive_bytes)?;
    let listen = move || {
        loop {
            match changes.wait() {
                Ok(true) => {
                    if queue.send(Event::Firewall).is_err() {
                        break;
                    }
                }
                Ok(false) => break,
                Err(e) => {
                    tracing::error!(error = causes(Some(&e)), "changed rules are found by the timer alone from now on");
                    let _ = queue.send(Event::Firewall);
                    break;
                }
            }
        }
    };
    thread::Builder::new().name("firewall".to_owned()).spawn(listen).map_err(ListenError::Thread)?;
    Ok(stop)
}
