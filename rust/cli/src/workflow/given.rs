//! What a program gave: the lines it wrote to the file in `DIRIGENT_OUTPUT`, what a function returned, or what its standard
//! output is declared to be.

use crate::record::tail_bytes;
use dirigent_core::decide::Report;
use dirigent_core::outcome::Stream;
use dirigent_project::workflow_schema::OutputKind;
use serde_json::{Map, Value};
use std::fs;
use std::io;
use std::path::Path;

/// The most bytes of a value.
const MOST_BYTES: u64 = 64 << 20;

/// What an attempt gave; `None` where it gave nothing. `folder` is that of the attempt.
///
/// # Errors
///
/// It cannot be read as what it is to be; as a sentence without its end.
pub(super) fn given(
    report: &Report,
    folder: &Path,
    declared: Option<OutputKind>,
) -> Result<Option<Value>, String> {
    let entries = entries(&folder.join("output"))?;
    let returned = returned(&folder.join("output.json"))?;
    match (declared, returned, entries) {
        (Some(_), _, Some(_)) => {
            Err("it wrote to DIRIGENT_OUTPUT, and its standard output is declared to be its value".to_owned())
        }
        (Some(kind), _, None) => written(report.ended.stdout.as_deref(), folder, kind).map(Some),
        (None, Some(value), _) => Ok(Some(value)),
        (None, None, entries) => Ok(entries.map(Value::Object)),
    }
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let told = |error: io::Error| format!("what it gave cannot be read: {error}");
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(told(error)),
        Ok(metadata) if metadata.len() > MOST_BYTES => {
            return Err(format!(
                "what it gave takes {} MiB, and {} are the most",
                metadata.len() >> 20,
                MOST_BYTES >> 20
            ));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(told)?;
    String::from_utf8(bytes).map(Some).map_err(|_| "what it wrote to DIRIGENT_OUTPUT is no text".to_owned())
}

/// Lines of `name=value`, or of JSON objects, whose entries count.
fn entries(path: &Path) -> Result<Option<Map<String, Value>>, String> {
    let Some(text) = read(path)? else { return Ok(None) };
    let mut entries = Map::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |why: &str| format!("line {number} of what it wrote to DIRIGENT_OUTPUT {why}");
        if line.trim_start().starts_with('{') {
            match serde_json::from_str::<Map<String, Value>>(line) {
                Ok(more) => entries.extend(more),
                Err(error) => return Err(wrong(&format!("is no JSON: {error}"))),
            }
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                entries.insert(name.trim().to_owned(), value.into());
            }
            _ => return Err(wrong("is neither `name=value` nor a JSON object")),
        }
    }
    Ok(Some(entries))
}

/// What a function returned: the program that calls it writes this.
fn returned(path: &Path) -> Result<Option<Value>, String> {
    let Some(text) = read(path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| format!("what it returned cannot be read: {error}"))
}

/// What it wrote to its standard output.
fn written(stdout: Option<&Stream>, folder: &Path, kind: OutputKind) -> Result<Value, String> {
    let text = match stdout {
        None => String::new(),
        Some(stream) => {
            if let Some(error) = &stream.error {
                return Err(error.clone());
            }
            if stream.kept_bytes < stream.bytes || stream.bytes > MOST_BYTES {
                return Err(format!(
                    "its standard output is too long for a value: {} MiB",
                    stream.bytes >> 20
                ));
            }
            let bytes = fs::read(folder.join("stdout.log"))
                .map_err(|error| format!("its standard output cannot be read: {error}"))?;
            String::from_utf8(bytes).map_err(|_| "its standard output is no text".to_owned())?
        }
    };
    match kind {
        OutputKind::Json => {
            serde_json::from_str(&text).map_err(|error| format!("its standard output is no JSON: {error}"))
        }
        OutputKind::Text => Ok(without_line_end(&text).into()),
        OutputKind::Lines => Ok(text.lines().map(Value::from).collect()),
    }
}

fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

/// The end of what an attempt wrote to its standard output, as expressions get it: a mebibyte at most.
pub(super) fn stdout(folder: &Path) -> String {
    let bytes = tail_bytes(&folder.join("stdout.log"), 1 << 20);
    without_line_end(&String::from_utf8_lossy(&bytes)).to_owned()
}

/// Why a file that was to be made was not; `None` where it was.
pub(super) fn missing(path: &Path, is_document: bool) -> Option<String> {
    let found = dirigent_journal::known::files(path);
    let there: Vec<_> = found.iter().filter_map(|path| fs::metadata(path).ok()).collect();
    if there.is_empty() {
        return Some(format!("{} is not there", path.display()));
    }
    let is_empty = is_document && there.iter().any(|metadata| metadata.is_file() && metadata.len() == 0);
    is_empty.then(|| format!("{} is empty", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dirigent_core::ids::TaskIndex;
    use dirigent_core::outcome::Outcome;
    use serde_json::json;

    fn check(
        output: Option<&str>,
        stdout: Option<&str>,
        kind: Option<OutputKind>,
    ) -> Result<Option<Value>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut report = Report::new(TaskIndex(0), 1, Outcome::Succeeded { exit_code: 0 });
        if let Some(text) = output {
            fs::write(folder.path().join("output"), text).expect("written");
        }
        if let Some(text) = stdout {
            fs::write(folder.path().join("stdout.log"), text).expect("written");
            let bytes = text.len() as u64;
            report.ended.stdout = Some(Box::new(Stream { bytes, kept_bytes: bytes, error: None }));
        }
        given(&report, folder.path(), kind)
    }

    #[test]
    fn what_a_program_says_it_gave_is_what_it_gave() {
        assert_eq!(check(None, Some("x"), None), Ok(None));
        assert_eq!(
            check(Some("a=1\n\nb = x=y \n{\"c\": [1]}\n"), None, None),
            Ok(Some(json!({"a": "1", "b": " x=y ", "c": [1]})))
        );
        assert_eq!(check(None, Some("{\"a\": 1}\n"), Some(OutputKind::Json)), Ok(Some(json!({"a": 1}))));
        assert_eq!(check(None, Some(" a\nb\n"), Some(OutputKind::Text)), Ok(Some(json!(" a\nb"))));
        assert_eq!(check(None, Some("a\r\nb"), Some(OutputKind::Lines)), Ok(Some(json!(["a", "b"]))));
        assert_eq!(check(None, None, Some(OutputKind::Text)), Ok(Some(json!(""))));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert!(check(Some("a=1\nnonsense\n"), None, None).is_err_and(|why| why.contains("line 2")));
        assert!(check(Some("{\"a\":"), None, None).is_err_and(|why| why.contains("no JSON")));
        assert!(check(None, Some("x"), Some(OutputKind::Json)).is_err());
        assert!(check(None, None, Some(OutputKind::Json)).is_err());
        assert!(check(Some("a=1"), Some("{}"), Some(OutputKind::Json)).is_err());
    }
}
