use std::cell::RefCell;
use std::io::{self, Write};

/// A call's stderr, shared with the delegates that run in this process.
///
/// It is behind a shared reference because a `&mut` in [`Call`](super::Call) would pin the call's lifetime: a plugin
/// that gets `&Call<'_>` could then not lend it to a delegate.
#[derive(Clone, Copy)]
pub(super) struct Stderr<'a>(&'a dyn Shared);

trait Shared {
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Shared for RefCell<&mut dyn Write> {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.borrow_mut().write(bytes)
    }
}

impl<'a> Stderr<'a> {
    pub(super) fn new(stderr: &'a RefCell<&mut dyn Write>) -> Self {
        Self(stderr)
    }
}

impl Write for Stderr<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
