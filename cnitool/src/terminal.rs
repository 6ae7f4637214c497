//! What a person sees: colour where it is wanted, lines that fit the width, tables, a line that tells what takes long.

mod progress;
mod table;
mod wrap;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use libcni::plugin::Env;

pub(crate) use progress::{Progress, ProgressLine};
pub(crate) use table::{Cell, Section, sections, table};
pub(crate) use wrap::wrap;

/// The width that is assumed where one is needed and none is known, in columns.
const DEFAULT_COLUMNS: usize = 80;
/// Less than this is no width to write in, in columns.
const LEAST_COLUMNS: usize = 20;

/// What a piece of output means, and so how it looks where there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be; what was added.
    Ok,
    /// To be looked at; what was changed.
    Warning,
    /// Wrong; what was removed.
    Error,
    /// Of less interest than what is around it.
    Dim,
    /// The name of what follows.
    Heading,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Ok => colour(AnsiColor::Green),
            Self::Warning => colour(AnsiColor::Yellow),
            Self::Error => colour(AnsiColor::Red).bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Heading => Style::new().bold(),
        }
    }
}

/// What a stream of output is shown on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Somebody looks at it, line by line.
    pub(crate) is_terminal: bool,
    /// Lines may be no longer, in columns. `None`: no limit, as in a file, where a broken line is of no use to `grep`.
    pub(crate) width: Option<usize>,
    /// Colour is wanted.
    pub(crate) colour: bool,
}

impl Screen {
    /// What `stream` is shown on. `choice` comes before `NO_COLOR`, that before `CLICOLOR_FORCE`, and that before what
    /// the stream is. `COLUMNS`, if it is set, comes before what the terminal says.
    pub(crate) fn of(stream: &(impl IsTerminal + AsFd), choice: ColorChoice, env: &Env) -> Self {
        let is_terminal = stream.is_terminal();
        let terminal = || {
            let (width, _height) = terminal_size::terminal_size_of(stream)?;
            Some(usize::from(width.0)).filter(|width| *width > 0)
        };
        let width = columns(env).or_else(|| is_terminal.then(|| terminal().unwrap_or(DEFAULT_COLUMNS)));
        let width = width.map(|width| width.max(LEAST_COLUMNS));
        Self { is_terminal, width, colour: colour(choice, env, is_terminal) }
    }

    /// The columns that a picture may take.
    pub(crate) fn columns(self) -> usize {
        self.width.unwrap_or(DEFAULT_COLUMNS)
    }

    /// `text` as it looks here.
    pub(crate) fn paint<T: fmt::Display>(self, tone: Tone, text: T) -> Painted<T> {
        Painted { style: if self.colour { tone.style() } else { Style::new() }, text }
    }

    /// `text` in lines that fit, `indent` before each but the first.
    pub(crate) fn wrapped(self, text: &str, indent: usize) -> String {
        let Some(width) = self.width else { return text.to_owned() };
        let separator = format!("\n{:indent$}", "");
        wrap(text, width.saturating_sub(indent).max(LEAST_COLUMNS)).join(&separator)
    }
}

/// `COLUMNS`, where it is a number.
fn columns(env: &Env) -> Option<usize> {
    env.var("COLUMNS")?.parse().ok().filter(|columns| *columns > 0)
}

/// Whether to colour, by the conventions of <https://no-color.org> and <https://bixense.com/clicolors>.
fn colour(choice: ColorChoice, env: &Env, is_terminal: bool) -> bool {
    let set = |name: &str| env.var(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if set("NO_COLOR") => false,
        ColorChoice::Auto if set("CLICOLOR_FORCE") && env.var("CLICOLOR_FORCE") != Some("0") => true,
        ColorChoice::Auto => is_terminal && env.var("TERM") != Some("dumb") && env.var("CLICOLOR") != Some("0"),
    }
}

/// Text with a look. It ignores `{:width$}`; pad around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painted<T> {
    style: Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.style.render(), self.text, self.style.render_reset())
    }
}

