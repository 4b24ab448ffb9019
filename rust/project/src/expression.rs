//! The expressions of workflow files: what stands in `when`, `each`, `until` and between `${{` and `}}`.
//!
//! The language is that of Jinja's expressions, cut down to a fixed set of filters and tests: no statement, no call of
//! anything that is not listed here, no way out of the values that are given. Knows nothing of files and tasks.

use crate::diagnose::did_you_mean;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, filters, tests};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, OnceLock};

/// The longest expression, in bytes: what is longer belongs into a program. It also bounds how deep one can nest.
pub const MAX_BYTES: usize = 1_000;

/// How many steps one may take: each costs less than a microsecond.
const FUEL: u64 = 100_000;

/// Declares the filters once: what they are called, and what does them.
macro_rules! fixed {
    ($add:ident, $names:ident, $($name:literal => $function:path),* $(,)?) => {
        const $names: &[&str] = &[$($name),*];

        fn $add(environment: &mut Environment<'static>) {
            environment.set_fuel(Some(FUEL));
            $(environment.$add($name, $function);)*
        }
    };
}

fixed! { add_filter, FILTERS,
    "abs" => filters::abs, "bool" => filters::bool, "default" => filters::default, "first" => filters::first,
    "float" => filters::float, "int" => filters::int, "items" => filters::items, "join" => filters::join,
    "json" => json, "last" => filters::last, "length" => filters::length, "lines" => filters::lines,
    "list" => filters::list, "lower" => filters::lower, "max" => filters::max, "min" => filters::min,
    "replace" => filters::replace, "reverse" => filters::reverse, "round" => filters::round, "sort" => filters::sort,
    "split" => filters::split, "string" => filters::string, "sum" => filters::sum, "trim" => filters::trim,
    "unique" => filters::unique, "upper" => filters::upper,
}

fixed! { add_test, TESTS,
    "defined" => tests::is_defined, "divisibleby" => tests::is_divisibleby, "endingwith" => tests::is_endingwith,
    "even" => tests::is_even, "false" => tests::is_false, "in" => tests::is_in, "mapping" => tests::is_mapping,
    "none" => tests::is_none, "number" => tests::is_number, "odd" => tests::is_odd, "sequence" => tests::is_sequence,
    "startingwith" => tests::is_startingwith, "string" => tests::is_string, "true" => tests::is_true,
}

static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    add_filter(&mut environment);
    add_test(&mut environment);
    environment
});

/// An expression that was understood.
#[derive(Clone)]
pub struct Expression(Arc<Inner>);

struct Inner {
    text: Box<str>,
    references: BTreeSet<Vec<String>>,
    /// Made when it is first worked out: a file may have thousands, of which one run needs few, and each takes kilobytes.
    compiled: OnceLock<Compiled>,
}

type Compiled = minijinja::Expression<'static, 'static>;

/// How many expressions a thread remembers that it understood: files say the same over and over.
const MOST_REMEMBERED: usize = 256;

thread_local! {
    static UNDERSTOOD: RefCell<HashMap<Box<str>, Expression>> = RefCell::default();
}

/// What is wrong with an expression, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What.
    pub message: String,
    /// One thing to try.
    pub hint: Option<String>,
    /// The bytes of the expression it is about.
    pub span: Range<usize>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.0.text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Expression {
    /// Understands a text.
    ///
    /// # Errors
    ///
    /// It is no expression, uses what there is not, or is too long.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let known = UNDERSTOOD.with_borrow(|known| known.get(text).cloned());
        if let Some(known) = known {
            return Ok(known);
        }
        let it = Self::understand(text)?;
        UNDERSTOOD.with_borrow_mut(|known| {
            if known.len() >= MOST_REMEMBERED {
                known.clear();
            }
            known.insert(text.into(), it.clone());
        });
        Ok(it)
    }

    fn understand(text: &str) -> Result<Self, Mistake> {
        let mistake = |message: String, span: Range<usize>| {
            let hint = text.get(span.start..).and_then(as_written_elsewhere).map(str::to_owned);
            Mistake { message, hint, span }
        };
        if text.trim().is_empty() {
            return Err(mistake("there is no expression".to_owned(), 0..text.len()));
        }
        if text.len() > MAX_BYTES {
            let message = format!("an expression of {} bytes, and {MAX_BYTES} are the most", text.len());
            let hint = Some("let a task work it out".to_owned());
            return Err(Mistake { message, hint, span: 0..text.len() });
        }
        check_words(text)?;
        let compiled = LANGUAGE.compile_expression_owned(text.to_owned()).map_err(|error| {
            let span = error.range().unwrap_or(0..text.len());
            mistake(in_our_words(&error), span.start.min(text.len())..span.end.min(text.len()))
        })?;
        let references = compiled.undeclared_variables(true);
        let references = references.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect();
        Ok(Self(Arc::new(Inner { text: text.into(), references, compiled: OnceLock::new() })))
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The values it speaks of, each as the path of its parts: `params.day` is `["params", "day"]`.
    pub fn references(&self) -> &BTreeSet<Vec<String>> {
        &self.0.references
    }

    /// Its value, given those it speaks of as one JSON object.
    ///
    /// # Errors
    ///
    /// Something it speaks of is not there, or what it does with it makes no sense; as a sentence without its end.
    pub fn evaluate(&self, values: &serde_json::Value) -> Result<serde_json::Value, String> {
        let Inner { text, compiled, .. } = &*self.0;
        let told = |why: String| format!("`{}`: {why}", text.trim());
        let compiled = match compiled.get() {
            Some(compiled) => compiled,
            None => {
                let new = LANGUAGE.compile_expression_owned(text.to_string());
                let new = new.map_err(|error| told(in_our_words(&error)))?;
                compiled.get_or_init(|| new)
            }
        };
        let value = compiled.eval(Value::from(Serde(values))).map_err(|error| told(in_our_words(&error)))?;
        if value.is_undefined() {
            return Err(told("there is no such value".to_owned()));
        }
        serde_json::to_value(&value).map_err(|error| told(error.to_string()))
    }
}

