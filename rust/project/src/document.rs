//! A configuration file as one tree, whatever its format, in which every key and value knows its place.
//!
//! Knows no settings. What a format would let pass silently is refused for all three: duplicate keys, nesting beyond any
//! person's, values that unfold into far more than was written.

mod json;
mod toml;
mod yaml;

use crate::diagnose::{Diagnostic, Severity};
use crate::fault::ProjectError;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep lists and tables may stand in each other.
pub const MAX_DEPTH: usize = 64;
/// How many nodes the aliases of a YAML file may add to it.
pub const MAX_ALIASED_NODES: usize = 100_000;
/// The largest file that is read.
pub const MAX_FILE_MB: u64 = 16;
/// The extensions a configuration file may have, the usual one first.
pub const EXTENSIONS: [&str; 4] = ["toml", "yaml", "yml", "json"];

/// The bytes of the file that a key or a value was written with.
pub type Span = Range<usize>;

/// A parsed file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, as it was named.
    pub path: PathBuf,
    /// Its text, without a byte order mark.
    pub source: Arc<str>,
    /// What it says.
    pub root: Node,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub kind: NodeKind,
    /// Where it is written.
    pub span: Span,
}

/// What a value can be.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Nothing: `null` in YAML and JSON.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// A table, in the file's order.
    Map(Vec<(Key, Node)>),
}

/// A key of a table and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Where it is written.
    pub span: Span,
}

/// A format's complaint, before it knows its file.
struct Broken {
    code: &'static str,
    message: String,
    span: Span,
    hint: Option<String>,
}

impl Document {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// The file cannot be read, is too large, is no UTF-8, or breaks the rules of its format.
    pub fn load(path: &Path) -> Result<Self, ProjectError> {
        let io = |doing| move |source| ProjectError::Io { doing, path: path.to_owned(), source };
        let file = File::open(path).map_err(io("open"))?;
        let mut bytes = Vec::new();
        file.take((MAX_FILE_MB << 20) + 1).read_to_end(&mut bytes).map_err(io("read"))?;
        if bytes.len() as u64 > MAX_FILE_MB << 20 {
            return Err(ProjectError::TooLarge { path: path.to_owned(), limit_mb: MAX_FILE_MB });
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let source: Arc<str> = String::from_utf8_lossy(error.as_bytes()).into();
                let broken = Broken::syntax("this is not UTF-8 text", at..at + 1);
                return Err(broken.in_file(path, &source).into());
            }
        };
        Self::parse(path, &text)
    }

    /// Parses a text in the format that the file's extension names.
    ///
    /// # Errors
    /// The extension names no format, or the text breaks the rules of it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ProjectError> {
        let source: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(text).into();
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let parse = match extension.as_deref() {
            Some("toml") => toml::parse,
            Some("yaml" | "yml") => yaml::parse,
            Some("json") => json::parse,
            _ => {
                return Err(ProjectError::UnknownFormat { path: path.to_owned() });
            }
        };
        match parse(&source) {
            Ok(root) => Ok(Self { path: path.to_owned(), source, root }),
            Err(broken) => Err(broken.in_file(path, &source).into()),
        }
    }

    /// The line a place is on, from 1.
    pub fn line(&self, span: &Span) -> usize {
        self.source.as_bytes()[..span.start.min(self.source.len())].iter().filter(|b| **b == b'\n').count()
            + 1
    }

    /// A diagnostic about a place in this file.
    pub fn diagnostic(
        &self,
        severity: Severity,
        code: &'static str,
        span: Span,
        message: String,
    ) -> Diagnostic {
        Diagnostic {
            severity,
            code,
            file: self.path.clone(),
            source: Arc::clone(&self.source),
            span,
            message,
            label: None,
            hint: None,
        }
    }

    /// What the file says, without places. An empty file is an empty object.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.root.kind {
            NodeKind::Null => serde_json::Value::Object(serde_json::Map::new()),
            _ => self.root.to_json(),
        }
    }
}

