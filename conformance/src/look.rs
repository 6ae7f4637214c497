//! What there is in a place: lines of a snapshot, a file, the output of a command.

use libcni::netns::Netns;
use linuxnet::snapshot::Source;

use crate::node::NodeError;
use crate::step::Look;

/// Whether what a case looks for is there.
///
/// # Errors
/// What should be there, and what is instead.
pub(crate) fn find(netns: &Netns, look: &Look) -> Result<Result<(), String>, NodeError> {
    let snapshot = Source::open_in(netns)?.take()?;
    let of_kind = snapshot.entries().iter().filter(|entry| entry.kind.as_str() == look.kind);
    let on_link = of_kind.filter(|entry| look.dev.is_none() || look.dev == entry.dev);
    let lines: Vec<&str> = on_link.map(|entry| entry.text.as_str()).collect();
    let found = lines.iter().filter(|line| look.says.iter().all(|words| has_words(line, words))).count();
    let is_right = match look.count {
        Some(count) => found == count,
        None => found > 0,
    };
    if is_right {
        return Ok(Ok(()));
    }
    let wanted = look.count.map_or("some".to_owned(), |count| count.to_string());
    let says = look.says.join("\", \"");
    let on = look.dev.as_deref().map(|dev| format!(" on {dev}")).unwrap_or_default();
    let there = if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") };
    Ok(Err(format!("{wanted} {}{on} in {} must say \"{says}\", but {found} do: {there}", look.kind, look.place)))
}

/// Whether `words` stand in `line` next to each other, as words.
fn has_words(line: &str, words: &str) -> bool {
    let split = |text: &str| text.split_whitespace().map(|word| word.trim_end_matches(':').to_owned()).collect();
    let (line, words): (Vec<String>, Vec<String>) = (split(line), split(words));
    words.is_empty() || line.windows(words.len()).any(|part| part == words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole_and_in_order() {
        let line = "default via 10.88.0.1 dev eth0";
        assert!(has_words(line, "via 10.88.0.1") && has_words(line, "eth0") && has_words("eth0: veth up", "eth0"));
        assert!(!has_words(line, "via 10.88.0.11") && !has_words(line, "10.88.0.1 via") && !has_words(line, "eth"));
    }
}
