//! BIRD's control socket: one line is asked, and answered by lines that begin with a number.
//!
//! ```text
//! 0001 BIRD 2.0.12 ready.
//! > configure
//! 0002-Reading configuration from /etc/bird/bird.conf
//! 0003 Reconfigured
//! ```
//! A `-` behind the number: there is more to come. A space in front: the line goes on. From 8000 on: it failed. (BIRD's
//! doc/reply_codes.)

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long BIRD may think about a configuration of thousands of nodes.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any answer has, in bytes.
const ANSWER_BYTES: u64 = 64 << 10;
/// "Reconfiguration ignored, shutting down".
const SHUTTING_DOWN: u16 = 6;
/// Runtime errors, and from 9000 on errors in what was asked.
const FAILED: u16 = 8000;

/// Why BIRD did not read its configuration again.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    #[error("BIRD cannot be reached at {} (hint: systemctl start bird)", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("BIRD at {} does not answer", path.display())]
    Talk { path: PathBuf, source: io::Error },
    #[error("BIRD does not take its configuration: {0}")]
    Refused(String),
}

/// Asks BIRD to read its configuration again. What did not change goes on undisturbed.
pub(super) fn configure(path: &Path) -> Result<(), ControlError> {
    let stream = UnixStream::connect(path).map_err(|source| ControlError::Connect { path: path.to_owned(), source })?;
    match ask(&stream, "configure") {
        Ok(answer) if answer.code == SHUTTING_DOWN || answer.code >= FAILED => Err(ControlError::Refused(answer.text)),
        Ok(_) => Ok(()),
        Err(source) => Err(ControlError::Talk { path: path.to_owned(), source }),
    }
}

/// The last line of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: u16,
    text: String,
}

fn ask(mut stream: &UnixStream, question: &str) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(ANSWER_BYTES));
    // It says who it is.
    let greeting = read_answer(&mut lines)?;
    if greeting.code >= FAILED {
        return Ok(greeting);
    }
    stream.write_all(format!("{question}\n").as_bytes())?;
    read_answer(&mut lines)
}

fn read_answer(lines: &mut impl BufRead) -> io::Result<Answer> {
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Lines that go on, or that come unasked (`+`), have no number.
        let code = line.get(..4).and_then(|digits| digits.parse::<u16>().ok());
        if let (Some(code), Some(rest)) = (code, line.get(4..))
            && let Some(text) = rest.strip_prefix(' ')
        {
            return Ok(Answer { code, text: text.trim_end().to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_an_answer_counts() {
        let read = |text: &str| read_answer(&mut text.as_bytes());
        let answer = |code, text: &str| Answer { code, text: text.to_owned() };
        let good = "0002-Reading configuration from /etc/bird/bird.conf\n0003 Reconfigured\n";
        assert_eq!(read(good).unwrap(), answer(3, "Reconfigured"));
        let bad = "0002-Reading configuration from x\n x\n+unasked\n8002 x:3:1 syntax error\n0003 of another\n";
        assert_eq!(read(bad).unwrap(), answer(8002, "x:3:1 syntax error"));
        assert_eq!(read("0002-Reading\n").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read("no answer at all\n\u{e4}\u{f6}\u{fc}\n").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
