//! Text with expressions in it: `--day=${{ params.day }}`.
//!
//! What an expression gives is put in as a value. Nothing looks at the outcome again, so that no value can become code.

use crate::expression::{Expression, Mistake, string_end};
use serde_json::Value;

/// A text with expressions in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// To be worked out.
    Expression(Expression),
}

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

impl Template {
    /// Takes a text apart. `$${{` stands for `${{` itself.
    ///
    /// # Errors
    ///
    /// An expression has no end, or is none; the place is that in the text.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find(OPEN) {
            let open = at + found;
            if text[..open].ends_with('$') {
                plain.push_str(&text[at..open - 1]);
                plain.push_str(OPEN);
                at = open + OPEN.len();
                continue;
            }
            plain.push_str(&text[at..open]);
            let inner = open + OPEN.len();
            let Some(length) = expression_end(&text[inner..]) else {
                let message = "`${{` without its `}}`".to_owned();
                let hint = Some("write `$${{` where the text itself is meant".to_owned());
                return Err(Mistake { message, hint, span: open..inner });
            };
            let expression = Expression::parse(&text[inner..inner + length]).map_err(|mistake| Mistake {
                span: inner + mistake.span.start..inner + mistake.span.end,
                ..mistake
            })?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Expression(expression));
            at = inner + length + CLOSE.len();
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// Its pieces.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The expressions in it.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) => None,
        })
    }

    /// The text itself, where there is no expression in it.
    pub fn as_text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Its value: of whatever kind where the whole of it is one expression, else text.
    ///
    /// # Errors
    ///
    /// An expression cannot be worked out.
    pub fn value(&self, values: &Value) -> Result<Value, String> {
        match self.parts.as_slice() {
            [Part::Expression(expression)] => expression.evaluate(values),
            _ => self.text(values).map(Value::String),
        }
    }

    /// Its value as text.
    ///
    /// # Errors
    ///
    /// An expression cannot be worked out, or gives nothing.
    pub fn text(&self, values: &Value) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Expression(expression) => {
                    text.push_str(&as_text(expression, &expression.evaluate(values)?)?)
                }
            }
        }
        Ok(text)
    }
}

/// A value as it stands in a text: strings as they are, the rest as JSON.
///
/// # Errors
///
/// It is null: nothing cannot stand for something.
pub fn as_text(expression: &Expression, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Err(format!("`{}` is null, and a text is wanted", expression.text().trim())),
        value => Ok(value.to_string()),
    }
}

/// Where the expression ends: the first `}}` that stands in no string and closes no table.
fn expression_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '}' if depth == 0 => return text[at..].starts_with(CLOSE).then_some(at),
            '{' => depth += 1,
            '}' => depth -= 1,
            '"' | '\'' => at += string_end(&text[at + 1..], c),
            _ => {}
        }
        at += c.len_utf8();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: Value) {
        let values = json!({"params": {"day": "a; rm -rf / $(x) {{7*7}} ${{ 1 }}", "n": 3, "l": [1, "b"]}});
        let value = Template::parse(text).map_err(|mistake| mistake.message).and_then(|it| it.value(&values));
        assert_eq!(value, Ok(expected), "{text}");
    }

    #[test]
    fn values_are_put_in_and_never_looked_at_again() {
        check("plain", json!("plain"));
        check("", json!(""));
        check("--day=${{ params.day }}", json!("--day=a; rm -rf / $(x) {{7*7}} ${{ 1 }}"));
        check("${{ params.n }}", json!(3));
        check("${{ params.n }}-${{params.n + 1}}", json!("3-4"));
        check("${{ params.l }}", json!([1, "b"]));
        check("x${{ params.l }}", json!("x[1,\"b\"]"));
        check("${{ {'a': {'b': '}}'}} }}", json!({"a": {"b": "}}"}}));
        check("$${{ params.n }} $HOME {{ x }} }}", json!("${{ params.n }} $HOME {{ x }} }}"));
    }

    #[test]
    fn mistakes_have_their_place_in_the_whole_text() {
        let refused = |text: &str| {
            Template::parse(text).map_err(|mistake| (mistake.message, mistake.span)).expect_err(text)
        };
        assert_eq!(refused("a ${{ params.n"), ("`${{` without its `}}`".to_owned(), 2..5));
        assert_eq!(refused("a ${{ x | nope }}"), ("there is no filter `nope`".to_owned(), 10..14));
        assert_eq!(refused("${{ }}"), ("there is no expression".to_owned(), 3..4));
    }

    #[test]
    fn nothing_is_no_text() {
        let it = Template::parse("a${{ x }}").expect("is one");
        assert_eq!(it.text(&json!({"x": null})), Err("`x` is null, and a text is wanted".to_owned()));
    }
}
