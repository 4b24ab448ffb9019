//! Bytes from outside as text: what a person may safely be shown, and what goes into a record unchanged.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

/// A string of the operating system: usually text, always exact.
///
/// On the wire it is a plain string when it is valid UTF-8, and `{"bytes": [..]}` when it is not.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OsText(OsString);

impl OsText {
    /// The string as the system wants it.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// The string as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The string for a person: undecodable bytes replaced, control characters made visible.
    pub fn shown(&self) -> String {
        printable(&self.0.to_string_lossy())
    }
}

impl<T: Into<OsString>> From<T> for OsText {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

impl AsRef<OsStr> for OsText {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl fmt::Debug for OsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire<'a> {
    Text(std::borrow::Cow<'a, str>),
    Bytes { bytes: Vec<u8> },
}

impl Serialize for OsText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => Wire::Bytes { bytes: self.0.as_encoded_bytes().to_vec() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Text(text) => Self(OsString::from(text.into_owned())),
            Wire::Bytes { bytes } => Self(os_string(bytes)),
        })
    }
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes)
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> OsString {
    OsString::from(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes a name that may come from outside safe for one line of a terminal or a page, keeping it readable.
///
/// Control characters, and the invisible ones that reorder text, become escapes such as `\n` or `\u{202e}`.
pub fn printable(text: &str) -> String {
    if !text.chars().any(is_unsafe) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut out, c| {
        if is_unsafe(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

/// Turns the output of a program into lines a person may be shown.
///
/// Undecodable bytes become U+FFFD. Escape sequences are dropped; of a line rewritten by carriage returns (a
/// progress bar) the last state is kept; tabs stay; other control characters become escapes.
pub fn plain_output(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut line_start = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => {
                out.push('\n');
                line_start = out.len();
            }
            '\r' => {
                if chars.peek().is_some_and(|next| *next != '\n' && *next != '\r') {
                    out.truncate(line_start);
                }
            }
            '\t' => out.push('\t'),
            '\u{1b}' => skip_escape(&mut chars),
            '\u{8}' => {
                if out.len() > line_start {
                    out.pop();
                }
            }
            '\u{7}' | '\0' => {}
            c if is_unsafe(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Reads past one escape sequence whose ESC was just taken (ECMA-48: CSI, OSC and the other string kinds, two-byte).
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            while chars.next_if(|c| !('\u{40}'..='\u{7e}').contains(c) && !c.is_control()).is_some() {}
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next_if(|c| *c != '\n') {
                if c == '\u{7}' {
                    return;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    return;
                }
            }
            return;
        }
        Some(' '..='/') => while chars.next_if(|c| (' '..='/').contains(c)).is_some() {},
        _ => return,
    }
    chars.next_if(|c| !c.is_control());
}

/// Whether a character could do something to a terminal or to the direction of text instead of being seen.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &[u8], expected: &str) {
        assert_eq!(plain_output(output), expected);
    }

    #[test]
    fn colours_and_titles_are_dropped() {
        check(b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b]8;;http://a\x1b\\y\x1b(B", "red xy");
    }

    #[test]
    fn a_progress_bar_keeps_its_last_state() {
        check(b"10%\r50%\r100%\r\ndone\r\n", "100%\ndone\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        check(b"a\xffb\0c\xe2\x82", "a\u{fffd}bc\u{fffd}");
    }

    #[test]
    fn a_cut_sequence_swallows_nothing_of_the_next_line() {
        check(b"a\x1b[3\nb\x1b]0;t\nc", "a\nb\nc");
    }

    #[test]
    fn names_show_what_hides() {
        assert_eq!(printable("a\nb\u{202e}c"), "a\\nb\\u{202e}c");
    }

    #[test]
    fn an_undecodable_string_survives_the_wire() {
        let text = OsText::from(os_string(b"a\xff".to_vec()));
        let json = serde_json::to_string(&text).expect("serialises");
        assert_eq!(serde_json::from_str::<OsText>(&json).expect("parses"), text);
    }
}
