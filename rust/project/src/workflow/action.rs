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

/// Takes a line for a shell apart. Values come as variables: what is in them is never read as a command.
///
/// # Errors
///
/// An expression is none, or stands where a shell would take no variable, or would look into one.
pub(super) fn shell_line(text: &str) -> Result<Vec<Piece>, Mistake> {
    let template = Template::parse(text)?;
    let mut quotes = Quotes::default();
    let mut pieces = Vec::new();
    for part in template.parts() {
        match part {
            Part::Text(plain) => {
                quotes.read(plain);
                pieces.push(Piece::Text(plain.clone()));
            }
            Part::Expression(expression) => {
                let at = text.find(expression.text()).unwrap_or(0);
                let refuse = |message: &str| Mistake {
                    message: message.to_owned(),
                    hint: Some("give it a name under `env`, and use that as `\"$NAME\"`".to_owned()),
                    span: at..at + expression.text().len(),
                };
                let is_quoted = match quotes.place() {
                    Place::Single => return Err(refuse("in single quotes a shell knows no value")),
                    Place::Arithmetic => return Err(refuse("in `$((…))` a shell looks into a value")),
                    Place::Here => {
                        return Err(refuse("in a here-document this cannot be told apart from its text"));
                    }
                    Place::Double => true,
                    Place::Plain => false,
                };
                pieces.push(Piece::Value { expression: expression.clone(), is_quoted });
            }
        }
    }
    Ok(pieces)
}

/// Where one stands in a line for a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Plain,
    Single,
    Double,
    Arithmetic,
    Here,
}

/// Follows the quotes of a line for a shell.
#[derive(Default)]
struct Quotes {
    /// From the outside in; the outermost is plain.
    open: Vec<Place>,
    is_here: bool,
}

impl Quotes {
    fn place(&self) -> Place {
        match self.open.last() {
            _ if self.is_here => Place::Here,
            Some(place) => *place,
            None => Place::Plain,
        }
    }

    fn read(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let mut length = c.len_utf8();
            match (self.open.last().copied().unwrap_or(Place::Plain), c) {
                (Place::Single, '\'') => drop(self.open.pop()),
                (Place::Single, _) => {}
                (_, '\\') => length += rest[length..].chars().next().map_or(0, char::len_utf8),
                (_, '$') if rest.starts_with("$((") => {
                    self.open.push(Place::Arithmetic);
                    length = 3;
                }
                (_, '$') if rest.starts_with("$(") => {
                    self.open.push(Place::Plain);
                    length = 2;
                }
                (Place::Arithmetic, ')') if rest.starts_with("))") => {
                    self.open.pop();
                    length = 2;
                }
                (Place::Double, '"') => drop(self.open.pop()),
                (Place::Plain | Place::Arithmetic, '"') => self.open.push(Place::Double),
                (Place::Plain, '\'') => self.open.push(Place::Single),
                (Place::Plain, '(') => self.open.push(Place::Plain),
                (Place::Plain, ')') => drop(self.open.pop()),
                (Place::Plain, '<') if rest.starts_with("<<") && !rest.starts_with("<<<") => {
                    self.is_here = true
                }
                (Place::Plain, '<') if rest.starts_with("<<<") => length = 3,
                (Place::Plain, '#') if self.begins_comment(text, rest) => {
                    length = rest.find('\n').unwrap_or(rest.len());
                }
                _ => {}
            }
            rest = &rest[length..];
        }
    }

    fn begins_comment(&self, text: &str, rest: &str) -> bool {
        let before = text[..text.len() - rest.len()].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || c == ';')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn drawn(text: &str) -> Result<String, String> {
        let pieces = shell_line(text).map_err(|mistake| mistake.message)?;
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value { is_quoted: true, .. } => "V".to_owned(),
            Piece::Value { is_quoted: false, .. } => "Q".to_owned(),
        };
        Ok(pieces.iter().map(piece).collect())
    }

    #[test]
    fn a_shell_gets_values_as_variables_quoted_where_they_are_not() {
        let check = |text: &str, expected: &str| assert_eq!(drawn(text), Ok(expected.to_owned()), "{text}");
        check("echo ${{ x }}", "echo Q");
        check("echo \"a ${{ x }}\" ${{ x }}", "echo \"a V\" Q");
        check("echo 'it''s' ${{ x }}", "echo 'it''s' Q");
        check("echo \"$(cat ${{ x }})\" ${{ x }}", "echo \"$(cat Q)\" Q");
        check("(cd ${{ x }} && ls) | wc", "(cd Q && ls) | wc");
        check("echo \\\" ${{ x }}", "echo \\\" Q");
        check("echo $((1 + 2)) ${{ x }}", "echo $((1 + 2)) Q");
        check("# it's\necho ${{ x }}", "# it's\necho Q");
        check("echo a#'b' ${{ x }}", "echo a#'b' Q");
    }

    #[test]
    fn where_a_shell_takes_no_value_none_is_given() {
        for text in ["echo '${{ x }}'", "echo $((${{ x }} + 1))", "cat <<E\n${{ x }}\nE"] {
            assert!(drawn(text).is_err(), "{text}");
        }
    }

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
