//! A trace for people.

use std::fmt::Write;

use libcni::plugin::Verb;
use linuxnet::snapshot::Change;
use serde_json::Value;

use super::fit;
use super::record::{Ipam, Record, Recorded};
use super::waterfall::{milliseconds, waterfall};
use crate::terminal::{Screen, Tone, wrap};

/// What the parts of a call are indented by, and what stands below their heads.
const PART: usize = 3;
const BODY: usize = 5;

/// What is only counted, and what is not seen at all.
const LOOKED_AT: &str = "The kernel's own are the table local, addresses of lo, link-local addresses and their routes.";
const NOT_LOOKED_AT: &str = "Not looked at: sysctls, files, rules of iptables-legacy.";

/// The whole trace.
pub(super) fn text(record: &Record, verb: Verb, network: &str, screen: Screen) -> String {
    let mut page = Page { screen, text: String::new() };
    page.line(0, Tone::Heading, &format!("{} of network \"{network}\"", verb.as_str()));
    if let Some(first) = record.calls.first() {
        for (key, value) in first.env.iter().filter(|(key, _)| *key != "CNI_COMMAND") {
            page.line(PART, Tone::Plain, &format!("{key}={value}"));
        }
    }
    let mut results: Vec<(Value, String)> = Vec::new();
    for (at, call) in record.calls.iter().enumerate() {
        page.call(at + 1, call, verb, &mut results);
    }
    page.gap();
    page.line(0, Tone::Heading, "Time");
    page.text += &waterfall(record, screen);
    page.line(2, Tone::Dim, &format!("What is under no bar is cnitool's own. {LOOKED_AT}"));
    let looked = milliseconds(record.looking);
    page.line(2, Tone::Dim, &format!("Looking at the kernel took {looked} besides. {NOT_LOOKED_AT}"));
    for problem in &record.problems {
        page.line(0, Tone::Warning, &format!("  {problem}"));
    }
    page.text
}

struct Page {
    screen: Screen,
    text: String,
}

impl Page {
    fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A line; where it does not fit it goes on below, further in.
    fn line(&mut self, indent: usize, tone: Tone, text: &str) {
        let text = printable(text);
        let lines = match self.screen.width {
            None => vec![text],
            Some(width) => {
                let room = width.saturating_sub(indent + 2).max(PART);
                let mut lines = wrap(&text, room + 2);
                if lines.len() > 1 {
                    lines = wrap(&text, room);
                }
                lines
            }
        };
        for (at, line) in lines.iter().enumerate() {
            let indent = if at == 0 { indent } else { indent + 2 };
            // Writing to a string does not fail.
            let _ = writeln!(self.text, "{:indent$}{}", "", self.screen.paint(tone, line));
        }
    }

    fn head(&mut self, text: &str) {
        self.line(PART, Tone::Dim, text);
    }

    fn json(&mut self, value: &Value) {
        let room = self.screen.width.map_or(usize::MAX, |width| width.saturating_sub(BODY));
        // Without a width, as for people: a hundred columns.
        for line in fit::lines(value, room.min(if self.screen.width.is_none() { 100 } else { room })) {
            self.line(BODY, Tone::Plain, &line);
        }
    }

    fn call(&mut self, number: usize, call: &Recorded, verb: Verb, results: &mut Vec<(Value, String)>) {
        self.gap();
        let role = if call.verb == verb { "" } else { " (roll-back)" };
        let how = match &call.outcome {
            Ok(_) => self.screen.paint(Tone::Ok, "succeeded").to_string(),
            Err(_) => self.screen.paint(Tone::Error, "failed").to_string(),
        };
        let name = format!("{number}. {} {}{role}", call.plugin_type, call.verb.as_str());
        let name = self.screen.paint(Tone::Heading, name);
        let _ = writeln!(self.text, "{name} {how} after {}", milliseconds(call.took));
        if let Some(path) = &call.path {
            self.line(PART, Tone::Dim, &path.display().to_string());
        }
        self.input(call, results);
        if let Some(ipam) = &call.ipam {
            self.line(PART, Tone::Plain, &delegation(ipam, &call.plugin_type));
        }
        self.outcome(call, results);
        self.changes("on the host", &call.host);
        self.changes("in the container", &call.container);
        if !call.stderr.trim().is_empty() {
            self.head("stderr:");
            call.stderr.trim_end().lines().for_each(|line| self.line(BODY, Tone::Plain, line));
        }
    }

