//! What the tasks of a workflow file do, with the expressions in it understood.

use crate::expression::{Expression, Mistake};
use crate::template::{Part, Template, as_text};
use serde_json::{Map, Value};

/// What a task does.
#[derive(Clone, Debug, PartialEq)]
pub enum FileAction {
    /// Runs a program: it and its arguments.
    Run(Vec<Template>),
    /// Runs a line by `sh`.
    Shell(Vec<Piece>),
    /// Runs a script.
    Script {
        /// The file.
        path: Template,
        /// Its arguments.
        args: Vec<Template>,
    },
    /// Calls a function.
    Python {
        /// `module:function`.
        function: String,
        /// Its named arguments.
        with: Vec<(String, Shape)>,
    },
    /// Runs the tasks of another workflow file.
    Workflow {
        /// The file, meant from this one's folder.
        path: String,
        /// Its parameters.
        with: Vec<(String, Shape)>,
    },
    /// Waits until somebody approves.
    Approval(Template),
    /// Waits until somebody gives a value.
    Signal(Template),
}

/// A piece of a line for a shell.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// A variable that holds what an expression gives, quoted where the line does not.
    Value {
        /// The expression.
        expression: Expression,
        /// Whether it stands in double quotes already.
        is_quoted: bool,
    },
}

/// A value with expressions in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A text, or one expression for the whole.
    Template(Template),
    /// A list.
    List(Vec<Self>),
    /// A table.
    Table(Vec<(String, Self)>),
    /// Without any.
    Plain(Value),
}

/// What a task runs once for each of.
#[derive(Clone, Debug, PartialEq)]
pub enum Each {
    /// The items of a list.
    Items(Shape),
    /// Every combination of one item of each list, as tables.
    Matrix(Vec<(String, Shape)>),
}

impl FileAction {
    /// The expressions in it.
    pub(super) fn expressions(&self) -> Box<dyn Iterator<Item = &Expression> + '_> {
        match self {
            Self::Run(argv) => Box::new(argv.iter().flat_map(Template::expressions)),
            Self::Shell(pieces) => Box::new(pieces.iter().filter_map(|piece| match piece {
                Piece::Value { expression, .. } => Some(expression),
                Piece::Text(_) => None,
            })),
            Self::Script { path, args } => {
                Box::new(path.expressions().chain(args.iter().flat_map(Template::expressions)))
            }
            Self::Python { with, .. } | Self::Workflow { with, .. } => {
                Box::new(with.iter().flat_map(|(_, shape)| shape.expressions()))
            }
            Self::Approval(text) | Self::Signal(text) => Box::new(text.expressions()),
        }
    }

    /// Whether a program is started for it.
    pub fn is_program(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Shell(_) | Self::Script { .. } | Self::Python { .. })
    }
}

/// The arguments that a text stands for: one, or where the whole of it is one expression that gives a list, each of its items.
///
/// # Errors
///
/// An expression cannot be worked out, or gives nothing.
pub fn arguments(template: &Template, values: &Value) -> Result<Vec<String>, String> {
    let [Part::Expression(expression)] = template.parts() else {
        return template.text(values).map(|text| vec![text]);
    };
    match expression.evaluate(values)? {
        Value::Array(items) => items.iter().map(|item| as_text(expression, item)).collect(),
        value => as_text(expression, &value).map(|text| vec![text]),
    }
}

impl Shape {
    /// Takes a value apart. The mistake comes with the text that it is in.
    ///
    /// # Errors
    ///
    /// An expression in it is none.
    pub fn parse(value: Value) -> Result<Self, (String, Mistake)> {
        Ok(match value {
            Value::String(text) => match Template::parse(&text) {
                Ok(template) if template.as_text().is_some_and(|plain| plain == text) => {
                    Self::Plain(Value::String(text))
                }
                Ok(template) => Self::Template(template),
                Err(mistake) => return Err((text, mistake)),
            },
            Value::Array(items) => {
                let items = items.into_iter().map(Self::parse).collect::<Result<Vec<_>, _>>()?;
                match items.iter().all(|item| matches!(item, Self::Plain(_))) {
                    true => Self::Plain(items.into_iter().map(Self::plain).collect()),
                    false => Self::List(items),
                }
            }
            Value::Object(entries) => {
                let entries = entries.into_iter().map(|(name, value)| Ok((name, Self::parse(value)?)));
                let entries: Vec<(String, Self)> = entries.collect::<Result<_, _>>()?;
                match entries.iter().all(|(_, value)| matches!(value, Self::Plain(_))) {
                    true => Self::Plain(Value::Object(
                        entries.into_iter().map(|(name, value)| (name, value.plain())).collect(),
                    )),
                    false => Self::Table(entries),
                }
            }
            plain => Self::Plain(plain),
        })
    }

