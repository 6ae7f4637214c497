//! What can go wrong in `dummy`: what goes wrong in any plugin with an interface.

/// A failure of `dummy`, which has nothing of its own that could fail.
pub use linuxnet::attach::AttachError as DummyError;
