//! A document against a JSON Schema: as much of JSON Schema as the schemas of `schemas/` use, and the formats that
//! they name. Unlike a validator it reads keys in any case, as plugins do, and takes `null` for "not given".

use serde_json::{Map, Value};

use crate::validate::document::{Kind, Member, Node};
use crate::validate::finding::Finding;
use crate::validate::format;
use crate::validate::near::{did_you_mean, nearest};
use crate::validate::rules::keys::{self, is_comment};

/// A schema, or a part of one.
type Schema = Map<String, Value>;

/// A place where keys belong.
pub(crate) struct Home {
    words: &'static str,
    keys: Vec<String>,
}

impl Home {
    /// The place of the keys of `schema`, which is called `words`.
    pub(crate) fn of(words: &'static str, schema: &Schema) -> Self {
        let properties = schema.get("properties").and_then(Value::as_object);
        Self { words, keys: properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default() }
    }

    /// The place of these keys.
    pub(crate) fn of_keys(words: &'static str, keys: &[&str]) -> Self {
        Self { words, keys: keys.iter().map(|key| (*key).to_owned()).collect() }
    }

    fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|own| own.eq_ignore_ascii_case(key))
    }
}

/// Looks at the documents of one file.
pub(crate) struct Checker<'c> {
    /// The index of the file.
    pub(crate) file: usize,
    /// Where a key may belong that is not known where it stands.
    pub(crate) homes: Vec<Home>,
    pub(crate) findings: &'c mut Vec<Finding>,
}

