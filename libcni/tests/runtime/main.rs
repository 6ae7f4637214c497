//! The runtime side, driving fake plugins that record what they are given.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, in its helpers too")]

mod add;
mod bed;
mod cache;
mod del;
mod gc;
mod load;
mod observe;
mod status;
