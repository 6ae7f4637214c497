//! What `--help` and the manual say besides the commands: the environment, and the exit codes.

use std::fmt::Write;

use libcni::plugin::Env;

use crate::error;
use crate::terminal::{Screen, wrap};

/// The widest that help is, in columns.
pub(crate) const HELP_COLUMNS: usize = 100;

/// The variables that cnitool reads.
pub(crate) const ENVIRONMENT: [(&str, &str); 8] = [
    ("NETCONFPATH", "directory of network configurations (default /etc/cni/net.d)"),
    ("CNI_PATH", "directories of plugins, joined by `:` (default for `doctor` and `validate`: /opt/cni/bin)"),
    ("CNI_ARGS", "arguments for the plugins, K=V;K2=V2"),
    ("CAP_ARGS", "values for capabilities, a JSON object such as {\"portMappings\": [...]}"),
    ("CNI_IFNAME", "interface name, where --ifname is not given (default eth0)"),
    ("CNI_CACHE_DIR", "where attachments are remembered, where --cache-dir is not given (default /var/lib/cni)"),
    ("COLUMNS", "the width of tables and messages (default: the terminal's, without limit in a file)"),
    ("NO_COLOR", "no colour; CLICOLOR_FORCE=1: colour also where there is no terminal"),
];

/// What becomes of the others.
pub(crate) const PASSED_ON: &str = "TRACEPARENT, TRACESTATE, BAGGAGE and everything else are passed on to the plugins.";

/// The exit codes of all commands.
pub(crate) const EXIT_CODES: [(u8, &str); 7] = [
    (error::OK, "done"),
    (
        error::PLUGIN_FAILED,
        "a plugin failed; its code, message and causes are on stderr. conformance: a plugin does not do what it MUST",
    ),
    (error::USAGE, "the command line is wrong"),
    (
        error::CONFIGURATION,
        "the configuration is: no such network, a malformed file or variable, a missing plugin, a version. validate: it found \
         an error. show: nothing is called so",
    ),
    (
        error::STATE,
        "what was attached cannot be remembered or recalled (the cache directory), a file cannot be written, or output \
         failed; the kernel cannot be asked. conformance: no namespaces can be made, or a trial could not be finished",
    ),
    (
        error::NOT_READY,
        "status: the network is not ready (codes 50 and 51); overlay status: this node is not, or overlayd does not answer",
    ),
    (error::NOT_WELL, "overlay diff, overlay explain, doctor: something is not as it should be"),
];

/// Both as text below the help, as wide as the terminal.
pub(crate) fn below_help() -> String {
    let screen = Screen::of(&std::io::stdout(), clap::ColorChoice::Never, &Env::of_process());
    text(screen.width.unwrap_or(HELP_COLUMNS).min(HELP_COLUMNS))
}

fn text(width: usize) -> String {
    let mut text = String::from("Environment:\n");
    let entries = ENVIRONMENT.map(|(name, about)| (name.to_owned(), about));
    list(&mut text, &entries, width);
    // Writing to a string does not fail.
    let _ = writeln!(text, "  {}", wrap(PASSED_ON, width.saturating_sub(2)).join("\n  "));
    text.push_str("\nExit codes:\n");
    list(&mut text, &EXIT_CODES.map(|(code, about)| (code.to_string(), about)), width);
    text.trim_end().to_owned()
}

/// Terms with what they mean beside them.
fn list(text: &mut String, entries: &[(String, &str)], width: usize) {
    let term_width = entries.iter().map(|(term, _)| term.len()).max().unwrap_or_default();
    let indent = term_width + 4;
    for (term, about) in entries {
        let lines = wrap(about, width.saturating_sub(indent)).join(&format!("\n{:indent$}", ""));
        let _ = writeln!(text, "  {term:<term_width$}  {lines}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_and_names_every_code_once() {
        for width in [60, 80, HELP_COLUMNS] {
            let text = text(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
        let codes: Vec<u8> = EXIT_CODES.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6]);
        let expected = "  2  the command line is wrong\n  3  the configuration is: no such network";
        assert!(text(80).contains(expected), "{}", text(80));
    }
}