impl Checker<'_> {
    /// The value `node` of the key `key`.
    pub(crate) fn value(&mut self, key: &str, node: &Node, schema: &Schema) {
        if matches!(node.kind, Kind::Null) || !self.is_of_type(key, node, schema) {
            return;
        }
        match &node.kind {
            Kind::Object(_) => self.object(key, node, schema),
            Kind::List(items) => {
                self.length(key, node, items.len(), schema);
                if let Some(Value::Object(schema)) = schema.get("items") {
                    items.iter().for_each(|item| self.value(key, item, schema));
                }
            }
            _ => self.scalar(key, node, schema),
        }
    }

    /// The members of an object; those that the schema does not know are told, unless it allows them.
    pub(crate) fn object(&mut self, key: &str, node: &Node, schema: &Schema) {
        self.required(key, node, schema, |name| node.has(name));
        let empty = Schema::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        for member in node.members() {
            let found = properties.get_key_value(&member.key);
            let found = found.or_else(|| properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(&member.key)));
            match (found, schema.get("additionalProperties")) {
                (Some((name, Value::Object(schema))), _) => {
                    self.case(name, member);
                    self.value(name, &member.value, schema);
                }
                (Some(_), _) | (None, Some(Value::Bool(true))) => {}
                (None, Some(Value::Object(schema))) => self.value(&member.key, &member.value, schema),
                (None, _) => self.unknown(key, member, properties),
            }
        }
    }

    fn required(&mut self, key: &str, node: &Node, schema: &Schema, is_there: impl Fn(&str) -> bool) {
        let names = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for name in names.iter().filter_map(Value::as_str).filter(|name| !is_there(name)) {
            let of = if key.is_empty() { String::new() } else { format!(" of `{key}`") };
            let problem = format!("the key `{name}`{of} is missing");
            let about = description(schema.get("properties").and_then(|properties| properties.get(name)));
            let cure = format!("add \"{name}\"{}", about.map(|about| format!(": {about}")).unwrap_or_default());
            self.add(Finding::new(&keys::MISSING, self.file, &node.opening(), problem).cure(cure));
        }
    }

    fn case(&mut self, name: &str, member: &Member) {
        if member.key != name {
            let problem = format!("`{}` is read as `{name}`", member.key);
            let cure = format!("write \"{name}\"");
            self.add(Finding::new(&keys::CASE, self.file, &member.key_span, problem).cure(cure));
        }
    }

    /// The keys of a network: in the exact case, and of those that are not known only what looks like a slip is told.
    pub(crate) fn head(&mut self, node: &Node, schema: &Schema) {
        self.required("", node, schema, |name| node.exact(name).is_some_and(|value| value.text() != Some("")));
        let empty = Schema::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        for member in node.members() {
            if let Some(Value::Object(schema)) = properties.get(&member.key) {
                self.value(&member.key, &member.value, schema);
                continue;
            }
            let is_slip = nearest(&member.key, properties.keys().map(String::as_str)).is_some();
            if is_slip || self.homes.iter().any(|home| home.has(&member.key)) {
                self.unknown("", member, properties);
            }
        }
    }

    fn unknown(&mut self, key: &str, member: &Member, properties: &Schema) {
        if is_comment(&member.key) {
            return;
        }
        let of = if key.is_empty() { String::new() } else { format!(" in `{key}`") };
        let home = self.homes.iter().find(|home| home.has(&member.key));
        if let Some(home) = home {
            let problem = format!("`{}`{of} is read by nobody", member.key);
            let cure = format!("`{}` belongs in {}", member.key, home.words);
            return self.add(Finding::new(&keys::MISPLACED, self.file, &member.key_span, problem).cure(cure));
        }
        let problem = format!("`{}`{of} is a key that nobody knows", member.key);
        let cure = did_you_mean(&member.key, properties.keys().map(String::as_str));
        self.add(Finding::new(&keys::UNKNOWN, self.file, &member.key_span, problem).perhaps(cure));
    }

    fn is_of_type(&mut self, key: &str, node: &Node, schema: &Schema) -> bool {
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        let is = |name: &str| match (&node.kind, name) {
            (Kind::Number(number), "integer") => number.is_u64() || number.is_i64(),
            (Kind::Bool(_), "boolean") | (Kind::Number(_), "number") | (Kind::Text(_), "string") => true,
            (Kind::List(_), "array") | (Kind::Object(_), "object") => true,
            _ => false,
        };
        if types.iter().any(|name| is(name)) {
            return true;
        }
        let is_flag = schema.get("format").is_some_and(|format| format == "flag");
        let words = types.iter().take(if is_flag { 1 } else { types.len() }).map(|name| in_words(name));
        let expected = words.collect::<Vec<_>>().join(" or ");
        let problem = format!("`{key}` is {}, expected {expected}", node.in_words());
        let quoted = types.iter().find_map(|name| unquoted(node, name));
        let cure = quoted.map_or_else(|| format!("write {expected}"), |value| format!("write {value} without quotes"));
        self.add(Finding::new(&keys::TYPE, self.file, &node.opening(), problem).cure(cure));
        false
    }

    fn length(&mut self, key: &str, node: &Node, length: usize, schema: &Schema) {
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let problem = match (bound("minItems"), bound("maxItems")) {
            (Some(least), _) if length < least => format!("`{key}` has {length} entries, at least {least} are needed"),
            (_, Some(most)) if length > most => format!("`{key}` has {length} entries, at most {most} are possible"),
            _ => return,
        };
        self.add(Finding::new(&keys::VALUE, self.file, &node.opening(), problem));
    }

    /// A text, number or boolean. The empty text is "not given" where a form is asked for.
    fn scalar(&mut self, key: &str, node: &Node, schema: &Schema) {
        let problem = match &node.kind {
            Kind::Text(text) if text.is_empty() => None,
            Kind::Text(text) => text_problem(text, schema),
            Kind::Number(number) => number_problem(&Value::Number(number.clone()), schema),
            _ => None,
        };
        let Some((expected, cure)) = problem else { return };
        let written = match &node.kind {
            Kind::Text(text) => format!("{text:?}"),
            Kind::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let problem = format!("`{key}` is {written}, expected {expected}");
        let cure = cure.unwrap_or_else(|| format!("write {expected}"));
        self.add(Finding::new(&keys::VALUE, self.file, &node.span, problem).cure(cure));
    }

    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

/// What was expected, and what may have been meant.
type Problem = (String, Option<String>);

fn text_problem(text: &str, schema: &Schema) -> Option<Problem> {
    if let Some(Value::Array(values)) = schema.get("enum") {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).filter(|value| !value.is_empty()).collect();
        let expected = || one_of(&values);
        return (!values.contains(&text)).then(|| (expected(), did_you_mean(text, values.iter().copied())));
    }
    if let Some(Value::String(name)) = schema.get("format") {
        return format::problem(name, text).map(|expected| (expected.to_owned(), None));
    }
    let longest = schema.get("maxLength").and_then(Value::as_u64);
    if let Some(longest) = longest.filter(|longest| text.chars().count() as u64 > *longest) {
        return Some((format!("at most {longest} characters"), None));
    }
    let pattern = schema.get("pattern").and_then(Value::as_str)?;
    let fits = regex_lite::Regex::new(pattern).map_or(true, |pattern| pattern.is_match(text));
    (!fits).then(|| (format!("a text that matches {pattern}"), None))
}

