//! What a page shows of a terminal is done, and its output compared.
//!
//! A line that begins with `$ ` is a command; the lines below it are what it prints. `…` stands for any text of a line,
//! a line that is `…` alone for any lines, white space for any white space. Of a command without output nothing is
//! compared but that it succeeds.

use std::process::Command;

use ferrule_tests::Node;

use crate::page::Page;

/// A command and the output that the page shows.
#[derive(Debug, Default)]
struct Step {
    command: String,
    shown: Vec<String>,
}

fn steps(page: &Page) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in page.fences("console").iter().flat_map(|fence| fence.lines()) {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
            (None, Some(step)) => step.shown.push(line.to_owned()),
            (None, None) => panic!("{}: output before the first command: {line}", page.path.display()),
        }
    }
    steps
}

/// Does what the page's terminal shows on the host of `node`, in one shell, with a `/run/netns` and a `/var/lib/cni` of
/// its own; before it what `preparation`, a shell script, says.
///
/// # Panics
/// If a command fails or prints something else.
pub(crate) fn run(page: &Page, node: &Node, preparation: &str) {
    let steps = steps(page);
    assert!(!steps.is_empty(), "{} shows no command", page.path.display());
    let mut script = String::from(
        "for dir in /run/netns /run/cni /run/flannel /var/lib/cni; do mkdir -p $dir && mount -t tmpfs tmpfs $dir; done\n",
    );
    script += preparation;
    for step in &steps {
        script += &format!("\nprintf '\\001'\n{}\nprintf '\\002%s' $?\n", step.command);
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-uc", &script]).env("CNI_PATH", node_binaries());
    command.env("NETCONFPATH", conflists(page, node)).env("PATH", path(node));
    // As wide as the book's pages.
    command.env("COLUMNS", "100").current_dir(node.dir());
    let output = node.host.run(|| command.output()).expect("unshare");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut printed = stdout.split('\u{1}').skip(1);
    for step in &steps {
        let (text, code) = printed.next().and_then(|rest| rest.split_once('\u{2}')).unwrap_or_default();
        let place = format!("{}: {}", page.path.display(), step.command);
        assert_eq!(code.trim(), "0", "{place}: exit code\n{text}\n{stderr}");
        let lines: Vec<&str> = text.lines().collect();
        let shown: Vec<&str> = step.shown.iter().map(|line| line.trim()).collect();
        assert!(shown.is_empty() || is_like(&lines, &shown), "{place} prints\n{text}\nand not\n{}", shown.join("\n"));
    }
}

/// Has `cnitool validate` look at each list of the page: it finds nothing.
///
/// # Panics
/// If it does, be it a warning.
pub(crate) fn validate(page: &Page, node: &Node) {
    let dir = conflists(page, node);
    for list in page.conflists() {
        let file = dir.join(format!("{}.conflist", list["name"].as_str().expect("a name")));
        let mut command = Command::new(node_binaries().join("cnitool"));
        command.args(["validate", "--strict"]).arg(file).env("CNI_PATH", node_binaries());
        let output = node.host.run(|| command.output()).expect("cnitool");
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{}: {said}", page.path.display());
    }
}

fn node_binaries() -> std::path::PathBuf {
    ferrule_tests::Binaries::ours().expect("FERRULE_BIN_DIR").dir().to_owned()
}

/// With `cnitool`.
fn path(node: &Node) -> String {
    format!("{}:{}", node_binaries().display(), node.program_path())
}

/// A directory with the page's lists, as they stand there.
#[expect(clippy::disallowed_methods, reason = "a file of the test")]
fn conflists(page: &Page, node: &Node) -> std::path::PathBuf {
    let dir = node.dir().join("net.d");
    std::fs::create_dir_all(&dir).expect("directory");
    for (text, list) in page.fences("json").iter().zip(page.conflists()) {
        let name = list["name"].as_str().expect("a name");
        std::fs::write(dir.join(format!("{name}.conflist")), text).expect("conflist");
    }
    dir
}

/// Whether these lines are as a page shows them.
fn is_like(lines: &[&str], shown: &[&str]) -> bool {
    let begin_like = |lines: &[&str], shown: &[&str]| {
        shown.len() <= lines.len() && lines.iter().zip(shown).all(|(l, s)| line_is_like(l, s))
    };
    let parts: Vec<&[&str]> = shown.split(|line| *line == "…").collect();
    let [first, middle @ .., last] = &parts[..] else { return lines.len() == shown.len() && begin_like(lines, shown) };
    if !begin_like(lines, first) {
        return false;
    }
    let mut rest = &lines[first.len()..];
    for part in middle {
        // Where one part begins as early as it can, there is the most room for the others.
        let Some(start) = (0..=rest.len()).find(|start| begin_like(&rest[*start..], part)) else { return false };
        rest = &rest[start + part.len()..];
    }
    last.len() <= rest.len() && begin_like(&rest[rest.len() - last.len()..], last)
}

fn line_is_like(line: &str, shown: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, shown) = (words(line), words(shown));
    let pieces: Vec<&str> = shown.split('…').map(str::trim).collect();
    let [first, .., last] = pieces[..] else { return line == shown };
    let Some(rest) = line.strip_prefix(first) else { return false };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    for piece in &pieces[1..pieces.len() - 1] {
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    true
}

#[test]
fn an_ellipsis_stands_for_anything_and_the_rest_for_itself() {
    assert!(line_is_like("eth0@if7   UP  10.88.0.2/16 fe80::1/64", "eth0@… UP 10.88.0.2/16 …"));
    assert!(line_is_like("eth0@if7   UP  10.88.0.2/16", "eth0@… UP 10.88.0.2/16 …"));
    assert!(!line_is_like("eth0@if7   UP  10.88.0.3/16", "eth0@… UP 10.88.0.2/16 …"));
    assert!(!line_is_like("4096", "4095"));
    assert!(is_like(&["a", "b", "c"], &["…", "c"]) && is_like(&["c"], &["…", "c"]) && is_like(&["a"], &["a", "…"]));
    assert!(!is_like(&["a", "c", "d"], &["…", "c"]) && !is_like(&["a"], &["a", "b"]) && !is_like(&["a", "b"], &["a"]));
}
