//! Answers that have no end.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::client::{ANSWER_MAX, parse};
use super::error::EtcdError;
use super::messages::Line;

/// An answer that has no end, of one JSON value a line.
#[derive(Debug)]
pub(super) struct Stream {
    /// Who answers.
    pub(super) server: usize,
    pub(super) endpoint: String,
    body: Incoming,
    /// What has come since the last line.
    buffer: Vec<u8>,
}

impl Stream {
    pub(super) fn new(server: usize, endpoint: &str, body: Incoming) -> Self {
        Self { server, endpoint: endpoint.to_owned(), body, buffer: Vec::new() }
    }

    /// The next line. Nothing is lost if it is dropped before it is ready.
    ///
    /// # Errors
    /// [`EtcdError`]; at the end of the stream, too.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, EtcdError> {
        let mut looked = 0;
        loop {
            let end = self.buffer.iter().skip(looked).position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let rest = self.buffer.split_off(looked + end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                return self.line(&line);
            }
            looked = self.buffer.len();
            if looked > ANSWER_MAX {
                return Err(EtcdError::TooLarge { endpoint: self.endpoint.clone(), limit: ANSWER_MAX });
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<(), EtcdError> {
        match self.body.frame().await {
            Some(Ok(frame)) => {
                self.buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                Ok(())
            }
            Some(Err(error)) => Err(self.ended(error.into())),
            None => Err(self.ended("the server closed the connection".into())),
        }
    }

    fn ended(&self, source: Box<dyn std::error::Error + Send + Sync>) -> EtcdError {
        EtcdError::Unreachable { endpoint: self.endpoint.clone(), source }
    }

    fn line<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, EtcdError> {
        result(parse(line, &self.endpoint)?, &self.endpoint)
    }
}

/// What a line of a stream says.
///
/// # Errors
/// [`EtcdError::Refused`].
pub(super) fn result<T>(line: Line<T>, endpoint: &str) -> Result<T, EtcdError> {
    let fault = line.error.unwrap_or_default();
    line.result.ok_or_else(|| EtcdError::Refused {
        endpoint: endpoint.to_owned(),
        code: fault.code,
        message: fault.text(),
    })
}
