//! What operators wrote, before anybody has looked at it: values by the path of their key, each with its place.
//!
//! A TOML file, flannel's `net-conf.json`, flags and environment variables all become [`Settings`]; who reads them asks
//! for keys by type, and every error says where the value stands, what it is, and what was expected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use libcni::json::{self, SyntaxError};
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

/// What is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingError {
    /// It is no TOML or JSON.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("{place}: invalid value {value}, expected {expected}")]
    Value { place: Place, value: String, expected: String },
    #[error("{place}: unknown key{hint}")]
    Unknown { place: Place, hint: String },
    #[error("{key}: missing, expected {expected}")]
    Missing { key: String, expected: String },
    /// Two settings that exclude each other, or one that needs another.
    #[error("{place}: {problem}")]
    Conflict { place: Place, problem: String },
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A key of the file.
    Key { line: Option<usize>, path: String },
    /// A flag, with its dashes, or an environment variable.
    Named(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { line: Some(line), path } => write!(f, "line {line}: {path}"),
            Self::Key { line: None, path } => f.write_str(path),
            Self::Named(name) => f.write_str(name),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Leaf {
    place: Place,
    value: Value,
}

/// Values by the path of their key, such as `store.etcd.prefix`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    leaves: BTreeMap<String, Leaf>,
    /// The tables, which may be empty.
    tables: BTreeSet<String>,
    /// What was asked for; the rest is unknown.
    known: BTreeSet<&'static str>,
    /// Keys match in any case, as Go reads JSON.
    any_case: bool,
    /// What stands before every key of a table that was taken out, such as `network.`.
    root: &'static str,
}

impl Settings {
    /// Reads a TOML document.
    ///
    /// # Errors
    /// [`SettingError::Syntax`]
    pub(crate) fn of_toml(text: &str) -> Result<Self, SettingError> {
        let table = DeTable::parse(text).map_err(|e| {
            let (line, column) = position(text, e.span().map_or(0, |span| span.start));
            SyntaxError { line, column, problem: e.message().replace('\n', ", ") }
        })?;
        let mut settings = Self::default();
        settings.take_toml(text, "", table.get_ref());
        Ok(settings)
    }

    /// Reads a JSON object whose keys may be in any case; `null` is as no value, and the last of duplicate keys wins.
    ///
    /// # Errors
    /// [`SettingError::Syntax`], or [`SettingError::Value`] if it is no object.
    pub(crate) fn of_json(text: &[u8]) -> Result<Self, SettingError> {
        let mut settings = Self { any_case: true, ..Self::default() };
        match json::parse(text)? {
            Value::Object(object) => settings.take_json("", &object),
            other => return Err(invalid(at(None, "the document"), &other, "an object")),
        }
        Ok(settings)
    }

    /// Takes out what is under the table `root`, such as `network.`, whose keys match in any case.
    pub(crate) fn take_table(&mut self, root: &'static str) -> Self {
        let inside = |path: &str| path.strip_prefix(root).map(str::to_owned);
        let leaves = std::mem::take(&mut self.leaves).into_iter();
        let mut taken = Self { any_case: true, root, ..Self::default() };
        for (path, leaf) in leaves {
            match inside(&path) {
                Some(rest) => taken.leaves.insert(rest, leaf),
                None => self.leaves.insert(path, leaf),
            };
        }
        taken.tables.extend(self.tables.iter().filter_map(|path| inside(path)));
        taken
    }

    /// Sets `path` as the flag or variable `name` says, in place of what is there.
    pub(crate) fn set(&mut self, path: &str, name: &str, value: Value) {
        self.leaves.insert(path.to_owned(), Leaf { place: Place::Named(name.to_owned()), value });
    }

    /// Removes what is under the table `path`.
    pub(crate) fn remove_table(&mut self, path: &str) {
        let within = |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.leaves.retain(|key, _| !within(key));
        self.tables.retain(|key| !within(key));
    }

    /// Makes the table `path`, if only an empty one.
    pub(crate) fn add_table(&mut self, path: &str) {
        self.tables.insert(path.to_owned());
    }

    /// Whether the table `path` is there, if only an empty one.
    pub(crate) fn has_table(&self, path: &str) -> bool {
        self.tables.contains(path)
    }

    /// Where `path` was set, if it was.
    pub(crate) fn place(&self, path: &str) -> Option<Place> {
        self.find(path).map(|leaf| leaf.place.clone())
    }

