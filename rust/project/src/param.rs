//! The parameters of a workflow file: what they may be, and what a run is given.

use crate::diagnose::did_you_mean;
use crate::workflow_schema::{ParamFile, ParamKind};
use serde_json::{Map, Value};

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// What it is called.
    pub name: String,
    /// What kind of value it takes.
    pub kind: ParamKind,
    /// Its value where none is given.
    pub default: Option<Value>,
    /// The values it may have; empty for any.
    pub allowed: Vec<Value>,
    /// What it is for.
    pub description: Option<String>,
}

/// What a parameter is given.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// A text, as typed.
    Text(String),
    /// A value.
    Value(Value),
}

/// The day it is, as `YYYY-MM-DD`, and those beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Days {
    /// Today.
    pub today: String,
    /// The day before.
    pub yesterday: String,
    /// The day after.
    pub tomorrow: String,
}

impl ParamKind {
    /// What it is called in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::List => "list",
            Self::Json => "json",
        }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::String(_) => Self::String,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_f64() => Self::Float,
            Value::Number(_) => Self::Int,
            Value::Array(_) => Self::List,
            Value::Object(_) | Value::Null => Self::Json,
        }
    }

    /// Reads a text that somebody typed.
    fn read(self, text: &str) -> Result<Value, String> {
        let wrong = || format!("{text:?} is no {}", self.sort());
        match self {
            Self::String | Self::Date => Ok(text.into()),
            Self::Int => text.trim().parse::<i64>().map(Value::from).map_err(|_| wrong()),
            Self::Float => {
                let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
                number.map(Value::from).ok_or_else(wrong)
            }
            Self::Bool => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(true.into()),
                "false" | "no" | "off" | "0" => Ok(false.into()),
                _ => Err(wrong()),
            },
            Self::List if !text.trim_start().starts_with('[') => {
                Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect())
            }
            Self::List | Self::Json => {
                serde_json::from_str(text).map_err(|error| format!("{}: {error}", wrong()))
            }
        }
    }

    fn sort(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Int => "whole number",
            Self::Float => "number",
            Self::Bool => "`true` or `false`",
            Self::Date => "day such as `2026-11-21` or `today`",
            Self::List => "list",
            Self::Json => "JSON",
        }
    }

    /// Sees that a value is one of this kind. A day by its name becomes that day, where it is known.
    fn see(self, value: Value, days: Option<&Days>) -> Result<Value, String> {
        let is_one = match (self, &value) {
            (Self::String, Value::String(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::List, Value::Array(_)) => true,
            (Self::Int, Value::Number(number)) => number.is_i64(),
            (Self::Float, Value::Number(_)) | (Self::Json, _) => true,
            (Self::Date, Value::String(text)) => match (text.as_str(), days) {
                ("today", Some(days)) => return Ok(days.today.clone().into()),
                ("yesterday", Some(days)) => return Ok(days.yesterday.clone().into()),
                ("tomorrow", Some(days)) => return Ok(days.tomorrow.clone().into()),
                ("today" | "yesterday" | "tomorrow", None) => true,
                (text, _) => is_day(text),
            },
            _ => false,
        };
        if is_one { Ok(value) } else { Err(format!("{value} is no {}", self.sort())) }
    }
}

/// Whether a text is a day of the calendar, as `YYYY-MM-DD`.
fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let number = |text: &str, digits: usize| {
        let is_number = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse::<u32>().ok()).flatten()
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

impl Param {
    /// Makes sense of what a file says of a parameter.
    ///
    /// # Errors
    ///
    /// Its default or what is allowed is not of its kind.
    pub fn new(name: &str, file: ParamFile) -> Result<Self, String> {
        let (kind, default, allowed, description) = match file {
            ParamFile::Default(value) => (None, Some(value), Vec::new(), None),
            ParamFile::Full(table) => (
                table.kind,
                table.default.map(|default| default.value),
                table.allowed.map(|allowed| allowed.value).unwrap_or_default(),
                table.description,
            ),
        };
        let example = default.as_ref().or(allowed.first());
        let kind = kind.unwrap_or_else(|| example.map_or(ParamKind::String, ParamKind::of));
        let param = Self { name: name.to_owned(), kind, default, allowed, description };
        for value in &param.allowed {
            kind.see(value.clone(), None).map_err(|why| format!("of the values it may have, {why}"))?;
        }
        if let Some(default) = &param.default {
            let default = kind.see(default.clone(), None).map_err(|why| format!("its default {why}"))?;
            param.see_allowed(&default).map_err(|why| format!("its default {why}"))?;
        }
        Ok(param)
    }

    fn see_allowed(&self, value: &Value) -> Result<(), String> {
        if self.allowed.is_empty() || self.allowed.contains(value) {
            return Ok(());
        }
        let allowed: Vec<String> = self.allowed.iter().map(Value::to_string).collect();
        Err(format!("{value} is none of {}", allowed.join(", ")))
    }

    fn take(&self, given: Option<Given>, days: &Days) -> Result<Value, String> {
        let value = match (given, &self.default) {
            (Some(Given::Text(text)), _) => self.kind.read(&text)?,
            (Some(Given::Value(value)), _) => value,
            (None, Some(default)) => default.clone(),
            (None, None) => return Err("is not given, and has no default".to_owned()),
        };
        let value = self.kind.see(value, Some(days))?;
        self.see_allowed(&value)?;
        Ok(value)
    }
}

