//! The text that iptables-save prints and iptables-restore reads.

use std::fmt::{self, Write};

/// What `iptables-save` says about one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    chains: Vec<Chain>,
    rules: Vec<Rule>,
}

/// A chain: its name, and what happens at its end, `-` if it is not the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    name: String,
    policy: String,
}

impl Table {
    /// Reads what `iptables-save -t TABLE` printed. Lines that are neither chain nor rule are skipped: iptables
    /// writes warnings there.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let chain = |line: &str| {
            let mut words = line.strip_prefix(':')?.split(' ').map(str::to_owned);
            Some(Chain { name: words.next()?, policy: words.next().unwrap_or_default() })
        };
        let rule = |line: &str| line.strip_prefix("-A ").map(Rule::parse);
        Self { chains: text.lines().filter_map(chain).collect(), rules: text.lines().filter_map(rule).collect() }
    }

    /// Whether there is a chain of this name.
    #[must_use]
    pub fn has_chain(&self, name: &str) -> bool {
        self.chains.iter().any(|chain| chain.name == name)
    }

    /// Whether this chain of the kernel drops what no rule decides about.
    #[must_use]
    pub fn drops_by_policy(&self, name: &str) -> bool {
        self.chains.iter().any(|chain| chain.name == name && chain.policy == "DROP")
    }

    /// The names of all chains, in iptables' order.
    pub fn chains(&self) -> impl Iterator<Item = &str> {
        self.chains.iter().map(|chain| chain.name.as_str())
    }

    /// The rules of one chain, first one first.
    pub fn rules_of<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.chain() == chain)
    }

    /// The rules of all chains.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }
}

/// One rule as iptables wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    text: String,
    words: Vec<String>,
}

impl Rule {
    /// A rule from what follows `-A `: its chain, then its matches and target.
    fn parse(text: &str) -> Self {
        Self { text: text.to_owned(), words: split_words(text) }
    }

    /// The chain it stands in.
    #[must_use]
    pub fn chain(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The value of the option `name` (`-s`, `--dport`). `None` if it is absent or negated (`! -d 224.0.0.0/4`).
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == name)?;
        let negated = at.checked_sub(1).and_then(|before| self.words.get(before)).is_some_and(|word| word == "!");
        if negated { None } else { self.words.get(at + 1).map(String::as_str) }
    }

    /// Where it leads: a chain, `ACCEPT`, `MASQUERADE`.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.option("-j")
    }

    /// Its comment, without quotes.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.option("--comment")
    }
}

impl fmt::Display for Rule {
    /// `-A CHAIN …`, as iptables-save prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-A {}", self.text)
    }
}

/// Splits a line into words as iptables-restore does: at spaces, but not between double quotes, where a backslash
/// makes the next character an ordinary one.
fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(characters.next()),
            c if c.is_ascii_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// `word` as iptables-restore reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,!@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from('"');
    for c in word.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

/// A change of one table, to be made whole or not at all by `iptables-restore --noflush`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    chains: String,
    commands: String,
}

impl Batch {
    /// Makes a chain, or empties it if it is there (`--noflush` spares only chains that are not named). Chains are
    /// made before all else.
    pub fn reset_chain(&mut self, chain: &str) {
        line(&mut self.chains, format_args!(":{chain} - [0:0]"));
    }

    /// Appends a rule of these words to a chain.
    pub fn append<'a>(&mut self, chain: &str, words: impl IntoIterator<Item = &'a str>) {
        self.command("-A", chain, words);
    }

    /// Puts a rule of these words at the head of a chain.
    pub fn insert<'a>(&mut self, chain: &str, words: impl IntoIterator<Item = &'a str>) {
        self.command("-I", chain, words);
    }

    /// Deletes a rule that is there. If it is gone by then, the whole batch fails.
    pub fn delete(&mut self, rule: &Rule) {
        line(&mut self.commands, format_args!("-D {}", rule.text));
    }

    /// Removes a chain and its rules. The rules that lead to it must be deleted before.
    pub fn remove_chain(&mut self, chain: &str) {
        self.reset_chain(chain);
        line(&mut self.commands, format_args!("-X {chain}"));
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.commands.is_empty()
    }

    /// What iptables-restore reads.
    #[must_use]
    pub fn text(&self, table: &str) -> String {
        format!("*{table}\n{}{}COMMIT\n", self.chains, self.commands)
    }

    fn command<'a>(&mut self, verb: &str, chain: &str, words: impl IntoIterator<Item = &'a str>) {
        let mut text = format!("{verb} {chain}");
        for word in words {
            text.push(' ');
            text.push_str(&quoted(word));
        }
        line(&mut self.commands, format_args!("{text}"));
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{content}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What iptables-save v1.8.9 (nf_tables) prints after the reference's bridge and portmap.
    const SAVED: &str = include_str!("../../tests/fixtures/iptables-save-1.8.9-go-bridge-portmap.txt");

    #[test]
    fn a_save_is_read() {
        let table = Table::parse(SAVED);
        assert!(table.has_chain("POSTROUTING") && table.has_chain("CNI-HOSTPORT-DNAT"));
        assert!(!table.has_chain("CNI-HOSTPORT"));
        let jump = table.rules_of("POSTROUTING").find(|rule| rule.option("-s").is_some()).unwrap();
        assert_eq!(jump.option("-s"), Some("10.1.0.2/32"));
        assert_eq!(jump.comment(), Some("name: \"net\" id: \"c1\""));
        let chain = jump.target().unwrap();
        assert_eq!(chain, crate::tag::chain_name("", &"net".parse().unwrap(), &"c1".parse().unwrap()));
        let targets: Vec<_> = table.rules_of(chain).map(Rule::target).collect();
        assert_eq!(targets, [Some("ACCEPT"), Some("MASQUERADE")]);
        let masquerade = table.rules_of(chain).nth(1).unwrap();
        assert_eq!(masquerade.option("-d"), None, "negated");
        assert_eq!(table.rules().count(), SAVED.lines().filter(|l| l.starts_with("-A")).count());
    }

    #[test]
    fn a_batch_makes_chains_first() {
        let table = Table::parse(SAVED);
        let jump = table.rules_of("POSTROUTING").find(|rule| rule.option("-s").is_some()).unwrap();
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        batch.delete(jump);
        batch.remove_chain("CNI-old");
        batch.reset_chain("CNI-new");
        batch.append("CNI-new", ["!", "-d", "224.0.0.0/4", "-m", "comment", "--comment", r#"a "b" \c"#]);
        batch.insert("POSTROUTING", ["-s", "10.0.0.1", "-j", "CNI-new"]);
        assert_eq!(batch.text("nat"), include_str!("../../tests/fixtures/iptables-restore-batch.txt"));
    }

    #[test]
    fn words_are_read_back_as_they_were_written() {
        for word in ["-s", "10.0.0.1/8", "!", "a b", "", "\"", "\\", "it's", "name: \"x\" id: \"y\"", "ü", "#a"] {
            assert_eq!(split_words(&quoted(word)), [word]);
            assert_eq!(split_words(&format!("a {} b", quoted(word))), ["a", word, "b"]);
        }
    }
}
