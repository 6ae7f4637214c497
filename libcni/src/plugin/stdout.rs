use std::io::{self, Write};

/// Standard output without the buffer that the standard library puts before it. That buffer holds back what comes after
/// the last line break; if then only this part cannot be written, the reader has a reply that lacks its last brace,
/// followed by an error.
pub(super) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
