//! A JSON document of which it is known where everything stands.

use std::ops::Range;
use std::str::FromStr;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::Number;

/// Bytes of a text, from the first to the one behind the last.
pub(crate) type Span = Range<usize>;

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    /// The key with its quotes.
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Node {
    /// Parses what is known to be JSON: syntax errors are for libcni to tell, in the words that plugins use.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let strict = ParseOptions {
            allow_comments: false,
            allow_loose_object_property_names: false,
            allow_trailing_commas: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        parse_to_ast(text, &CollectOptions::default(), &strict).ok()?.value.map(Self::of)
    }

    fn of(value: ast::Value<'_>) -> Self {
        let range = value.range();
        let kind = match value {
            ast::Value::NullKeyword(_) => Kind::Null,
            ast::Value::BooleanLit(literal) => Kind::Bool(literal.value),
            // JSON's numbers are all numbers of serde_json.
            ast::Value::NumberLit(literal) => Number::from_str(literal.value).map_or(Kind::Null, Kind::Number),
            ast::Value::StringLit(literal) => Kind::Text(literal.value.into_owned()),
            ast::Value::Array(array) => Kind::List(array.elements.into_iter().map(Self::of).collect()),
            ast::Value::Object(object) => Kind::Object(object.properties.into_iter().map(Member::of).collect()),
        };
        Self { span: range.start..range.end, kind }
    }

    /// The member under `key`: in the exact case, else in any; the last one, as plugins read it.
    pub(crate) fn member(&self, key: &str) -> Option<&Member> {
        let find = |same: &dyn Fn(&str) -> bool| self.members().iter().rev().find(|member| same(&member.key));
        find(&|other| other == key).or_else(|| find(&|other| other.eq_ignore_ascii_case(key)))
    }

    /// The value under `key`, as [`Node::member`]; `null` is none.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.member(key).map(|member| &member.value).filter(|value| !matches!(value.kind, Kind::Null))
    }

    /// As [`Node::get`], but in the exact case alone, as runtimes read the keys of a network.
    pub(crate) fn exact(&self, key: &str) -> Option<&Self> {
        let found = self.members().iter().rev().find(|member| member.key == key);
        found.map(|member| &member.value).filter(|value| !matches!(value.kind, Kind::Null))
    }

    /// The text under `key`; the empty one is none.
    pub(crate) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Self::text).filter(|text| !text.is_empty())
    }

    /// Whether `true` stands under `key`, which is told with where that is.
    pub(crate) fn is_set(&self, key: &str) -> Option<&Member> {
        self.member(key).filter(|member| matches!(member.value.kind, Kind::Bool(true)))
    }

    /// The number under `key`, if it is whole and not negative.
    pub(crate) fn number_of(&self, key: &str) -> Option<u64> {
        match &self.get(key)?.kind {
            Kind::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Kind::Text(text) = &self.kind { Some(text) } else { None }
    }

    pub(crate) fn items(&self) -> &[Self] {
        if let Kind::List(items) = &self.kind { items } else { &[] }
    }

    pub(crate) fn members(&self) -> &[Member] {
        if let Kind::Object(members) = &self.kind { members } else { &[] }
    }

    /// Whether something stands under `key`, be it an empty list, but not an empty text.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.text() != Some(""))
    }

    /// Where it stands, in one line: of an object or a list the bracket.
    pub(crate) fn opening(&self) -> Span {
        match self.kind {
            Kind::Object(_) | Kind::List(_) => self.span.start..self.span.start + 1,
            _ => self.span.clone(),
        }
    }

    /// Calls `visit` with this value and all in it.
    pub(crate) fn walk<'n>(&'n self, visit: &mut dyn FnMut(&'n Self)) {
        visit(self);
        self.members().iter().for_each(|member| member.value.walk(visit));
        self.items().iter().for_each(|item| item.walk(visit));
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self.kind, Kind::Object(_))
    }

    /// What kind of value it is, in words.
    pub(crate) fn in_words(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a string",
            Kind::List(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }

    /// The path of the value or key that stands at `span`: `plugins[0].ipam.subnet`. Empty for the whole.
    pub(crate) fn path_to(&self, span: &Span) -> Option<String> {
        if self.span == *span || self.opening() == *span {
            return Some(String::new());
        }
        let join = |step: String, rest: String| match rest.as_str() {
            "" => step,
            rest if rest.starts_with('[') => format!("{step}{rest}"),
            rest => format!("{step}.{rest}"),
        };
        let in_members = self.members().iter().find_map(|member| {
            let rest = if member.key_span == *span { Some(String::new()) } else { member.value.path_to(span) };
            rest.map(|rest| join(member.key.clone(), rest))
        });
        let in_items = || {
            let mut items = self.items().iter().enumerate();
            items.find_map(|(i, item)| item.path_to(span).map(|rest| join(format!("[{i}]"), rest)))
        };
        in_members.or_else(in_items)
    }
}

impl Member {
    fn of(property: ast::ObjectProp<'_>) -> Self {
        let range = property.name.range();
        Self { key: property.name.into_string(), key_span: range.start..range.end, value: Node::of(property.value) }
    }
}

/// Where lines begin.
#[derive(Clone, Debug)]
pub(crate) struct Lines<'t>(&'t str);

/// A place for people: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl<'t> Lines<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        Self(text)
    }

    /// The place of the byte at `offset`.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let before = self.0.get(..offset).unwrap_or(self.0);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        Place { line: before.matches('\n').count() + 1, column }
    }

    /// Line number `line`, without its end.
    pub(crate) fn line(&self, line: usize) -> &'t str {
        self.0.split('\n').nth(line.saturating_sub(1)).unwrap_or_default().trim_end_matches('\r')
    }

    /// The offset of the byte in column `column` (in bytes, from 1; 0 is the end of the line) of line `line`.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let start: usize = self.0.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let mut at = (start + column.saturating_sub(1)).min(self.0.len());
        while !self.0.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"name\": \"ä\", \"plugins\": [{\"Type\": \"x\", \"a\": {\"b\": [1, null]}}]\n}";

    fn span(text: &str) -> Span {
        let at = TEXT.find(text).unwrap();
        at..at + text.len()
    }

    #[test]
    fn it_is_known_where_everything_stands() {
        let root = Node::parse(TEXT).unwrap();
        assert_eq!(root.path_to(&span("\"ä\"")).unwrap(), "name");
        assert_eq!(root.path_to(&span("\"b\"")).unwrap(), "plugins[0].a.b");
        assert_eq!(root.path_to(&span("null")).unwrap(), "plugins[0].a.b[1]");
        assert_eq!(root.path_to(&(0..TEXT.len())).unwrap(), "");
        assert_eq!(root.path_to(&(1..3)), None);
    }

    #[test]
    fn keys_are_found_as_plugins_find_them() {
        let root = Node::parse(r#"{"A": 1, "a": 2, "a": 3, "B": null, "c": ""}"#).unwrap();
        assert_eq!(root.number_of("a"), Some(3));
        assert_eq!(root.number_of("A"), Some(1));
        assert!(root.get("b").is_none() && root.member("b").is_some());
        assert_eq!(root.text_of("C"), None);
    }

    #[test]
    fn places_count_characters() {
        let lines = Lines::of(TEXT);
        assert_eq!(lines.place(0), Place { line: 1, column: 1 });
        assert_eq!(lines.place(span("\"plugins\"").start), Place { line: 2, column: 16 });
        assert_eq!(lines.line(3), "}");
        assert_eq!(lines.offset(2, 3), 4);
        assert_eq!(lines.offset(9, 9), TEXT.len());
    }
}
