//! Every form in which the bytes of a secret may come out of a program: as they are, encoded, escaped, a line at a time.
//!
//! Line breaks are left out of every form, as whoever looks for them leaves line breaks out of what is looked through:
//! `base64` and `fold` put some where they like.

use std::collections::BTreeSet;

/// A form shorter than this is no form: it would be found everywhere.
pub(crate) const LEAST_BYTES: usize = 4;
/// Lines shorter than this are not looked for by themselves: they may be nothing but a brace.
const LEAST_LINE_BYTES: usize = 8;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What stays as it is in a URL, as the usual libraries see it: strictly, in paths, in scripts of pages, in forms.
const PLAIN_IN_URL: [&[u8]; 4] = [b"-._~", b"-._~/", b"-._~!'()*", b"-._*"];

/// The forms of a secret, none twice.
pub(crate) fn disguises(secret: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    forms_of(secret, &mut forms);
    // Programs rarely print a text of many lines, such as a key, in one piece: an indent is enough.
    for line in secret.lines().map(str::trim).filter(|line| line.len() >= LEAST_LINE_BYTES) {
        forms.insert(line.as_bytes().to_vec());
    }
    forms
        .into_iter()
        .map(|form| without_line_breaks(&form))
        .filter(|form| form.len() >= LEAST_BYTES)
        .collect()
}

pub(crate) fn without_line_breaks(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
}

fn forms_of(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    let bytes = text.as_bytes();
    forms.insert(bytes.to_vec());
    for alphabet in [STANDARD, URL_SAFE] {
        forms.extend((0..3).map(|bytes_before| base64(bytes, bytes_before, alphabet)));
    }
    for plain in PLAIN_IN_URL {
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            forms.insert(in_url(bytes, plain, digits, b"%20"));
            forms.insert(in_url(bytes, plain, digits, b"+"));
        }
    }
    forms.insert(in_json(text, false));
    forms.insert(in_json(text, true));
}

/// The characters of the base 64 of some longer text that depend on these bytes alone, which stand so many bytes behind a
/// multiple of three. Source: RFC 4648.
fn base64(bytes: &[u8], bytes_before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let shifted = [&[0, 0][..bytes_before], bytes].concat();
    let whole = shifted.len() * 8 / 6;
    let first = (bytes_before * 8).div_ceil(6);
    let sextet = |at: usize| {
        let bit = at * 6;
        let pair = [shifted[bit / 8], shifted.get(bit / 8 + 1).copied().unwrap_or(0)];
        alphabet[usize::from(u16::from_be_bytes(pair) >> (10 - bit % 8)) & 63]
    };
    (first..whole).map(sextet).collect()
}

fn in_url(bytes: &[u8], plain: &[u8], digits: &[u8; 16], space: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b' ' => out.extend(space),
            _ if byte.is_ascii_alphanumeric() || plain.contains(&byte) => out.push(byte),
            _ => out.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]),
        }
    }
    out
}

/// The inside of a string in JSON, with other letters than ASCII's as they are, or escaped as well. Source: RFC 8259.
fn in_json(text: &str, is_ascii: bool) -> Vec<u8> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || (is_ascii && !c.is_ascii()) => {
                let mut units = [0; 2];
                out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            }
            c => out.push(c),
        }
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(secret: &str, form: &str) -> bool {
        disguises(secret).contains(form.as_bytes())
    }

    #[test]
    fn base_64_is_known_at_every_place_by_the_characters_that_depend_on_nothing_else() {
        // Each of these is a middle of what `base64` makes of x, xx, … and the secret, and xyz.
        assert!(has("hunter22", "aHVudGVyMj"));
        assert!(has("hunter22", "h1bnRlcjIy"));
        assert!(has("hunter22", "odW50ZXIyM"));
        assert!(has("a?b>c?d>", "YT9iPmM/ZD"), "the usual alphabet");
        assert!(has("a?b>c?d>", "YT9iPmM_ZD"), "the one for URLs");
    }

    #[test]
    fn urls_and_json_are_known_as_libraries_write_them() {
        assert!(has("a b/ü", "a%20b%2F%C3%BC"));
        assert!(has("a b/ü", "a%20b/%c3%bc"));
        assert!(has("a b/ü", "a+b%2F%C3%BC"));
        assert!(has("say \"ü\"", r#"say \"ü\""#));
        assert!(has("say \"ü\"", r#"say \"\u00fc\""#));
    }

    #[test]
    fn lines_of_a_long_text_are_known_by_themselves_and_line_breaks_mean_nothing() {
        let key = "-----BEGIN KEY-----\n  abcdefghij\n}\n";
        assert!(has(key, "abcdefghij"));
        assert!(has(key, "-----BEGIN KEY-----  abcdefghij}"));
        assert!(!disguises(key).iter().any(|form| form.len() < LEAST_BYTES));
    }
}