    fn plain(self) -> Value {
        match self {
            Self::Plain(value) => value,
            _ => Value::Null,
        }
    }

    /// The expressions in it.
    pub(super) fn expressions(&self) -> Box<dyn Iterator<Item = &Expression> + '_> {
        match self {
            Self::Template(template) => Box::new(template.expressions()),
            Self::List(items) => Box::new(items.iter().flat_map(Self::expressions)),
            Self::Table(entries) => Box::new(entries.iter().flat_map(|(_, value)| value.expressions())),
            Self::Plain(_) => Box::new(std::iter::empty()),
        }
    }

    /// Its value.
    ///
    /// # Errors
    ///
    /// An expression cannot be worked out.
    pub fn value(&self, values: &Value) -> Result<Value, String> {
        match self {
            Self::Template(template) => template.value(values),
            Self::List(items) => items.iter().map(|item| item.value(values)).collect(),
            Self::Table(entries) => {
                let entries = entries.iter().map(|(name, value)| Ok((name.clone(), value.value(values)?)));
                entries.collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
            Self::Plain(value) => Ok(value.clone()),
        }
    }
}

/// How many tasks one may become.
pub const MOST_ITEMS: usize = 100_000;

impl Each {
    /// The expressions in it.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> + Clone {
        let found: Vec<&Expression> = match self {
            Self::Items(items) => items.expressions().collect(),
            Self::Matrix(lists) => lists.iter().flat_map(|(_, list)| list.expressions()).collect(),
        };
        found.into_iter()
    }

    /// The items.
    ///
    /// # Errors
    ///
    /// An expression cannot be worked out, gives no list, or there are too many.
    pub fn items(&self, values: &Value) -> Result<Vec<Value>, String> {
        let items = match self {
            Self::Items(items) => list(items.value(values)?)?,
            Self::Matrix(lists) => {
                let mut items = vec![Map::new()];
                for (name, choices) in lists {
                    let choices = list(choices.value(values)?).map_err(|why| format!("`{name}`: {why}"))?;
                    if items.len().saturating_mul(choices.len()) > MOST_ITEMS {
                        return Err(format!("more than {MOST_ITEMS} combinations"));
                    }
                    let extended = items.iter().flat_map(|item| {
                        choices.iter().map(|choice| {
                            let mut item = item.clone();
                            item.insert(name.clone(), choice.clone());
                            item
                        })
                    });
                    items = extended.collect();
                }
                items.into_iter().map(Value::Object).collect()
            }
        };
        match items.len() {
            0..=MOST_ITEMS => Ok(items),
            n => Err(format!("{n} items, and {MOST_ITEMS} are the most")),
        }
    }
}

fn list(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(_) => Err("a table, and a list is wanted".to_owned()),
        value => Err(format!("{value}, and a list is wanted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_makes_as_many_arguments() {
        let values = json!({"l": ["a b", 2, true], "s": "x y"});
        let of = |text: &str| arguments(&Template::parse(text).expect("is one"), &values);
        assert_eq!(of("${{ l }}"), Ok(vec!["a b".to_owned(), "2".to_owned(), "true".to_owned()]));
        assert_eq!(of("${{ s }}"), Ok(vec!["x y".to_owned()]));
        assert_eq!(of("--x=${{ l }}"), Ok(vec!["--x=[\"a b\",2,true]".to_owned()]));
        assert_eq!(of(""), Ok(vec![String::new()]));
    }

    #[test]
    fn a_matrix_is_every_combination() {
        let shape = |value: Value| Shape::parse(value).expect("is one");
        let matrix = Each::Matrix(vec![
            ("os".to_owned(), shape(json!(["a", "b"]))),
            ("n".to_owned(), shape(json!("${{ params.n }}"))),
        ]);
        let items = matrix.items(&json!({"params": {"n": [1, 2]}})).expect("lists");
        assert_eq!(
            json!(items),
            json!([{"os": "a", "n": 1}, {"os": "a", "n": 2}, {"os": "b", "n": 1}, {"os": "b", "n": 2}])
        );
        assert!(matrix.items(&json!({"params": {"n": 3}})).is_err());
    }
}