    /// # Errors
    /// [`SettingError::Value`], as all that follow.
    pub(crate) fn text(&mut self, path: &'static str, expected: &str) -> Result<Option<String>, SettingError> {
        self.parsed(path, expected, |text| Some(text.to_owned()))
    }

    /// A string that `parse` understands.
    pub(crate) fn parsed<T>(
        &mut self,
        path: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        self.value(path, expected, |value| value.as_str().and_then(&parse))
    }

    /// As [`Settings::parsed`], but no error quotes the value.
    pub(crate) fn secret<T>(
        &mut self,
        path: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        self.parsed(path, expected, parse).map_err(|e| match e {
            SettingError::Value { place, expected, .. } => {
                SettingError::Value { place, value: "(not shown)".to_owned(), expected }
            }
            other => other,
        })
    }

    /// A list of strings that `parse` understands; a single string is a list of one.
    pub(crate) fn list<T>(
        &mut self,
        path: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, SettingError> {
        self.known.insert(path);
        let Some(Leaf { place, value }) = self.find(path) else { return Ok(None) };
        let items = match value {
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let read = |item: &Value| item.as_str().and_then(&parse).ok_or_else(|| invalid(place.clone(), item, expected));
        items.iter().map(read).collect::<Result<_, _>>().map(Some)
    }

    /// A whole number.
    pub(crate) fn number<T: TryFrom<u64>>(
        &mut self,
        path: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<T>, SettingError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.value(path, &expected, |value| {
            let number = value.as_u64().filter(|number| range.contains(number))?;
            T::try_from(number).ok()
        })
    }

    pub(crate) fn boolean(&mut self, path: &'static str) -> Result<Option<bool>, SettingError> {
        self.value(path, "true or false", Value::as_bool)
    }

    /// Whether the fault is in a flag or variable, not in the file.
    pub(crate) fn is_set_by_name(error: &SettingError) -> bool {
        match error {
            SettingError::Value { place, .. }
            | SettingError::Unknown { place, .. }
            | SettingError::Conflict { place, .. } => {
                matches!(place, Place::Named(_))
            }
            SettingError::Syntax(_) | SettingError::Missing { .. } => false,
        }
    }

    /// The error that `path`, which is set, is not as `expected`.
    pub(crate) fn invalid(&self, path: &str, expected: impl fmt::Display) -> SettingError {
        match self.find(path) {
            Some(leaf) => invalid(leaf.place.clone(), &leaf.value, &expected.to_string()),
            None => SettingError::Missing { key: format!("{}{path}", self.root), expected: expected.to_string() },
        }
    }

    /// The error that `path` cannot be as it is, in other words.
    pub(crate) fn conflict(&self, path: &str, problem: impl fmt::Display) -> SettingError {
        let place = self.place(path).unwrap_or_else(|| at(None, path));
        SettingError::Conflict { place, problem: problem.to_string() }
    }

    /// Refuses what nobody has asked for.
    ///
    /// # Errors
    /// [`SettingError::Unknown`]
    pub(crate) fn require_known(&self) -> Result<(), SettingError> {
        let is_known = |path: &str| match self.any_case {
            true => self.known.iter().any(|known| known.eq_ignore_ascii_case(path)),
            false => self.known.contains(path),
        };
        match self.leaves.iter().find(|(path, _)| !is_known(path)) {
            None => Ok(()),
            Some((path, leaf)) => Err(SettingError::Unknown { place: leaf.place.clone(), hint: self.hint(path) }),
        }
    }

    /// The known keys of the same table, or the table that has a key of this name.
    fn hint(&self, path: &str) -> String {
        let split = |path: &'static str| path.rsplit_once('.').unwrap_or(("", path));
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        let siblings: Vec<&str> = self
            .known
            .iter()
            .map(|known| split(known))
            .filter(|(of, _)| of.eq_ignore_ascii_case(table))
            .map(|(_, key)| key)
            .collect();
        let elsewhere = self.known.iter().find(|known| split(known).1 == key);
        match (elsewhere, siblings.is_empty()) {
            (Some(other), _) => format!(" (hint: there is {other})"),
            (None, false) => format!(", expected one of {}", siblings.join(", ")),
            (None, true) => format!(" (hint: there is no table [{table}])"),
        }
    }

    fn value<T>(
        &mut self,
        path: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        self.known.insert(path);
        let Some(leaf) = self.find(path) else { return Ok(None) };
        read(&leaf.value).map(Some).ok_or_else(|| invalid(leaf.place.clone(), &leaf.value, expected))
    }

    fn find(&self, path: &str) -> Option<&Leaf> {
        let in_any_case = || self.leaves.iter().find(|(key, _)| key.eq_ignore_ascii_case(path)).map(|(_, leaf)| leaf);
        self.leaves.get(path).or_else(|| self.any_case.then(in_any_case).flatten())
    }

    fn take_toml(&mut self, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = joined(prefix, key.get_ref());
            if let DeValue::Table(inner) = value.get_ref() {
                self.tables.insert(path.clone());
                self.take_toml(text, &path, inner);
                continue;
            }
            let (line, _) = position(text, key.span().start);
            let place = at(Some(line), &path);
            self.leaves.insert(path, Leaf { place, value: json_of(value.get_ref()) });
        }
    }

    fn take_json(&mut self, prefix: &str, object: &Map<String, Value>) {
        for (key, value) in object {
            let path = joined(prefix, key);
            match value {
                Value::Null => {}
                Value::Object(inner) => {
                    self.tables.insert(path.clone());
                    self.take_json(&path, inner);
                }
                other => {
                    let place = at(None, &path);
                    self.leaves.insert(path, Leaf { place, value: other.clone() });
                }
            }
        }
    }
}

fn at(line: Option<usize>, path: &str) -> Place {
    Place::Key { line, path: path.to_owned() }
}

fn joined(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// Line and column of a byte, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
}

/// The longest value that an error quotes, in characters.
const QUOTED: usize = 100;

fn invalid(place: Place, value: &Value, expected: &str) -> SettingError {
    let mut shown = value.to_string();
    if let Some((cut, _)) = shown.char_indices().nth(QUOTED) {
        shown.truncate(cut);
        shown.push('…');
    }
    SettingError::Value { place, value: shown, expected: expected.to_owned() }
}

/// What is no string, number, boolean or list is shown as it was written; no key is of such a type.
fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(b) => Value::from(*b),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::from(number.to_string()), Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref()))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line_the_key_and_the_value() {
        let mut settings = Settings::of_toml("a = 1\n\n[b]\nc = \"x\"\nd = [\"1\", 2]\ne = 70000\n").unwrap();
        let error = settings.boolean("b.c").unwrap_err();
        assert_eq!(error.to_string(), "line 4: b.c: invalid value \"x\", expected true or false");
        let error = settings.list("b.d", "numbers in quotes", |text| text.parse::<u8>().ok()).unwrap_err();
        assert_eq!(error.to_string(), "line 5: b.d: invalid value 2, expected numbers in quotes");
        let error = settings.number::<u16>("b.e", 1..=65535).unwrap_err();
        assert_eq!(error.to_string(), "line 6: b.e: invalid value 70000, expected a whole number from 1 to 65535");
        assert_eq!(settings.number::<u16>("a", 1..=2), Ok(Some(1)));
        assert_eq!(settings.require_known(), Ok(()));
    }

    #[test]
    fn unknown_keys_are_told_with_what_there_is() {
        let unknown = |text: &str| {
            let mut settings = Settings::of_toml(text).unwrap();
            settings.boolean("store.etcd.prefix").unwrap();
            settings.boolean("node").unwrap();
            settings.require_known().unwrap_err().to_string()
        };
        assert_eq!(unknown("\nprefix = 1"), "line 2: prefix: unknown key (hint: there is store.etcd.prefix)");
        assert_eq!(unknown("nodes = 1"), "line 1: nodes: unknown key, expected one of node");
        assert_eq!(unknown("[x]\ny = 1"), "line 2: x.y: unknown key (hint: there is no table [x])");
    }

    #[test]
    fn what_is_no_toml_has_a_place() {
        let error = Settings::of_toml("a = 1\nb = \n").unwrap_err().to_string();
        assert!(error.starts_with("line 2, column 5: "), "{error}");
    }

    #[test]
    fn flags_replace_and_are_named() {
        let mut settings = Settings::of_toml("a = 1").unwrap();
        settings.set("a", "--a", Value::from("x"));
        let error = settings.boolean("a").unwrap_err().to_string();
        assert_eq!(error, "--a: invalid value \"x\", expected true or false");
    }

    #[test]
    fn long_values_are_cut() {
        let mut settings = Settings::of_toml(&format!("a = \"{}\"", "é".repeat(5000))).unwrap();
        assert!(settings.boolean("a").unwrap_err().to_string().len() < 300);
    }
}
