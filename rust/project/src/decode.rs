//! From the tree to the types of the configuration: every complaint of serde gets the place it is about.
//!
//! Types derive `Deserialize` with `deny_unknown_fields` and know nothing of this. [`Spanned`], [`Entries`] and
//! [`Scalar`] are for those that want more than serde's model carries.

use crate::diagnose::{Diagnostic, Severity, did_you_mean};
use crate::document::{Document, Key, Node, NodeKind, Span, shown_path};
use crate::fault::ProjectError;
use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;
use std::marker::PhantomData;

/// Makes a value of a whole file. An empty file is an empty table, and so is a section without entries.
///
/// # Errors
/// The file says something that `T` does not accept; the diagnostic has the place.
pub fn decode<T: DeserializeOwned>(document: &Document) -> Result<T, ProjectError> {
    let node = NodeDeserializer { node: &document.root, source: &document.source };
    T::deserialize(node).map_err(|error| error.into_diagnostic(document).into())
}

/// Makes a value of a part of a file. What it does not accept is left out, and each such thing is told, so that somebody
/// can mend all of them at once; `None` where nothing is left.
pub fn decode_part<T: DeserializeOwned>(
    document: &Document,
    node: &Node,
    path: &[&str],
    problems: &mut Vec<Diagnostic>,
) -> Option<T> {
    let mut rest = std::borrow::Cow::Borrowed(node);
    let mut left_out: Vec<Vec<String>> = Vec::new();
    loop {
        let error = match T::deserialize(NodeDeserializer { node: &rest, source: &document.source }) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let wrong = error.span.clone();
        // What is missing only because it was left out has been told.
        let is_told = left_out.iter().any(|out| {
            out.split_first().is_some_and(|(key, outer)| {
                outer == error.path && error.message == format!("missing key `{key}`")
            })
        });
        left_out.push(error.path.clone());
        if !is_told {
            let outer = path.iter().rev().map(|key| (*key).to_owned());
            let path = error.path.iter().cloned().chain(outer).collect();
            problems.push(DecodeError { path, ..error }.into_diagnostic(document));
        }
        let is_enough = left_out.len() >= MOST_PROBLEMS;
        if is_enough || !wrong.is_some_and(|wrong| leave_out(rest.to_mut(), &wrong)) {
            return None;
        }
    }
}

/// How many problems of one file are told: more help nobody.
pub const MOST_PROBLEMS: usize = 100;

/// Takes out what is written at a place; `false` where nothing is.
fn leave_out(node: &mut Node, wrong: &Span) -> bool {
    match &mut node.kind {
        NodeKind::Map(entries) => {
            let before = entries.len();
            entries.retain(|(key, value)| key.span != *wrong && value.span != *wrong);
            let is_here = entries.len() < before;
            entries.iter_mut().fold(is_here, |is_out, (_, value)| leave_out(value, wrong) || is_out)
        }
        NodeKind::Seq(items) => {
            let before = items.len();
            items.retain(|item| item.span != *wrong);
            let is_here = items.len() < before;
            items.iter_mut().fold(is_here, |is_out, item| leave_out(item, wrong) || is_out)
        }
        _ => false,
    }
}

/// Makes a value of a single text, as it stands in an option or a variable; lists are separated by commas.
///
/// # Errors
/// The text is not what `T` accepts.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(TextDeserializer(text)).map_err(|error| error.message)
}

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file.
    pub span: Span,
}

/// A table of the user's own keys, in the file's order, each with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries<T>(pub Vec<(Spanned<String>, T)>);

/// A string, or a number or boolean exactly as it was written; `None` for null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar(pub Option<String>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

const SPANNED: &str = "$dirigent::Spanned";
const SCALAR: &str = "$dirigent::Scalar";

/// A complaint on its way up to the place it is about.
#[derive(Debug)]
struct DecodeError {
    code: &'static str,
    message: String,
    hint: Option<String>,
    span: Option<Span>,
    /// The keys from the outside in, innermost first while it travels.
    path: Vec<String>,
}

