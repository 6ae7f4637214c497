//! JSON as CNI users write it: keys in any case, `null` for "not given", and errors that name the field.
//!
//! [`decode`] turns a parsed [`Value`] into a type that derives [`serde::Deserialize`], with the rules of Go's
//! `encoding/json` that conflists rely on: struct keys match case-insensitively (an exact match is preferred),
//! `null` leaves the default, unknown keys are ignored, the last of duplicate keys wins. Unlike plain serde
//! it reports where the fault is: the path of the field, what was found, what was expected.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Map, Number, Value};

/// Text that is no JSON, with the place where the parser stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1 (0: the line's end).
    pub column: usize,
    /// What the parser says, without the place.
    pub problem: String,
}

/// A value of the wrong type or out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where: `ipam.ranges[0][1].subnet`. Empty for the document itself.
    pub path: String,
    /// What is wrong: the value found and what was expected.
    pub problem: String,
}

impl FieldError {
    /// `value` at `path` should have been `expected`.
    pub fn new(path: impl Into<String>, value: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self { path: path.into(), problem: format!("invalid value {value}, expected {expected}") }
    }

    /// What is wrong at `path` in other words.
    pub fn at(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { path: path.into(), problem: problem.to_string() }
    }

    /// The same fault, seen from the object that holds this document under `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => outer.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.problem) } else { write!(f, "{}: {}", self.path, self.problem) }
    }
}

impl std::error::Error for FieldError {}

/// Parses `text` as one JSON document.
///
/// # Errors
/// [`SyntaxError`] with the place of the first fault.
pub fn parse(text: &[u8]) -> Result<Value, SyntaxError> {
    serde_json::from_slice(text).map_err(|e| {
        let whole = e.to_string();
        let problem = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(problem, _place)| problem);
        SyntaxError { line: e.line(), column: e.column(), problem: problem.to_owned() }
    })
}

/// Decodes `value` into `T`; see the module for the rules. `T` gives defaults with `#[serde(default)]`.
///
/// # Errors
/// [`FieldError`] for the first value that does not fit.
pub fn decode<'de, T: de::Deserialize<'de>>(value: &'de Value) -> Result<T, FieldError> {
    T::deserialize(Decoder(value)).map_err(Fault::into_field_error)
}

/// The member of `object` under `key` in any case (an exact match is preferred); `None` if absent or `null`.
#[must_use]
pub fn member<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    member_or_null(object, key).filter(|value| !value.is_null())
}

/// As [`member`], but tells an explicit `null` from an absent key.
#[must_use]
pub fn member_or_null<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    object.get(key).or_else(|| object.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

/// JSON indented by four spaces, without a newline at the end, as the reference prints results and errors.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        // A `Value` always serializes; its compact form cannot fail at all.
        Err(_) => value.to_string(),
    }
}

/// The error inside the decoder: the path grows as the fault travels outwards.
#[derive(Debug)]
struct Fault {
    path: Vec<Step>,
    problem: String,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl Fault {
    fn at(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    fn into_field_error(self) -> FieldError {
        let mut path = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        FieldError { path, problem: self.problem }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Self { path: Vec::new(), problem: msg.to_string() }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("invalid value {}, expected {}", Found(unexpected), in_words(&expected.to_string())))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("missing key \"{field}\""))
    }
}

/// Rust's names of types in an operator's words.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

/// How a value is named in an error: as the user wrote it.
struct Found<'a>(Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Str(text) => write!(f, "{text:?}"),
            Unexpected::Bool(b) => write!(f, "{b}"),
            Unexpected::Unsigned(n) => write!(f, "{n}"),
            Unexpected::Signed(n) => write!(f, "{n}"),
            Unexpected::Float(n) => write!(f, "{n}"),
            Unexpected::Seq => f.write_str("[…]"),
            Unexpected::Map => f.write_str("{…}"),
            Unexpected::Unit => f.write_str("null"),
            other => write!(f, "{other}"),
        }
    }
}

#[derive(Clone, Copy)]
struct Decoder<'de>(&'de Value);

impl<'de> Decoder<'de> {
    fn number<V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Fault> {
        if let Some(n) = number.as_u64() {
            visitor.visit_u64(n)
        } else if let Some(n) = number.as_i64() {
            visitor.visit_i64(n)
        } else {
            visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
        }
    }