/// A value as JSON.
fn json(value: &Value) -> Result<String, minijinja::Error> {
    serde_json::to_string(value)
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// What a sign of other languages is called here.
fn as_written_elsewhere(rest: &str) -> Option<&'static str> {
    let signs = [
        ("&&", "write `and`"),
        ("||", "write `or`"),
        ("!=", ""),
        ("!", "write `not`"),
        ("==", ""),
        ("=", "compare by `==`"),
        ("?", "write `a if condition else b`"),
    ];
    let (_, hint) = signs.into_iter().find(|(sign, _)| rest.trim_start().starts_with(sign))?;
    Some(hint).filter(|hint| !hint.is_empty())
}

/// With its article.
fn a(what: &str) -> String {
    match what.chars().next() {
        Some('`') => what.to_owned(),
        Some(c) if "aeiou".contains(c) => format!("an {what}"),
        _ => format!("a {what}"),
    }
}

fn named(what: &str) -> String {
    what.replace("end of block", "the end").replace("end of input", "the end")
}

/// What the library says, without its own place, which is not that in the file.
fn in_our_words(error: &minijinja::Error) -> String {
    let detail = error.detail().unwrap_or_default();
    match error.kind() {
        ErrorKind::SyntaxError => match detail {
            "template exceeds maximum recursion limits" => "too many brackets inside each other".to_owned(),
            "unexpected input after expression" => "the expression ends before this".to_owned(),
            detail if detail.starts_with("unexpected end of") => match detail.split_once(", expected ") {
                Some((_, expected)) => format!("it ends where {} is wanted", a(expected)),
                None => "it ends too early".to_owned(),
            },
            detail => match detail.strip_prefix("unexpected ").and_then(|it| it.split_once(", expected ")) {
                Some((found, expected)) => {
                    format!("{} where {} is wanted", named(found), a(&named(expected)))
                }
                None => detail.to_owned(),
            },
        },
        ErrorKind::OutOfFuel => format!("it takes more than {FUEL} steps"),
        ErrorKind::UndefinedError if detail.is_empty() => "a value it speaks of is not there".to_owned(),
        _ if detail.is_empty() => error.kind().to_string(),
        _ => detail.replace("is undefined", "is not there"),
    }
}

/// Sees that filters and tests are those there are, and that nothing else is called.
///
/// The library would say so only when the expression is evaluated, which may be hours later.
fn check_words(text: &str) -> Result<(), Mistake> {
    let tokens: Vec<(Range<usize>, Token<'_>)> = Tokens { text, at: 0 }.collect();
    for (place, (span, token)) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let before = |back: usize| place.checked_sub(back).map(|at| &tokens[at].1);
        let is_called = matches!(tokens.get(place + 1), Some((_, Token::Sign('('))));
        let is_test = matches!(before(1), Some(Token::Word("is")))
            || matches!((before(1), before(2)), (Some(Token::Word("not")), Some(Token::Word("is"))));
        let (known, what) = match before(1) {
            Some(Token::Sign('|')) => (FILTERS, "filter"),
            _ if is_test && *word != "not" => (TESTS, "test"),
            Some(Token::Sign('.')) if is_called => (&[][..], "method"),
            _ if is_called && !KEYWORDS.contains(word) => (&[][..], "function"),
            _ => continue,
        };
        if !known.contains(word) {
            let hint = match did_you_mean(word, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if known.is_empty() => {
                    format!("there are filters, as in `x | length`: {}", FILTERS.join(", "))
                }
                None => format!("there are {}", known.join(", ")),
            };
            let message = format!("there is no {what} `{word}`");
            return Err(Mistake { message, hint: Some(hint), span: span.clone() });
        }
    }
    Ok(())
}

