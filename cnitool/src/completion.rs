//! `completion` and `man`: made from the definition of the command line.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use libcni::store;

use crate::args::Cli;
use crate::error::ToolError;
use crate::manual::{ENVIRONMENT, EXIT_CODES, PASSED_ON};
use crate::session::Session;

/// The mode of a manual page.
const PAGE_MODE: u32 = 0o644;

/// What a definition of the command line cannot say: names of networks, which are asked for, and of namespaces.
const BASH_NAMES: &str = include_str!("completion/names.bash");
const FISH_NAMES: &str = include_str!("completion/names.fish");

#[derive(Debug, Args)]
pub(crate) struct CompletionOptions {
    /// The shell to write for
    #[arg(value_name = "SHELL")]
    pub(crate) shell: CompletedShell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CompletedShell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub(crate) struct ManOptions {
    /// Where to put a page for each command; without it, the page of cnitool goes to stdout
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Prints what the shell needs to complete commands, options, names of networks and paths.
pub(crate) fn completion(session: &mut Session<'_>, options: &CompletionOptions) -> Result<(), ToolError> {
    let (shell, names) = match options.shell {
        CompletedShell::Bash => (Shell::Bash, BASH_NAMES),
        CompletedShell::Zsh => (Shell::Zsh, ""),
        CompletedShell::Fish => (Shell::Fish, FISH_NAMES),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(), "cnitool", &mut script);
    session.print(format_args!("{}{names}", String::from_utf8_lossy(&script)))
}

/// Prints the names of the networks, for completion.
pub(crate) fn networks(session: &mut Session<'_>) -> Result<(), ToolError> {
    // Nobody wants to read warnings while typing.
    let networks = session.networks().unwrap_or_default();
    networks.iter().try_for_each(|name| session.print(format_args!("{name}\n")))
}

/// Prints the manual page of cnitool, or writes one for each command.
pub(crate) fn man(session: &mut Session<'_>, options: &ManOptions) -> Result<(), ToolError> {
    let Some(dir) = &options.dir else {
        return session.print(String::from_utf8_lossy(&page(&visible()).map_err(ToolError::Output)?));
    };
    store::ensure_dir(dir, 0o755)?;
    let mut command = visible();
    command.build();
    write_pages(&command, dir)
}

/// The page of `command`, and those of its commands.
fn write_pages(command: &Command, dir: &Path) -> Result<(), ToolError> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let page = page(command).map_err(ToolError::Output)?;
    store::write_atomic(&dir.join(format!("{name}.1")), &page, PAGE_MODE)?;
    let commands = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
    commands.into_iter().try_for_each(|inner| write_pages(inner, dir))
}

/// The command line without what only cnitool itself calls.
fn visible() -> Command {
    let whole = Cli::command();
    let mut command = Command::new("cnitool")
        .version(env!("CARGO_PKG_VERSION"))
        .args(whole.get_arguments().cloned())
        .subcommands(whole.get_subcommands().filter(|inner| !inner.is_hide_set()).cloned())
        .disable_help_subcommand(true);
    if let Some(about) = whole.get_about() {
        command = command.about(about.clone());
    }
    command
}

/// A manual page in roff(7).
fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let is_main = command.get_name() == "cnitool";
    let man = Man::new(command.clone()).manual("Ferrule").source(format!("cnitool {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut more = Roff::new();
    if is_main {
        entries(&mut more, "ENVIRONMENT", ENVIRONMENT.iter().map(|(name, text)| ((*name).to_owned(), *text)));
        more.control("PP", []).text([roman(PASSED_ON)]);
        entries(&mut more, "EXIT STATUS", EXIT_CODES.iter().map(|(code, text)| (code.to_string(), *text)));
    } else {
        more.control("SH", ["SEE ALSO"]).text([bold("cnitool"), roman("(1), which lists environment and exit status")]);
    }
    more.to_writer(&mut page)?;
    Ok(page)
}

/// A section of terms with their explanations.
fn entries<'t>(roff: &mut Roff, title: &str, entries: impl Iterator<Item = (String, &'t str)>) {
    roff.control("SH", [title]);
    for (term, text) in entries {
        roff.control("TP", []).text([bold(term)]).text([roman(text)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_what_help_has() {
        let page = String::from_utf8(page(&visible()).unwrap()).unwrap();
        for part in [".SH NAME", ".SH ENVIRONMENT", "NETCONFPATH", ".SH \"EXIT STATUS\"", "cnitool\\-trace(1)"] {
            assert!(page.contains(part), "no {part} in {page}");
        }
        assert!(!page.contains("try\\-kernel"), "what is hidden stays hidden");
    }

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = visible();
        command.build();
        write_pages(&command, dir.path()).unwrap();
        for page in ["cnitool.1", "cnitool-add.1", "cnitool-trace-del.1", "cnitool-overlay-explain.1"] {
            assert!(dir.path().join(page).exists(), "no {page}");
        }
    }
}
