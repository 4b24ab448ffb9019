//! Text inside markup: what stands in a page or a picture as text stays text.

use std::fmt::{self, Display, Formatter, Write};

/// A text as content of an element or of a quoted attribute.
pub(crate) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        escape(self.0, &['&', '<', '>', '"', '\''], f)
    }
}

/// Writes a text with each of some characters as markup names it.
fn escape(mut rest: &str, special: &[char], f: &mut Formatter<'_>) -> fmt::Result {
    while let Some(at) = rest.find(special) {
        f.write_str(&rest[..at])?;
        f.write_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        })?;
        rest = &rest[at + 1..];
    }
    f.write_str(rest)
}

/// A text as content of an element, where quotes may stay as they are.
pub(crate) struct Content<'a>(pub(super) &'a str);

impl Display for Content<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        escape(self.0, &['&', '<', '>'], f)
    }
}

/// A text as content of an element or of a quoted attribute of XML, which has no place for some characters.
pub(crate) struct Xml<'a>(pub(crate) &'a str);

impl Display for Xml<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_none = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
        if self.0.contains(is_none) {
            return Escaped(&self.0.replace(is_none, "\u{fffd}")).fmt(f);
        }
        Escaped(self.0).fmt(f)
    }
}

/// A name for one line: invisible characters made visible, then escaped.
pub(crate) struct Name<'a>(pub(super) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Escaped(&dirigent_core::text::printable(self.0)).fmt(f)
    }
}

/// A relative path as the value of a link. The leading dot keeps a path such as `javascript:x` a path.
pub(crate) struct Link<'a>(pub(super) &'a str);

impl Display for Link<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("./")?;
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                    f.write_char(byte.into())?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

/// An argument as a POSIX shell reads it back, for commands a person may copy.
pub(crate) fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Base 64 as in RFC 4648, section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let value = (group >> (18 - 6 * digit)) as usize & 63;
            out.push(if digit <= chunk.len() { DIGITS[value].into() } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(
            Escaped("<img src=\"x\" onerror='alert(1)'> & co").to_string(),
            "&lt;img src=&quot;x&quot; onerror=&#39;alert(1)&#39;&gt; &amp; co"
        );
        assert_eq!(Name("a\u{202e}b\n").to_string(), "a\\u{202e}b\\n");
    }

    #[test]
    fn a_link_stays_below_its_folder() {
        assert_eq!(Link("javascript:alert(1)").to_string(), "./javascript%3Aalert%281%29");
        assert_eq!(Link("tasks/3/1/stdout.log").to_string(), "./tasks/3/1/stdout.log");
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(shell_quoted("a/b.py"), "a/b.py");
        assert_eq!(shell_quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_quoted(""), "''");
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]
        );
    }
}