fn number_problem(number: &Value, schema: &Schema) -> Option<Problem> {
    let as_float = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    let value = number.as_f64()?;
    let (least, most) = (as_float("minimum"), as_float("maximum"));
    if least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most) {
        return None;
    }
    let bound = |keyword: &str| schema.get(keyword).map(ToString::to_string);
    let expected = match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!("a number from {least} to {most}"),
        (Some(least), None) => format!("{least} or more"),
        (_, most) => format!("at most {}", most.unwrap_or_default()),
    };
    Some((expected, None))
}

fn one_of(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

fn in_words(name: &str) -> &'static str {
    match name {
        "integer" => "a whole number",
        "boolean" => "true or false",
        "number" => "a number",
        "string" => "a string",
        "array" => "a list",
        "object" => "an object",
        _ => "something else",
    }
}

/// The value in a string that should be none.
fn unquoted<'t>(node: &'t Node, name: &str) -> Option<&'t str> {
    let text = node.text()?;
    let fits = match name {
        "boolean" => matches!(text, "true" | "false"),
        "integer" => text.parse::<i64>().is_ok(),
        _ => false,
    };
    fits.then_some(text)
}

fn description(schema: Option<&Value>) -> Option<String> {
    let text = schema?.get("description")?.as_str()?;
    let sentence = text.split(['.', ';']).next().unwrap_or(text);
    Some(sentence.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`Checker`] understands, and what only tells people something.
    const KEYWORDS: [&str; 20] = [
        "$id",
        "$schema",
        "additionalProperties",
        "const",
        "default",
        "description",
        "enum",
        "examples",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minimum",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ];

    fn keywords(schema: &Value, path: &str) {
        let Some(object) = schema.as_object() else { return };
        for (keyword, value) in object {
            assert!(KEYWORDS.contains(&keyword.as_str()), "{path}: {keyword} is not understood");
            match keyword.as_str() {
                "properties" => {
                    value
                        .as_object()
                        .unwrap()
                        .iter()
                        .for_each(|(key, value)| keywords(value, &format!("{path}.{key}")));
                }
                "items" | "additionalProperties" => keywords(value, &format!("{path}[]")),
                "pattern" => drop(regex_lite::Regex::new(value.as_str().unwrap()).unwrap()),
                _ => {}
            }
        }
    }

    #[test]
    fn the_schemas_say_nothing_that_is_not_understood() {
        for name in crate::schema::plugin_types() {
            keywords(&Value::Object(crate::schema::plugin(name).unwrap()), name);
        }
        for name in crate::schema::ipam_types() {
            keywords(&Value::Object(crate::schema::ipam(name).unwrap()), name);
        }
        keywords(&Value::Object(crate::schema::network()), "network");
    }
}
