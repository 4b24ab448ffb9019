//! Files of variables, as many tools call `.env`: a small grammar, read exactly, and nothing is expanded.
//!
//! ```text
//! # a comment
//! NAME=text until the end of the line    # a comment behind a space
//! export QUOTED="escapes: \n \r \t \\ \" \$; may go over lines"
//! EXACT='nothing means anything in here, and it may go over lines'
//! ```
//!
//! Messages name the line and never show it: a value may be a secret.

use crate::fault::ProjectError;
use std::collections::HashSet;
use std::path::Path;

/// More than any such file has, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Reads a file of variables, in its order.
///
/// # Errors
/// It cannot be read, or is not written so.
pub fn load(path: &Path) -> Result<Vec<(String, String)>, ProjectError> {
    let io = |source| ProjectError::Io { doing: "read", path: path.to_owned(), source };
    let wrong =
        |(line, message): (usize, String)| ProjectError::EnvFile { path: path.to_owned(), line, message };
    if path.metadata().map_err(io)?.len() > MOST_BYTES {
        return Err(ProjectError::TooLarge { path: path.to_owned(), limit_mb: MOST_BYTES >> 20 });
    }
    let text = String::from_utf8(std::fs::read(path).map_err(io)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        wrong((line_at(before), "this is not UTF-8".to_owned()))
    })?;
    parse(&text).map_err(wrong)
}

fn line_at(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Reads variables; an error has its line, from 1.
fn parse(text: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    let mut seen = HashSet::new();
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('#') {
            rest = after.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        if rest.is_empty() {
            break;
        }
        let line = line_at(&text.as_bytes()[..text.len() - rest.len()]);
        let wrong = |message: &str| (line, message.to_owned());
        let of_line = rest.lines().next().unwrap_or_default();
        let unexported = of_line.strip_prefix("export ").map_or(of_line, str::trim_start);
        let (name, _) = unexported.split_once('=').ok_or_else(|| wrong("this is no `NAME=value`"))?;
        let name = name.trim_end();
        if !is_name(name) {
            return Err(wrong("what stands before `=` cannot be a variable's name"));
        }
        let named = |message: &str| wrong(&format!("`{name}`: {message}"));
        let at = rest.find('=').unwrap_or_default() + 1;
        let (value, after) = value(&rest[at..]).map_err(|message| named(&message))?;
        if value.contains('\0') {
            return Err(named("a value cannot contain a NUL byte"));
        }
        if !seen.insert(name.to_owned()) {
            return Err(named("it stands here for the second time"));
        }
        variables.push((name.to_owned(), value));
        rest = after;
    }
    Ok(variables)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value behind a `=`, and what follows its line.
fn value(text: &str) -> Result<(String, &str), String> {
    let text = text.trim_start_matches([' ', '\t']);
    let (value, after) = match text.chars().next() {
        Some('\'') => {
            let (value, after) =
                text[1..].split_once('\'').ok_or("its closing quotation mark `'` is missing")?;
            (value.to_owned(), after)
        }
        Some('"') => escaped(&text[1..])?,
        _ => {
            let (line, after) = text.split_once('\n').unwrap_or((text, ""));
            let comment = line.char_indices().find(|(at, c)| {
                *c == '#' && line[..*at].chars().next_back().is_none_or(|before| before.is_whitespace())
            });
            let value = comment.map_or(line, |(at, _)| &line[..at]).trim_end();
            refuse_expansion(value)?;
            return Ok((value.to_owned(), after));
        }
    };
    let (line, after) = after.split_once('\n').unwrap_or((after, ""));
    match line.trim_start() {
        "" => Ok((value, after)),
        comment if comment.starts_with('#') && line.starts_with(char::is_whitespace) => Ok((value, after)),
        _ => Err("something stands behind its closing quotation mark".to_owned()),
    }
}

fn escaped(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, 't')) => '\t',
                Some((_, c @ ('\\' | '"' | '$'))) => c,
                _ => return Err(r#"after `\` comes one of n, r, t, \, ", $"#.to_owned()),
            }),
            '$' => {
                refuse_expansion(text[at..].get(..2).unwrap_or_default())?;
                value.push('$');
            }
            c => value.push(c),
        }
    }
    Err("its closing quotation mark `\"` is missing".to_owned())
}

/// Taking `${NAME}` as it stands would be as wrong as expanding it: whoever writes it wants to see the other variable.
fn refuse_expansion(value: &str) -> Result<(), String> {
    match value.contains("${") {
        true => Err("variables such as `${NAME}` are not expanded; write it in '…' if it is meant so".into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(parse(text), Ok(expected), "{text:?}");
    }

    #[track_caller]
    fn check_wrong(text: &str, line: usize, message: &str) {
        let (at, said) = parse(text).expect_err(text);
        assert_eq!((at, said.contains(message)), (line, true), "{text:?}: {said}");
    }

    #[test]
    fn variables_are_read_exactly() {
        check("", &[]);
        check("# only a comment", &[]);
        check("A=1\r\nB = two words  \n\n  export C=3", &[("A", "1"), ("B", "two words"), ("C", "3")]);
        check("A=\nB=''\nC=\"\"", &[("A", ""), ("B", ""), ("C", "")]);
        check("A=b#c # d\nB='x' # y\nC= # nothing", &[("A", "b#c"), ("B", "x"), ("C", "")]);
        check(r#"A="a\n\"b\"\\ \$x $y""#, &[("A", "a\n\"b\"\\ $x $y")]);
        check("A='${HOME} \\n'\nB=pa$$word", &[("A", "${HOME} \\n"), ("B", "pa$$word")]);
        check("KEY='one\ntwo'\nB=\"three\nfour\"", &[("KEY", "one\ntwo"), ("B", "three\nfour")]);
        check("A=b=c\nURL=http://x/?a=b&c", &[("A", "b=c"), ("URL", "http://x/?a=b&c")]);
        check("\u{feff}A=1", &[("A", "1")]);
    }

    #[test]
    fn what_is_written_otherwise_is_an_error_with_its_line_and_without_its_value() {
        check_wrong("A=1\nhunter22\n", 2, "no `NAME=value`");
        check_wrong("\n\n1A=hunter22", 3, "before `=`");
        check_wrong("A B=hunter22", 1, "before `=`");
        check_wrong("A='hunter22\nB=2\n", 1, "missing");
        check_wrong("A=\"hunter22\nB=2\n", 1, "missing");
        check_wrong("A='hunter22'x", 1, "behind its closing");
        check_wrong("A='x\ny'\nB=\"\\x\"", 3, "after `\\`");
        check_wrong("A=1\nA=2", 2, "second time");
        check_wrong("A=${HOME}/x", 1, "not expanded");
        check_wrong("A=$x-${HOME}/x", 1, "not expanded");
        check_wrong("A=\"a${HOME}\"", 1, "not expanded");
        check_wrong("A=a\0b", 1, "NUL");
        for text in ["hunter22", "1A=hunter22", "A='hunter22", "A='x'hunter22", "A=hunter22${X}"] {
            assert!(!parse(text).expect_err(text).1.contains("hunter22"), "{text:?}");
        }
    }
}
