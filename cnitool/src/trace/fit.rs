//! JSON that fits: in one line where there is room, else a line for each member.

use serde_json::Value;

/// What a level of nesting is indented by.
const INDENT: &str = "  ";

/// The lines of `value`, each of at most `width` characters where that can be.
pub(super) fn lines(value: &Value, width: usize) -> Vec<String> {
    broken(value, width, width)
}

/// The same with room for `first` characters if it is one line, as it stands behind its name then.
fn broken(value: &Value, first: usize, width: usize) -> Vec<String> {
    let one = one_line(value);
    if one.chars().count() <= first {
        return vec![one];
    }
    match value {
        Value::Object(members) if !members.is_empty() => {
            let members = members.iter().map(|(key, value)| (format!("{}: ", Value::from(key.as_str())), value));
            nested('{', members, '}', width)
        }
        Value::Array(items) if !items.is_empty() => {
            nested('[', items.iter().map(|item| (String::new(), item)), ']', width)
        }
        _ => vec![one],
    }
}

fn nested<'v>(
    open: char,
    members: impl ExactSizeIterator<Item = (String, &'v Value)>,
    close: char,
    width: usize,
) -> Vec<String> {
    let mut all = vec![open.to_string()];
    let count = members.len();
    // A comma may follow.
    let room = width.saturating_sub(INDENT.len() + 1);
    for (at, (name, value)) in members.enumerate() {
        let lines = broken(value, room.saturating_sub(name.chars().count()), room);
        let last = lines.len().saturating_sub(1);
        for (line, text) in lines.into_iter().enumerate() {
            let name = if line == 0 { name.as_str() } else { "" };
            let comma = if line == last && at + 1 < count { "," } else { "" };
            all.push(format!("{INDENT}{name}{text}{comma}"));
        }
    }
    all.push(close.to_string());
    all
}

/// `{"a": 1, "b": [2, 3]}`.
fn one_line(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members =
                members.iter().map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), one_line(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_stays_in_a_line_and_the_rest_is_broken() {
        let value = json!({"a": [1, 2], "bridge": {"name": "cni0", "mtu": 1500}, "x": "y"});
        let wide = r#"{"a": [1, 2], "bridge": {"mtu": 1500, "name": "cni0"}, "x": "y"}"#;
        assert_eq!(lines(&value, 80), [wide]);
        let medium = ["{", r#"  "a": [1, 2],"#, r#"  "bridge": {"mtu": 1500, "name": "cni0"},"#, r#"  "x": "y""#, "}"];
        assert_eq!(lines(&value, 50), medium);
        let narrow = lines(&value, 20);
        assert_eq!(narrow[2..6], [r#"  "bridge": {"#, r#"    "mtu": 1500,"#, r#"    "name": "cni0""#, "  },"]);
        for width in 0..90 {
            let text = lines(&value, width).concat();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value, "at {width}");
        }
        assert_eq!(lines(&json!({}), 1), ["{}"]);
    }
}