impl Node {
    /// The value without places. A number that JSON cannot hold becomes null.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.kind {
            NodeKind::Null => serde_json::Value::Null,
            NodeKind::Bool(value) => (*value).into(),
            NodeKind::Int(value) => (*value).into(),
            NodeKind::Float(value) => (*value).into(),
            NodeKind::Str(value) => value.as_str().into(),
            NodeKind::Seq(items) => items.iter().map(Self::to_json).collect(),
            NodeKind::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect(),
            ),
        }
    }
}

impl Broken {
    fn new(code: &'static str, message: impl Into<String>, span: Span) -> Self {
        Self { code, message: message.into(), span, hint: None }
    }

    fn syntax(message: impl Into<String>, span: Span) -> Self {
        Self::new("config.syntax", message, span)
    }

    fn too_deep(span: Span) -> Self {
        Self::new(
            "config.too_deep",
            format!("more than {MAX_DEPTH} lists and tables inside each other"),
            span,
        )
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn in_file(self, path: &Path, source: &Arc<str>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: self.code,
            file: path.to_owned(),
            source: Arc::clone(source),
            span: self.span,
            message: self.message,
            label: None,
            hint: self.hint,
        }
    }
}

/// A table while it is read: refuses a key that it already has.
#[derive(Default)]
struct Entries {
    list: Vec<(Key, Node)>,
    seen: HashMap<String, Span>,
}

impl Entries {
    fn check(&mut self, key: &Key, source: &str) -> Result<(), Broken> {
        match self.seen.insert(key.name.clone(), key.span.clone()) {
            None => Ok(()),
            Some(first) => {
                let line = source[..first.start].bytes().filter(|b| *b == b'\n').count() + 1;
                Err(duplicate_key(&key.name, key.span.clone()).hint(format!("it is already on line {line}")))
            }
        }
    }
}

fn duplicate_key(name: &str, span: Span) -> Broken {
    Broken::new("config.duplicate_key", format!("duplicate key `{name}`"), span)
}