    fn map<V: Visitor<'de>>(entries: Entries<'de>, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(entries)
    }
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Number(n) => Self::number(n, visitor),
            Value::String(s) => visitor.visit_borrowed_str(s),
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Value::Object(object) => Self::map(Entries::all(object), visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Object(object) => Self::map(Entries::of_struct(object, fields), visitor),
            // serde would also fill a struct from a list, by position; no CNI document means that.
            other => Err(de::Error::invalid_type(unexpected(other), &visitor)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let expected = OneOf(variants);
        match self.0 {
            Value::String(text) if variants.contains(&text.as_str()) => {
                let variant: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            Value::String(text) => Err(de::Error::invalid_value(Unexpected::Str(text), &expected)),
            other => Err(de::Error::invalid_type(unexpected(other), &expected)),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(b) => Unexpected::Bool(*b),
        Value::Number(n) => n
            .as_u64()
            .map(Unexpected::Unsigned)
            .or_else(|| n.as_i64().map(Unexpected::Signed))
            .unwrap_or_else(|| Unexpected::Float(n.as_f64().unwrap_or(f64::NAN))),
        Value::String(s) => Unexpected::Str(s),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

struct OneOf(&'static [&'static str]);

impl Expected for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, variant) in self.0.iter().enumerate() {
            match i {
                0 => write!(f, "\"{variant}\"")?,
                _ => write!(f, " or \"{variant}\"")?,
            }
        }
        Ok(())
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Value>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Decoder(item)).map(Some).map_err(|fault| fault.at(Step::Index(index)))
    }
}

/// The members of an object, keys already in the spelling the target type uses.
struct Entries<'de> {
    entries: std::vec::IntoIter<(&'de str, &'de str, &'de Value)>,
    current: Option<(&'de str, &'de Value)>,
}

impl<'de> Entries<'de> {
    fn all(object: &'de Map<String, Value>) -> Self {
        let entries: Vec<_> = object.iter().map(|(key, value)| (key.as_str(), key.as_str(), value)).collect();
        Self { entries: entries.into_iter(), current: None }
    }

    /// Only the keys that the struct has, in any case, and not `null`.
    fn of_struct(object: &'de Map<String, Value>, fields: &'static [&'static str]) -> Self {
        let entries: Vec<_> = fields
            .iter()
            .filter_map(|field| {
                let (key, value) = object
                    .get_key_value(*field)
                    .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(field)))?;
                (!value.is_null()).then_some((*field, key.as_str(), value))
            })
            .collect();
        Self { entries: entries.into_iter(), current: None }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((field, written, value)) = self.entries.next() else { return Ok(None) };
        self.current = Some((written, value));
        let key: StrDeserializer<'_, Fault> = field.into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| fault.at(Step::Key(written.to_owned())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, value)) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(Decoder(value)).map_err(|fault| fault.at(Step::Key(key.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Conf {
        is_gateway: bool,
        mtu: Option<u16>,
        ranges: Vec<Vec<Inner>>,
        mode: Mode,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Inner {
        subnet: String,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        Bridge,
        Private,
    }

    #[test]
    fn keys_match_in_any_case_and_the_exact_one_wins() {
        let value = json!({"IsGateway": true, "MTU": 9000, "mtu": 1500, "other": []});
        let conf: Conf = decode(&value).unwrap();
        assert_eq!(conf, Conf { is_gateway: true, mtu: Some(1500), ..Conf::default() });
    }

    #[test]
    fn null_leaves_the_default() {
        let value = json!({"isGateway": null, "mtu": null, "ranges": null});
        assert_eq!(decode::<Conf>(&value), Ok(Conf::default()));
    }

    #[test]
    fn errors_name_the_field_the_value_and_what_was_expected() {
        let fault = |value: Value| decode::<Conf>(&value).unwrap_err().to_string();
        assert_eq!(
            fault(json!({"ranges": [[{"subnet": "a"}, {"SubNet": 7}]]})),
            "ranges[0][1].SubNet: invalid value 7, expected a string"
        );
        assert_eq!(fault(json!({"isGateway": "true"})), "isGateway: invalid value \"true\", expected a boolean");
        assert_eq!(fault(json!({"mtu": 70000})), "mtu: invalid value 70000, expected a whole number from 0 to 65535");
        assert_eq!(fault(json!({"mtu": -1})), "mtu: invalid value -1, expected a whole number from 0 to 65535");
        assert_eq!(fault(json!({"mode": "vepa"})), "mode: invalid value \"vepa\", expected \"bridge\" or \"private\"");
        assert_eq!(fault(json!({"ranges": [[{}]]})), "ranges[0][0]: missing key \"subnet\"");
        assert_eq!(fault(json!([1])), "invalid value […], expected an object");
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let fault = parse(b"{\n  \"name\": \"x\",\n}").unwrap_err();
        assert_eq!((fault.line, fault.column), (3, 1));
        assert_eq!(fault.problem, "trailing comma");
    }
}