    /// What went in; a result that was shown already is only named.
    fn input(&mut self, call: &Recorded, results: &mut Vec<(Value, String)>) {
        let mut stdin = call.stdin.clone();
        let previous = stdin.as_object_mut().and_then(|members| members.remove("prevResult"));
        self.head("stdin:");
        self.json(&stdin);
        let Some(previous) = previous else { return };
        match results.iter().find(|(result, _)| *result == previous) {
            Some((_, whose)) => self.head(&format!("prevResult: {whose}")),
            None => {
                self.head("prevResult:");
                self.json(&previous);
                results.push((previous, format!("as that of {} {} above", call.plugin_type, call.verb.as_str())));
            }
        }
    }

    fn outcome(&mut self, call: &Recorded, results: &mut Vec<(Value, String)>) {
        match &call.outcome {
            Err(failure) => match &failure.reply {
                Some(reply) => {
                    self.head("error:");
                    self.line(BODY, Tone::Error, &format!("code {}: {}", reply.code, reply.msg));
                    if !reply.details.is_empty() {
                        self.line(BODY, Tone::Plain, &reply.details);
                    }
                }
                None => {
                    self.head("error:");
                    self.line(BODY, Tone::Error, &failure.text);
                }
            },
            Ok(stdout) => match call.result() {
                Some(result) => self.result(call, result, results),
                None if stdout.trim().is_empty() => {}
                None => {
                    self.head("stdout, which is no JSON:");
                    self.line(BODY, Tone::Warning, stdout.trim_end());
                }
            },
        }
    }

    fn result(&mut self, call: &Recorded, result: Value, results: &mut Vec<(Value, String)>) {
        match results.iter().find(|(known, _)| *known == result) {
            Some((_, whose)) => self.head(&format!("result: {whose}, unchanged")),
            None => {
                self.head("result:");
                self.json(&result);
                results.push((result, format!("the result of {}", call.plugin_type)));
            }
        }
    }

    /// What is different; what the kernel did of itself is only counted.
    fn changes(&mut self, place: &str, changes: &[Change]) {
        let automatic = changes.iter().filter(|change| change.is_automatic()).count();
        let of_kernel = format!("{automatic} of the kernel's own");
        if automatic == changes.len() {
            if automatic > 0 {
                self.head(&format!("{place}: {of_kernel}"));
            }
            return;
        }
        self.head(&format!("{place}:"));
        for change in changes.iter().filter(|change| !change.is_automatic()) {
            let tone = match change {
                Change::Added(_) => Tone::Ok,
                Change::Changed(..) => Tone::Warning,
                Change::Removed(_) => Tone::Error,
            };
            self.line(BODY, tone, &change.to_string());
        }
        if automatic > 0 {
            self.line(BODY, Tone::Dim, &format!("and {of_kernel}"));
        }
    }
}

fn delegation(ipam: &Ipam, caller: &str) -> String {
    let name = &ipam.plugin_type;
    if ipam.is_same_file {
        return format!(
            "ipam: {name}, called by {caller} in its own process (one executable): its time is in {caller}'s"
        );
    }
    match &ipam.path {
        Some(path) => format!("ipam: {name}, run by {caller} ({}): its time is in {caller}'s", path.display()),
        None => format!("ipam: {name}, which is not in CNI_PATH"),
    }
}

/// Without what would steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