/// A stream of output with what it is shown on.
pub(crate) struct Stream<'s> {
    pub(crate) writer: &'s mut dyn Write,
    pub(crate) screen: Screen,
}

impl Stream<'_> {
    pub(crate) fn write(&mut self, text: impl fmt::Display) -> io::Result<()> {
        write!(self.writer, "{text}")
    }
}

/// stdout and stderr.
pub(crate) struct Streams<'s> {
    pub(crate) stdout: Stream<'s>,
    pub(crate) stderr: Stream<'s>,
}

impl Streams<'_> {
    /// The same streams for a while.
    pub(crate) fn reborrow(&mut self) -> Streams<'_> {
        let stdout = Stream { writer: &mut *self.stdout.writer, screen: self.stdout.screen };
        Streams { stdout, stderr: Stream { writer: &mut *self.stderr.writer, screen: self.stderr.screen } }
    }
}

#[cfg(test)]
impl<'s> Streams<'s> {
    /// Streams as a test has them: buffers that are no terminal and have no width, as files.
    pub(crate) fn buffers(stdout: &'s mut Vec<u8>, stderr: &'s mut Vec<u8>) -> Self {
        let screen = Screen::default();
        Self { stdout: Stream { writer: stdout, screen }, stderr: Stream { writer: stderr, screen } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_unless_somebody_says_otherwise() {
        let auto = |env: &[(&str, &str)], is_terminal| {
            colour(ColorChoice::Auto, &Env::from_iter(env.iter().copied()), is_terminal)
        };
        assert!(auto(&[], true));
        assert!(!auto(&[], false));
        assert!(!auto(&[("NO_COLOR", "1")], true));
        assert!(auto(&[("NO_COLOR", "")], true), "empty is unset");
        assert!(auto(&[("CLICOLOR_FORCE", "1")], false));
        assert!(!auto(&[("CLICOLOR_FORCE", "0")], false));
        assert!(!auto(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true));
        assert!(!auto(&[("TERM", "dumb")], true));
        assert!(!auto(&[("CLICOLOR", "0")], true));
        let no_colour = Env::from_iter([("NO_COLOR", "1")]);
        assert!(colour(ColorChoice::Always, &no_colour, false), "the option comes first");
        assert!(!colour(ColorChoice::Never, &Env::from_iter([("CLICOLOR_FORCE", "1")]), true));
    }

    #[test]
    fn a_file_has_no_width_and_columns_sets_one() {
        let file = tempfile::tempfile().unwrap();
        let screen = |env: &[(&str, &str)]| Screen::of(&file, ColorChoice::Auto, &Env::from_iter(env.iter().copied()));
        assert_eq!(screen(&[]), Screen { is_terminal: false, width: None, colour: false });
        assert_eq!(screen(&[("COLUMNS", "160")]).width, Some(160));
        assert_eq!(screen(&[("COLUMNS", "3")]).width, Some(LEAST_COLUMNS));
        assert_eq!(screen(&[("COLUMNS", "wide")]).width, None);
    }

    #[test]
    fn without_colour_text_stays_as_it_is() {
        let plain = Screen::default();
        assert_eq!(plain.paint(Tone::Error, "no").to_string(), "no");
        let coloured = Screen { colour: true, ..plain };
        assert_eq!(coloured.paint(Tone::Ok, "yes").to_string(), "\u{1b}[32myes\u{1b}[0m");
        assert_eq!(coloured.paint(Tone::Plain, "yes").to_string(), "yes");
    }

    #[test]
    fn wrapped_text_is_indented_behind_the_first_line() {
        let screen = Screen { width: Some(34), ..Screen::default() };
        let text = "the host port tcp/8080 is taken by somebody else";
        assert_eq!(screen.wrapped(text, 10), "the host port tcp/8080\n          is taken by somebody\n          else");
        assert_eq!(Screen::default().wrapped(text, 10), text);
    }
}