/// Joins keys by dots, quoting those that are not plain words: `scripts."etl/*.py".timeout`.
pub fn shown_path<'a>(segments: impl Iterator<Item = &'a String>) -> String {
    let mut out = String::new();
    for segment in segments {
        if !out.is_empty() && !segment.starts_with('[') {
            out.push('.');
        }
        let plain = segment.starts_with('[')
            || segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if plain {
            out.push_str(segment);
        } else {
            out.push_str(&format!("{segment:?}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(extension: &str, text: &str) -> Result<Document, ProjectError> {
        Document::parse(Path::new(&format!("f.{extension}")), text)
    }

    /// A text says the same as this JSON.
    #[track_caller]
    fn check(extension: &str, text: &str, expected: serde_json::Value) {
        match parse(extension, text) {
            Ok(document) => assert_eq!(document.to_json(), expected, "{extension}: {text}"),
            Err(error) => panic!("{}", rendered(&error)),
        }
    }

    /// A text is refused with this code at this line and column.
    #[track_caller]
    fn check_refused(extension: &str, text: &str, expected: (&str, usize, usize)) {
        match parse(extension, text) {
            Err(ProjectError::Invalid(diagnostic)) => {
                let place = (diagnostic.code, diagnostic.line(), diagnostic.column());
                assert_eq!(place, expected, "{}", diagnostic.render(false));
            }
            other => panic!("{other:?}"),
        }
    }

    fn rendered(error: &ProjectError) -> String {
        match error {
            ProjectError::Invalid(diagnostic) => diagnostic.render(false),
            other => other.to_string(),
        }
    }

    #[test]
    fn the_formats_say_the_same() {
        let expected = json!({"b": {"x y": [1, -2.5, "t", true]}, "a": {"n": "no"}});
        check("toml", "[b]\n\"x y\" = [1, -2.5, 't', true]\n[a]\nn = \"no\"\n", expected.clone());
        check("yaml", "b:\n  x y: [1, -2.5, t, true]\na: {n: no}\n", expected.clone());
        check("json", "{\"b\": {\"x y\": [1, -2.5, \"t\", true]},\n \"a\": {\"n\": \"no\"}}", expected);
    }

    #[test]
    fn the_order_is_the_files() {
        for (extension, text) in [
            ("toml", "z = 1\na = 2\n[m]\n"),
            ("yaml", "z: 1\na: 2\nm: {}\n"),
            ("json", r#"{"z":1,"a":2,"m":{}}"#),
        ] {
            let document = parse(extension, text).expect("parses");
            let NodeKind::Map(entries) = document.root.kind else { panic!("a table") };
            assert_eq!(
                entries.iter().map(|(key, _)| key.name.as_str()).collect::<Vec<_>>(),
                ["z", "a", "m"],
                "{extension}"
            );
        }
    }

    #[test]
    fn yaml_has_the_scalars_of_version_1_2() {
        check(
            "yaml",
            "[no, on, y, 1:30, 0o17, 017, 0x1F, 1e3, .5, 1_000, ~, null, '', 'null', 1.2.3, -, +1, \"a\\tb\", 2020-01-01, nan, inf]"
                .replace(" -,", " '-',")
                .as_str(),
            json!(["no", "on", "y", "1:30", 15, 17, 31, 1000.0, 0.5, "1_000", null, null, "", "null", "1.2.3", "-", 1, "a\tb", "2020-01-01", "nan", "inf"]),
        );
        check("yaml", "no: 1\nnull: 2\n1: 3\ntrue: 4\n", json!({"no": 1, "null": 2, "1": 3, "true": 4}));
        check(
            "yaml",
            "a: !!str 5\nb: |\n  x\n  y\nc: >-\n  x\n  y\n",
            json!({"a": "5", "b": "x\ny\n", "c": "x y"}),
        );
        check(
            "yaml",
            "x: &a {p: 1, q: 2}\ny: {<<: *a, q: 3}\nz: *a\n",
            json!({"x": {"p": 1, "q": 2}, "y": {"p": 1, "q": 3}, "z": {"p": 1, "q": 2}}),
        );
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", "\n\n", "# only words\n", "\u{feff}", "\u{feff}# words\r\n"] {
            check("toml", text, json!({}));
            check("yaml", text, json!({}));
        }
        check_refused("json", "", ("config.syntax", 1, 1));
    }

    #[test]
    fn line_ends_of_windows_and_a_byte_order_mark_do_no_harm() {
        check("yaml", "\u{feff}a: 1\r\nb: x\r\n", json!({"a": 1, "b": "x"}));
        check("toml", "\u{feff}a = 1\r\nb = 'x'\r\n", json!({"a": 1, "b": "x"}));
        check("json", "\u{feff}{\"a\": 1,\r\n\"b\": \"x\"}", json!({"a": 1, "b": "x"}));
    }

    #[test]
    fn every_value_knows_where_it_is_written() {
        for (extension, text) in [
            ("toml", "'ü' = 'x'\n[t]\n'k' = 12\n"),
            ("yaml", "ü: 'x'\nt:\n  'k': 12\n"),
            ("json", "{\"ü\": \"x\",\n\"t\": {\n  \"k\": 12}}"),
        ] {
            let document = parse(extension, text).expect("parses");
            let NodeKind::Map(entries) = &document.root.kind else { panic!("a table") };
            let NodeKind::Map(inner) = &entries[1].1.kind else { panic!("a table") };
            let written = |span: &Span| document.source[span.clone()].trim_matches(['\'', '"']).to_owned();
            assert_eq!(written(&entries[0].0.span), "ü", "{extension}");
            assert_eq!(written(&entries[0].1.span), "x", "{extension}");
            assert_eq!(written(&inner[0].0.span), "k", "{extension}");
            assert_eq!(
                (written(&inner[0].1.span).as_str(), document.line(&inner[0].1.span)),
                ("12", 3),
                "{extension}"
            );
        }
    }

    #[test]
    fn a_duplicate_key_is_refused_in_every_format() {
        check_refused("toml", "a = 1\nb = 2\na = 3\n", ("config.duplicate_key", 3, 1));
        check_refused("toml", "[s.x]\n[s.x]\n", ("config.duplicate_key", 2, 4));
        check_refused("yaml", "s:\n  a: 1\n  b: 2\n  'a': 3\n", ("config.duplicate_key", 4, 3));
        check_refused("json", "{\"a\": 1,\n \"\\u0061\": 2}", ("config.duplicate_key", 2, 2));
    }

    #[test]
    fn a_mistake_of_syntax_has_its_place() {
        check_refused("toml", "a = 1\nb = \n", ("config.syntax", 2, 5));
        check_refused("yaml", "a: [1, 2\nb: 3\n", ("config.syntax", 2, 2));
        check_refused("yaml", "a:\n\tb: 1\n", ("config.syntax", 2, 2));
        check_refused("yaml", "a: 1\n---\nb: 2\n", ("config.syntax", 2, 1));
        check_refused("yaml", "a: *nobody\n", ("config.syntax", 1, 4));
        check_refused("yaml", "a: !!python/object:os.system x\n", ("config.syntax", 1, 30));
        check_refused("yaml", "? [a, b]\n: c\n", ("config.syntax", 1, 3));
        check_refused("yaml", "a: 99999999999999999999\n", ("config.syntax", 1, 4));
        check_refused("json", "{\"a\": 1,}\n", ("config.syntax", 1, 9));
        check_refused("json", "{\"a\": 'x'}\n", ("config.syntax", 1, 7));
        check_refused("json", "{\"a\": \"\\ud800\"}\n", ("config.syntax", 1, 7));
        check_refused("json", "{} {}", ("config.syntax", 1, 4));
    }

    #[test]
    fn bottomless_nesting_is_refused_at_once() {
        let start = std::time::Instant::now();
        for depth in [MAX_DEPTH + 1, 100, 1_000, 100_000] {
            for (extension, text) in [
                ("yaml", "[".repeat(depth)),
                ("yaml", "{a: ".repeat(depth)),
                ("yaml", "- ".repeat(depth)),
                ("json", "[".repeat(depth) + &"]".repeat(depth)),
                ("json", "{\"a\":".repeat(depth)),
                ("toml", format!("a = {}", "[".repeat(depth))),
                ("toml", format!("a = {}1{}", "[".repeat(depth), "]".repeat(depth))),
                ("toml", format!("a = {}", "{a=".repeat(depth))),
                ("toml", format!("a{} = 1", ".a".repeat(depth))),
                ("toml", format!("[a{}]", ".a".repeat(depth))),
                ("toml", format!("[a{}]", " . \"a\"".repeat(depth))),
            ] {
                assert!(parse(extension, &text).is_err(), "{extension} {depth}: {}", &text[..20]);
            }
        }
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }

    #[test]
    fn nesting_that_people_write_is_accepted() {
        let depth = MAX_DEPTH - 2;
        for (extension, text) in [
            ("yaml", format!("a: {}{}", "[".repeat(depth), "]".repeat(depth))),
            ("json", format!("{{\"a\": {}{}}}", "[".repeat(depth), "]".repeat(depth))),
            ("toml", format!("a = {}{}", "[".repeat(depth), "]".repeat(depth))),
        ] {
            assert!(parse(extension, &text).is_ok(), "{extension}");
        }
    }

    #[test]
    fn aliases_that_unfold_without_end_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(matches!(parse("yaml", &bomb), Err(error) if rendered(&error).contains("unfold")));
        let wide = format!("a: &a [{}]\nb: [{}]\n", ["x"; 1_000].join(", "), ["*a"; 200].join(", "));
        assert!(matches!(parse("yaml", &wide), Err(error) if rendered(&error).contains("unfold")));
        let chain: String =
            (1..200).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
        assert!(
            matches!(parse("yaml", &format!("a0: &a0 [x]\n{chain}")), Err(error) if rendered(&error).contains("more than 64"))
        );
        check_refused("yaml", "a: &a [*a]\n", ("config.syntax", 1, 8));
    }

    #[test]
    fn what_is_no_text_is_told_with_its_place() {
        let folder = std::env::temp_dir().join(format!("dirigent-document-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("dirigent.toml");
        std::fs::write(&path, b"a = 1\nb = '\xff'\n").expect("a file");
        let text = rendered(&Document::load(&path).expect_err("is refused"));
        std::fs::remove_dir_all(&folder).expect("is removed");
        assert!(text.contains("not UTF-8") && text.contains(":2:6"), "{text}");
    }
}