impl DecodeError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, span: None, path: Vec::new() }
    }

    fn at(mut self, span: &Span) -> Self {
        self.span.get_or_insert_with(|| span.clone());
        self
    }

    fn under(mut self, segment: impl FnOnce() -> String) -> Self {
        self.path.push(segment());
        self
    }

    fn into_diagnostic(self, document: &Document) -> Diagnostic {
        let path = shown_path(self.path.iter().rev());
        let message = match (path.is_empty(), self.code) {
            (true, _) => self.message,
            (false, "config.unknown_key" | "config.missing_key") => format!("{} in `{path}`", self.message),
            (false, _) => format!("`{path}`: {}", self.message),
        };
        let span = self.span.unwrap_or(0..0);
        Diagnostic { hint: self.hint, ..document.diagnostic(Severity::Error, self.code, span, message) }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("config.invalid_value", message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = in_our_words(expected);
        let mut error =
            Self::new("config.wrong_type", format!("expected {expected}, found {}", shown(&unexpected)));
        let wants_bool = expected.contains("true or false");
        if let Unexpected::Str(word) = unexpected {
            error.hint = match word.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" if wants_bool => Some("write `true`".into()),
                "no" | "off" | "n" | "false" if wants_bool => Some("write `false`".into()),
                _ => None,
            };
        }
        error
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (expected, found) = (in_our_words(expected), shown(&unexpected));
        Self::new("config.invalid_value", format!("expected {expected}, found {found}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = unknown_hint(field, expected, "keys");
        Self { hint, ..Self::new("config.unknown_key", format!("unknown key `{field}`")) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = unknown_hint(variant, expected, "values");
        Self { hint, ..Self::new("config.invalid_value", format!("unknown value `{variant}`")) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("config.missing_key", format!("missing key `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("config.duplicate_key", format!("duplicate key `{field}`"))
    }
}

/// What was expected, where serde words it for programmers.
fn in_our_words(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "u32" | "u64" => "a whole number from 0".into(),
        "i32" => format!("a whole number from {} to {}", i32::MIN, i32::MAX),
        "f64" => "a number".into(),
        text if text.starts_with("struct ") || text == "a map" => "a table".into(),
        text => text.into(),
    }
}

fn unknown_hint(word: &str, known: &'static [&'static str], what: &str) -> Option<String> {
    Some(match did_you_mean(word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!(
            "the {what} here are {}",
            known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
        ),
    })
}

fn shown(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Str(text) => format!("the string {text:?}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a table".into(),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        other => other.to_string(),
    }
}

#[derive(Clone, Copy)]
struct NodeDeserializer<'de> {
    node: &'de Node,
    source: &'de str,
}

impl<'de> NodeDeserializer<'de> {
    fn child(self, node: &'de Node) -> Self {
        Self { node, ..self }
    }

    /// Runs a visitor so that whatever it complains about is about this node.
    fn here<T>(self, result: Result<T, DecodeError>) -> Result<T, DecodeError> {
        result.map_err(|error| error.at(&self.node.span))
    }

    fn no_value(self) -> DecodeError {
        let error = DecodeError::new("config.missing_value", "there is no value").at(&self.node.span);
        DecodeError { hint: Some("give it one, or remove the key".into()), ..error }
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.node.kind {
            NodeKind::Null => visitor.visit_unit(),
            NodeKind::Bool(value) => visitor.visit_bool(*value),
            NodeKind::Int(value) => visitor.visit_i64(*value),
            NodeKind::Float(value) => visitor.visit_f64(*value),
            NodeKind::Str(value) => visitor.visit_borrowed_str(value),
            NodeKind::Seq(items) => visitor.visit_seq(Items { at: self, items, next: 0 }),
            NodeKind::Map(entries) => visitor.visit_map(Fields { at: self, entries, next: 0 }),
        };
        self.here(result)
    }

    /// A key without a value is a mistake, not an absence: nothing may be silently ignored.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            NodeKind::Null => Err(self.no_value()),
            _ => self.here(visitor.visit_some(self)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            // A section whose entries are all commented out.
            NodeKind::Null => self.here(visitor.visit_map(Fields { at: self, entries: &[], next: 0 })),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            // What is derived would take its items for the values of the keys, in their order.
            NodeKind::Seq(_) => self.here(Err(de::Error::invalid_type(Unexpected::Seq, &"a table"))),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            NodeKind::Str(name) => self.here(visitor.visit_enum(name.as_str().into_deserializer())),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let result = match (name, &self.node.kind) {
            (SPANNED, _) => visitor.visit_map(Placed::new(self.node.span.clone(), self)),
            (SCALAR, NodeKind::Int(_) | NodeKind::Float(_) | NodeKind::Bool(_)) => {
                visitor.visit_str(self.source.get(self.node.span.clone()).unwrap_or_default())
            }
            (SCALAR, _) => return self.deserialize_any(visitor),
            _ => visitor.visit_newtype_struct(self),
        };
        self.here(result)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

struct Items<'de> {
    at: NodeDeserializer<'de>,
    items: &'de [Node],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Some(node) = self.items.get(self.next) else {
            return Ok(None);
        };
        let index = self.next;
        self.next += 1;
        let result = seed.deserialize(self.at.child(node));
        result.map(Some).map_err(|error| error.at(&node.span).under(|| format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Fields<'de> {
    at: NodeDeserializer<'de>,
    entries: &'de [(Key, Node)],
    next: usize,
}

impl<'de> de::MapAccess<'de> for Fields<'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some((key, _)) = self.entries.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        seed.deserialize(KeyDeserializer(key)).map(Some).map_err(|error| error.at(&key.span))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let (key, node) = &self.entries[self.next - 1];
        seed.deserialize(self.at.child(node)).map_err(|error| {
            // What is absent from a table, or absent altogether, is shown at the key: there is nothing else to point at.
            let absent = matches!(error.code, "config.missing_key" | "config.missing_value");
            let place =
                if absent && error.span.as_ref() == Some(&node.span) { &key.span } else { &node.span };
            let span = if absent && error.path.is_empty() { Some(place.clone()) } else { error.span.clone() };
            DecodeError { span, ..error }.at(&node.span).under(|| key.name.clone())
        })
    }
}

#[derive(Clone, Copy)]
struct KeyDeserializer<'de>(&'de Key);

impl<'de> Deserializer<'de> for KeyDeserializer<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(&self.0.name)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match name {
            SPANNED => visitor.visit_map(Placed::new(self.0.span.clone(), self)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Offers a [`Spanned`] as the pair serde can carry: two numbers, then the value.
struct Placed<D> {
    span: Span,
    value: Option<D>,
    next: u8,
}

impl<D> Placed<D> {
    fn new(span: Span, value: D) -> Self {
        Self { span, value: Some(value), next: 0 }
    }
}

impl<'de, D: Deserializer<'de, Error = DecodeError>> de::MapAccess<'de> for Placed<D> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        self.next += 1;
        seed.deserialize(StrDeserializer::new("part")).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        match (self.next, self.value.take_if(|_| self.next > 2)) {
            (1, _) => seed.deserialize(self.span.start.into_deserializer()),
            (2, _) => seed.deserialize(self.span.end.into_deserializer()),
            (_, Some(value)) => seed.deserialize(value),
            (_, None) => Err(de::Error::custom("a spanned value has three parts")),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Spanned<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Spanned<T>, A::Error> {
                let mut part = || map.next_entry::<de::IgnoredAny, usize>();
                let (start, end) = (part()?, part()?);
                map.next_key::<de::IgnoredAny>()?;
                let value = map.next_value()?;
                let span = start.map_or(0, |(_, at)| at)..end.map_or(0, |(_, at)| at);
                Ok(Spanned { value, span })
            }
        }
        deserializer.deserialize_newtype_struct(SPANNED, Parts(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Table(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, or true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(Some(text.to_owned())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Scalar, E> {
                Ok(Scalar(None))
            }
        }
        deserializer.deserialize_newtype_struct(SCALAR, Text)
    }
}

/// A text from outside a file, taken for whatever the type asks for.
struct TextDeserializer<'a>(&'a str);

impl<'de> Deserializer<'de> for TextDeserializer<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match (self.0.parse::<i64>(), self.0.parse::<f64>()) {
            (Ok(int), _) => visitor.visit_i64(int),
            (_, Ok(float)) => visitor.visit_f64(float),
            _ => visitor.visit_str(self.0),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => visitor.visit_bool(true),
            "false" | "0" | "no" | "off" => visitor.visit_bool(false),
            _ => visitor.visit_str(self.0),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let items = split_list(self.0).map(|item| StringDeserializer::new(item.to_owned()));
        visitor.visit_seq(de::value::SeqDeserializer::new(items))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf option unit unit_struct tuple
        tuple_struct map struct enum identifier ignored_any
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_str(self.0)
    }
}

/// Splits at commas that stand in no braces, so that the glob `{a,b}.py` stays one.
fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth <= 0
    })
    .map(str::trim)
    .filter(|item| !item.is_empty())
}