const KEYWORDS: [&str; 6] = ["and", "or", "not", "in", "is", "if"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Sign(char),
}

/// Words and signs of an expression; strings are left out, since nothing in them counts.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (Range<usize>, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        loop {
            let rest = &self.text[self.at..];
            let first = rest.chars().next()?;
            let start = self.at;
            if is_part(first) {
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                self.at += length;
                return Some((start..self.at, Token::Word(&rest[..length])));
            }
            self.at += first.len_utf8();
            match first {
                '"' | '\'' => self.at += string_end(&self.text[self.at..], first),
                c if c.is_whitespace() => {}
                c => return Some((start..self.at, Token::Sign(c))),
            }
        }
    }
}

/// How many bytes there are up to the end of a string, its quote included.
pub(crate) fn string_end(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests_of_expressions {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: serde_json::Value) {
        let values = json!({
            "params": {"day": "monday", "n": 3, "list": [3, 1, 2], "none": null},
            "tasks": {"clean": {"value": {"shards": ["a", "b"]}, "status": "completed"}, "a b": {"value": 1}},
        });
        let value =
            Expression::parse(text).map_err(|mistake| mistake.message).and_then(|it| it.evaluate(&values));
        assert_eq!(value, Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, message: &str, span: Range<usize>) {
        let mistake = Expression::parse(text).expect_err(text);
        assert_eq!((mistake.message.as_str(), mistake.span), (message, span), "{text}");
    }

    #[test]
    fn expressions_say_what_they_say_in_jinja() {
        check("params.day == 'monday' and params.n > 2", json!(true));
        check("tasks.clean.value.shards | length", json!(2));
        check("tasks['a b'].value + 1", json!(2));
        check("params.list | sort | join('-')", json!("1-2-3"));
        check("'x' if params.n is odd else 'y'", json!("x"));
        check("params.none is none", json!(true));
        check("params.n not in [1, 2]", json!(true));
        check("params.day ~ '!' | upper", json!("monday!"));
        check("{'a': [params.n]}", json!({"a": [3]}));
        check("params.list[1:]", json!([1, 2]));
        check("'is | nothing( here'", json!("is | nothing( here"));
    }

    #[test]
    fn what_is_not_there_is_an_error_and_never_nothing() {
        let values = json!({"params": {"day": 1}});
        for text in
            ["params.nope", "params.nope == 1", "params.day.x.y", "nobody", "params.day + 'a'", "1 / 0"]
        {
            let error = Expression::parse(text).expect("is one").evaluate(&values).expect_err(text);
            assert!(error.starts_with('`'), "{error}");
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        check_refused("", "there is no expression", 0..0);
        check_refused("params.day |  lenght", "there is no filter `lenght`", 14..20);
        check_refused("x is evn", "there is no test `evn`", 5..8);
        check_refused("range(10)", "there is no function `range`", 0..5);
        check_refused("x.upper()", "there is no method `upper`", 2..7);
        check_refused("a b", "the expression ends before this", 2..3);
        check_refused("(1", "it ends where `)` is wanted", 1..2);
        assert_eq!(
            Expression::parse("lenght(x)").expect_err("no").hint.map(|hint| hint.len() > 20),
            Some(true)
        );
    }

    #[test]
    fn what_is_hostile_is_refused_and_nothing_overflows() {
        for deep in ["(", "[", "not ", "-", "{'a':", "a.", "1+", "x|length|", "a if "] {
            let text = deep.repeat(MAX_BYTES / deep.len()) + "1";
            let in_thread = std::thread::Builder::new().stack_size(1 << 20);
            let parse =
                move || Expression::parse(&text).map(|it| it.evaluate(&json!({"a": 1, "x": [1]})).is_ok());
            in_thread.spawn(parse).expect("a thread").join().map(drop).expect(deep);
        }
        assert!(Expression::parse(&"1+".repeat(5_000)).is_err());
        let bomb = "'aaaaaaaaaa' * 100000 * 100000 * 100000";
        assert!(Expression::parse(bomb).expect("is one").evaluate(&json!({})).is_err());
    }

    #[test]
    fn an_expression_says_what_it_speaks_of() {
        let it = Expression::parse("params.day and tasks.clean.value.x[params.n] and tasks['a b']")
            .expect("is one");
        let references: Vec<String> = it.references().iter().map(|path| path.join(".")).collect();
        assert_eq!(references, ["params.day", "params.n", "tasks", "tasks.clean.value.x"]);
    }
}
