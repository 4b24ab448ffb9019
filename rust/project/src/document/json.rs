//! JSON into the tree: `serde_json` says whether it is JSON, this only finds the places and the duplicate keys.

use super::{Broken, Entries, Key, MAX_DEPTH, Node, NodeKind};
use serde::de::IgnoredAny;

pub(super) fn parse(source: &str) -> Result<Node, Broken> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(source) {
        let line_start: usize =
            source.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = (line_start + error.column().saturating_sub(1)).min(source.len());
        let text = error.to_string();
        let message = text.split(" at line ").next().unwrap_or_default();
        return Err(Broken::syntax(message, at..at + 1));
    }
    Reader { source, at: 0 }.value(0)
}

/// Goes through a text that is known to be JSON.
struct Reader<'a> {
    source: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, Broken> {
        let start = self.next_token();
        if depth >= MAX_DEPTH && matches!(self.byte(), b'{' | b'[') {
            return Err(Broken::too_deep(start..start + 1));
        }
        let kind = match self.byte() {
            b'{' => self.object(depth)?,
            b'[' => self.array(depth)?,
            b'"' => NodeKind::Str(self.string()?),
            _ => self.word()?,
        };
        Ok(Node { kind, span: start..self.at })
    }

    fn object(&mut self, depth: usize) -> Result<NodeKind, Broken> {
        let mut entries = Entries::default();
        self.at += 1;
        loop {
            let start = self.next_token();
            match self.byte() {
                b'}' => break,
                b',' => self.at += 1,
                _ => {
                    let key = Key { name: self.string()?, span: start..self.at };
                    entries.check(&key, self.source)?;
                    self.next_token();
                    self.at += 1;
                    entries.list.push((key, self.value(depth + 1)?));
                }
            }
        }
        self.at += 1;
        Ok(NodeKind::Map(entries.list))
    }

    fn array(&mut self, depth: usize) -> Result<NodeKind, Broken> {
        let mut items = Vec::new();
        self.at += 1;
        loop {
            self.next_token();
            match self.byte() {
                b']' => break,
                b',' => self.at += 1,
                _ => items.push(self.value(depth + 1)?),
            }
        }
        self.at += 1;
        Ok(NodeKind::Seq(items))
    }

    fn string(&mut self) -> Result<String, Broken> {
        let start = self.at;
        self.at += 1;
        while self.byte() != b'"' {
            self.at += if self.byte() == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        // A lone surrogate passes the check above, which reads no strings, and is no text.
        serde_json::from_str(&self.source[start..self.at])
            .map_err(|_| Broken::syntax("this string is not text", start..self.at))
    }

    fn word(&mut self) -> Result<NodeKind, Broken> {
        let start = self.at;
        while matches!(self.byte(), b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.') {
            self.at += 1;
        }
        let word = &self.source[start..self.at];
        Ok(match word {
            "null" => NodeKind::Null,
            "true" => NodeKind::Bool(true),
            "false" => NodeKind::Bool(false),
            number => match (number.parse::<i64>(), number.parse::<f64>()) {
                (Ok(int), _) => NodeKind::Int(int),
                (Err(_), Ok(float)) if float.is_finite() => NodeKind::Float(float),
                _ => return Err(Broken::syntax("this number is out of range", start..self.at)),
            },
        })
    }

    /// Goes to where the next token begins.
    fn next_token(&mut self) -> usize {
        while matches!(self.byte(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.at
    }

    /// The byte here; past the end, one that ends every loop above.
    fn byte(&self) -> u8 {
        *self.source.as_bytes().get(self.at).unwrap_or(&b'"')
    }
}