/// The values that a run has, given what somebody gave it; every mistake at once, each as a sentence without its end.
///
/// # Errors
///
/// One has no value, or one that it may not have; something is given that is no parameter.
pub fn take(
    params: &[Param],
    given: Vec<(String, Given)>,
    days: &Days,
) -> Result<Map<String, Value>, Vec<String>> {
    let mut wrong = Vec::new();
    let mut by_name: Map<String, Value> = Map::new();
    let mut given: Vec<(String, Option<Given>)> =
        given.into_iter().map(|(name, it)| (name, Some(it))).collect();
    for param in params {
        // The last one counts, as with options.
        let own = given.iter_mut().rev().find(|(name, _)| *name == param.name).and_then(|(_, it)| it.take());
        match param.take(own, days) {
            Ok(value) => drop(by_name.insert(param.name.clone(), value)),
            Err(why) => wrong.push(format!("parameter `{}`: {why}", param.name)),
        }
    }
    for (name, _) in given {
        if !params.iter().any(|param| param.name == name) {
            let meant = did_you_mean(&name, params.iter().map(|param| param.name.as_str()));
            let hint = match meant {
                Some(meant) => format!("; did you mean `{meant}`?"),
                None if params.is_empty() => "; this workflow has none".to_owned(),
                None => {
                    let names: Vec<String> = params.iter().map(|param| format!("`{}`", param.name)).collect();
                    format!("; there are {}", names.join(", "))
                }
            };
            wrong.push(format!("there is no parameter `{name}`{hint}"));
        }
    }
    if wrong.is_empty() { Ok(by_name) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow_schema::ParamTable;
    use serde_json::json;

    fn param(kind: ParamKind, allowed: &[&str]) -> Param {
        let allowed = allowed.iter().map(|text| json!(text)).collect();
        Param { name: "p".to_owned(), kind, default: None, allowed, description: None }
    }

    fn days() -> Days {
        let day = |day: &str| format!("2024-02-{day}");
        Days { today: day("28"), yesterday: day("27"), tomorrow: day("29") }
    }

    #[track_caller]
    fn check(kind: ParamKind, text: &str, expected: Option<Value>) {
        let given = vec![("p".to_owned(), Given::Text(text.to_owned()))];
        let taken = take(&[param(kind, &[])], given, &days());
        assert_eq!(taken.clone().ok().map(|mut map| map["p"].take()), expected, "{text}: {taken:?}");
    }

    #[test]
    fn what_is_typed_is_read_as_what_the_parameter_takes() {
        check(ParamKind::Int, "3", Some(json!(3)));
        check(ParamKind::Int, "3.5", None);
        check(ParamKind::Float, "3", Some(json!(3.0)));
        check(ParamKind::Float, "inf", None);
        check(ParamKind::Bool, "yes", Some(json!(true)));
        check(ParamKind::Bool, "maybe", None);
        check(ParamKind::String, "3", Some(json!("3")));
        check(ParamKind::Date, "today", Some(json!("2024-02-28")));
        check(ParamKind::Date, "2024-02-29", Some(json!("2024-02-29")));
        check(ParamKind::Date, "2023-02-29", None);
        check(ParamKind::Date, "2024-2-9", None);
        check(ParamKind::List, "a, b", Some(json!(["a", "b"])));
        check(ParamKind::List, "[1]", Some(json!([1])));
        check(ParamKind::Json, "{\"a\": 1}", Some(json!({"a": 1})));
        check(ParamKind::Json, "{", None);
    }

    #[test]
    fn every_mistake_is_told() {
        let params = [
            param(ParamKind::String, &["eu", "us"]),
            Param { name: "q".to_owned(), ..param(ParamKind::Int, &[]) },
        ];
        let text = |text: &str| Given::Text(text.to_owned());
        let given = vec![("p".to_owned(), text("de")), ("day".to_owned(), text("1"))];
        let wrong = take(&params, given, &days()).expect_err("wrong");
        assert_eq!(
            wrong,
            [
                "parameter `p`: \"de\" is none of \"eu\", \"us\"",
                "parameter `q`: is not given, and has no default",
                "there is no parameter `day`; there are `p`, `q`",
            ]
        );
    }

    #[test]
    fn the_last_that_is_given_counts() {
        let given = ["1", "2"].map(|text| ("p".to_owned(), Given::Text(text.to_owned()))).to_vec();
        assert_eq!(take(&[param(ParamKind::Int, &[])], given, &days()).expect("fine")["p"], json!(2));
    }

    #[test]
    fn a_default_has_to_be_one_of_its_kind() {
        let file = |default: Value| {
            ParamFile::Full(ParamTable {
                kind: Some(ParamKind::Date),
                default: Some(crate::decode::Spanned { value: default, span: 0..0 }),
                ..ParamTable::default()
            })
        };
        assert!(Param::new("p", file(json!("today"))).is_ok());
        assert!(
            Param::new("p", file(json!("soon")))
                .is_err_and(|why| why.starts_with("its default \"soon\" is no day"))
        );
        assert_eq!(
            Param::new("p", ParamFile::Default(json!(1.5))).map(|param| param.kind),
            Ok(ParamKind::Float)
        );
    }
}
