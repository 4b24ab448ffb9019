//! A run and its scripts as JSON texts: what programs read.

use crate::script_result::ScriptResult;
use crate::summary::Summary;
use serde::Serialize;

/// The text of `summary.json`.
pub fn summary(summary: &Summary) -> String {
    pretty(summary)
}

/// The text of a script's own file.
pub fn script(result: &ScriptResult) -> String {
    pretty(result)
}

fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("names are strings and values are plain");
    text.push('\n');
    text
}
