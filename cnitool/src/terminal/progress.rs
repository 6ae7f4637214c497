//! One line on stderr that tells what takes long, on a terminal alone, and that is gone when it is done.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Screen;

/// What is done in this time is not talked about.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the time is told anew.
const TICK: Duration = Duration::from_millis(500);
/// To the beginning of the line, and erase it (ECMA-48 EL).
const ERASE: &[u8] = b"\r\x1b[K";

/// The line, which those who write something else erase first.
#[derive(Clone, Debug)]
pub(crate) struct ProgressLine(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
    width: usize,
}

#[derive(Debug, Default)]
struct State {
    /// What is being done; none when nothing is.
    text: Option<String>,
    is_shown: bool,
}

impl ProgressLine {
    /// The line of stderr; none if that is no terminal.
    pub(crate) fn of(stderr: Screen) -> Self {
        let line = Line { state: Mutex::default(), changed: Condvar::new(), width: stderr.columns() };
        Self(stderr.is_terminal.then(|| Arc::new(line)))
    }

    /// Shows `text` from now on, once it has taken a second, with the seconds it takes.
    pub(crate) fn start(&self, text: impl Into<String>) -> Progress {
        let Some(line) = &self.0 else { return Progress { line: None, thread: None } };
        line.state().text = Some(text.into());
        let shared = Arc::clone(line);
        // Where no thread can be had, nothing is shown.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || shared.show()).ok();
        Progress { line: Some(Arc::clone(line)), thread }
    }

    /// Makes room for something else on the terminal.
    pub(crate) fn erase(&self) {
        if let Some(line) = &self.0 {
            line.state().erase();
        }
    }
}

/// Something that may take long, until it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    line: Option<Arc<Line>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    /// What is being done now.
    pub(crate) fn step(&self, text: impl Into<String>) {
        if let Some(line) = &self.line {
            line.state().text = Some(text.into());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            let mut state = line.state();
            state.text = None;
            state.erase();
            line.changed.notify_all();
        }
        if let Some(thread) = self.thread.take() {
            // It only writes; there is nothing that it could have to say.
            let _ = thread.join();
        }
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the line after [`PATIENCE`], until there is nothing to show.
    fn show(&self) {
        let start = Instant::now();
        let mut state = self.state();
        while let Some(text) = &state.text {
            let taken = start.elapsed();
            let wait = PATIENCE.checked_sub(taken).unwrap_or(TICK);
            if taken >= PATIENCE {
                let line = line(text, taken, self.width);
                state.draw(&line);
            }
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The text and its time, cut so that it stays one line.
fn line(text: &str, taken: Duration, width: usize) -> String {
    let time = format!(" … {} s", taken.as_secs());
    let room = width.saturating_sub(time.chars().count() + 1);
    let text: String = text.chars().take(room).collect();
    format!("{text}{time}")
}

impl State {
    fn draw(&mut self, line: &str) {
        write(&[ERASE, line.as_bytes()].concat());
        self.is_shown = true;
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            write(ERASE);
        }
    }
}

/// The line is there only if stderr is this process's own.
fn write(bytes: &[u8]) {
    let mut stderr = std::io::stderr();
    // A line that is not seen costs nothing.
    let _ = stderr.write_all(bytes).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_and_ends_with_its_time() {
        assert_eq!(line("asking bridge", Duration::from_millis(2900), 80), "asking bridge … 2 s");
        assert_eq!(line("asking bridge", Duration::from_secs(2), 14).chars().count(), 13);
    }

    #[test]
    fn nothing_is_started_where_there_is_no_terminal() {
        let progress = ProgressLine::of(Screen::default()).start("something");
        assert!(progress.line.is_none() && progress.thread.is_none());
    }

    #[test]
    fn what_is_quick_is_not_shown() {
        let line = ProgressLine::of(Screen { is_terminal: true, ..Screen::default() });
        let progress = line.start("something");
        progress.step("something else");
        line.erase();
        assert!(!line.0.as_ref().unwrap().state().is_shown);
        drop(progress);
        assert_eq!(line.0.as_ref().unwrap().state().text, None);
    }
}
