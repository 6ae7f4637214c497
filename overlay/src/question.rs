//! Asking the engine, from the runtime's thread.

use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::event::{Ask, Event};
use crate::report::{Difference, Explanation, PeerRow, Status};

/// How long the engine may take: it may have thousands of objects to make first.
const PATIENCE: Duration = Duration::from_secs(20);

/// The engine does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silence {
    #[error("the engine does not answer within {} s", PATIENCE.as_secs())]
    Timeout,
    #[error("the engine has ended")]
    Ended,
}

/// The engine, for those who ask it.
#[derive(Clone, Debug)]
pub(crate) struct Engine(Sender<Event>);

impl Engine {
    pub(crate) fn new(queue: Sender<Event>) -> Self {
        Self(queue)
    }

    /// # Errors
    /// [`Silence`], as of all that follow.
    pub(crate) async fn status(&self) -> Result<Status, Silence> {
        self.ask(Ask::Status).await
    }

    pub(crate) async fn peers(&self) -> Result<Vec<PeerRow>, Silence> {
        self.ask(Ask::Peers).await
    }

    pub(crate) async fn diff(&self) -> Result<Result<Vec<Difference>, String>, Silence> {
        self.ask(Ask::Diff).await
    }

    pub(crate) async fn explain(&self, address: IpAddr) -> Result<Explanation, Silence> {
        self.ask(|answer| Ask::Explain(address, answer)).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Silence> {
        let (sender, answer) = oneshot::channel();
        self.0.send(Event::Ask(question(sender))).map_err(|_gone| Silence::Ended)?;
        timeout(PATIENCE, answer).await.map_err(|_elapsed| Silence::Timeout)?.map_err(|_dropped| Silence::Ended)
    }
}
