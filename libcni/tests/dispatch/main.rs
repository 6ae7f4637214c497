//! What runtimes see of every plugin: environment, validation, version gates, replies, exit codes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics, in its helpers too")]

mod delegation;
mod fake;
mod input;
mod verbs;
