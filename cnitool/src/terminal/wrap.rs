//! Breaking of long lines.

/// A line may end behind one of these where there is no space: paths, lists, addresses.
const BREAKS: [char; 5] = ['/', ',', ';', ':', '-'];

/// The lines of `text`, none longer than `width` (at least 1) characters: broken at spaces, else behind punctuation, else
/// anywhere, so that nothing is lost but spaces. What follows the indentation of a line is indented as it is.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    text.split('\n').flat_map(|line| wrap_line(line, width.max(1))).collect()
}

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    let body = line.trim_start_matches(' ');
    let indent = line.len() - body.len();
    // With no room left the indentation goes.
    let (indent, room) = if indent < width { (indent, width - indent) } else { (0, width) };
    let mut lines = Vec::new();
    let mut rest = body;
    loop {
        let (head, tail) = split(rest, room);
        lines.push(format!("{:indent$}{head}", ""));
        if tail.is_empty() {
            return lines;
        }
        rest = tail;
    }
}

/// The most of `text` that fits into `width` characters, and what is left.
fn split(text: &str, width: usize) -> (&str, &str) {
    let Some((end, next)) = text.char_indices().nth(width) else { return (text, "") };
    let (fitting, _) = text.split_at(end);
    let at_space = if next == ' ' { Some(end) } else { fitting.rfind(' ') };
    let behind_break = || fitting.rfind(BREAKS).map(|at| at + 1);
    let at = at_space.filter(|at| *at > 0).or_else(behind_break).unwrap_or(end);
    let (head, tail) = text.split_at(at);
    (head.trim_end_matches(' '), tail.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_then_behind_punctuation_then_anywhere() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("/run/netns/web", 8), ["/run/", "netns/", "web"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("exactly ten", 11), ["exactly ten"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn lines_and_indentation_of_the_text_stay() {
        assert_eq!(wrap("a b\n  c d e", 5), ["a b", "  c d", "  e"]);
        assert_eq!(wrap("      x y", 4), ["x y"]);
    }

    #[test]
    fn characters_count_not_bytes() {
        assert_eq!(wrap("äöü äöü", 3), ["äöü", "äöü"]);
    }
}
