//! YAML 1.2 into the tree: the core schema, aliases within a budget, merge keys, no tags that build objects.
//!
//! Reads the event parser beneath `serde-saphyr` rather than its deserializer, because only events give the places of
//! keys as well as of values.

use super::{Broken, Entries, Key, MAX_ALIASED_NODES, MAX_DEPTH, Node, NodeKind, Span};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use std::collections::HashMap;

pub(super) fn parse(source: &str) -> Result<Node, Broken> {
    let mut builder =
        Builder { source, stack: Vec::new(), anchors: HashMap::new(), budget: MAX_ALIASED_NODES, root: None };
    let mut documents = 0;
    for event in Parser::new_from_str(source) {
        let (event, span) = event.map_err(|error| complaint(&error, source))?;
        let span = span.byte_range().unwrap_or(0..0);
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
            if documents > 1 {
                return Err(
                    Broken::syntax("a second document begins here", span).hint("keep one document in a file")
                );
            }
        }
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or(Node { kind: NodeKind::Null, span: 0..0 }))
}

fn complaint(error: &ScanError, source: &str) -> Broken {
    let at = error.marker().byte_offset().unwrap_or(0).min(source.len());
    let info = error.info();
    let said = match info.as_str() {
        info if info.contains("unknown anchor") => "there is no anchor of this name before this place",
        info => info,
    };
    let broken = Broken::syntax(said, at..at + 1);
    let line_start = source.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let indent = source.get(line_start..).unwrap_or_default();
    if indent.trim_start_matches(' ').starts_with('\t') {
        broken.hint("indent with spaces, not tabs")
    } else if said.contains("did not find expected") {
        broken.hint("a text with `: `, ` #`, `{`, `[` or `,` in it may have to stand in quotes")
    } else {
        broken
    }
}

struct Builder<'a> {
    source: &'a str,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    budget: usize,
    root: Option<Node>,
}

/// A list or table that has not ended.
struct Frame {
    start: usize,
    anchor: usize,
    open: Open,
}

enum Open {
    Seq(Vec<Node>),
    Map { entries: Entries, key: Option<Key>, merged: Vec<Node> },
}

/// A node that an alias may stand for.
struct Anchored {
    node: Node,
    size: usize,
    height: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Broken> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = refuse_tag(tag.as_deref(), &span)?;
                let is_key = self.expects_key();
                let kind = if style != ScalarStyle::Plain || is_text || is_key {
                    NodeKind::Str(text.into_owned())
                } else {
                    plain(&text, &span)?
                };
                // A merge key is one only when it is written plainly.
                let merge = is_key && style == ScalarStyle::Plain && !is_text;
                self.put(Node { kind, span }, anchor, merge)
            }
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err(Broken::syntax("an alias inside what it stands for", span));
                };
                if self.stack.len() + anchored.height > MAX_DEPTH {
                    return Err(Broken::too_deep(span));
                }
                let Some(left) = self.budget.checked_sub(anchored.size) else {
                    let message =
                        format!("the aliases of this file unfold to more than {MAX_ALIASED_NODES} values");
                    return Err(Broken::new("config.alias_bomb", message, span));
                };
                self.budget = left;
                let node = anchored.node.clone();
                self.put(node, 0, false)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Open::Seq(Vec::new()), anchor, tag.as_deref(), &span)
            }
            Event::MappingStart(_, anchor, tag) => {
                let map = Open::Map { entries: Entries::default(), key: None, merged: Vec::new() };
                self.open(map, anchor, tag.as_deref(), &span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.stack.pop() else {
                    return Ok(());
                };
                let kind = match frame.open {
                    Open::Seq(items) => NodeKind::Seq(items),
                    Open::Map { entries, merged, .. } => NodeKind::Map(merge(entries, merged)?),
                };
                self.put(Node { kind, span: frame.start..span.end }, frame.anchor, false)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, open: Open, anchor: usize, tag: Option<&Tag>, span: &Span) -> Result<(), Broken> {
        refuse_tag(tag, span)?;
        if self.expects_key() {
            return Err(Broken::syntax("a key must be a plain word or a string", span.clone()));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(Broken::too_deep(span.clone()));
        }
        self.stack.push(Frame { start: span.start, anchor, open });
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { open: Open::Map { key: None, .. }, .. }))
    }

    /// Puts a finished node where it belongs: a key, a value, an item, or the whole.
    fn put(&mut self, node: Node, anchor: usize, merge: bool) -> Result<(), Broken> {
        if anchor != 0 {
            let (size, height) = measure(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, height });
        }
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::Seq(items)) => items.push(node),
            Some(Open::Map { entries, key, merged }) => match key.take() {
                None => {
                    let NodeKind::Str(name) = node.kind else {
                        return Err(Broken::syntax("a key must be a plain word or a string", node.span));
                    };
                    let new = Key { name, span: node.span };
                    if !(merge && new.name == "<<") {
                        entries.check(&new, self.source)?;
                    }
                    *key = Some(new);
                }
                Some(key) if key.name == "<<" && !entries.seen.contains_key("<<") => merged.push(node),
                Some(key) => entries.list.push((key, node)),
            },
        }
        Ok(())
    }
}

/// What `<<` brings stands before the table's own keys and gives way to them; of several, the first wins.
fn merge(entries: Entries, merged: Vec<Node>) -> Result<Vec<(Key, Node)>, Broken> {
    let Entries { list, mut seen } = entries;
    let mut out = Vec::new();
    let mut waiting: Vec<Node> = merged.into_iter().rev().collect();
    while let Some(node) = waiting.pop() {
        match node.kind {
            NodeKind::Seq(items) => waiting.extend(items.into_iter().rev()),
            NodeKind::Map(brought) => {
                out.extend(
                    brought.into_iter().filter(|(key, _)| seen.insert(key.name.clone(), 0..0).is_none()),
                );
            }
            _ => {
                return Err(Broken::syntax("`<<` takes a table or a list of tables", node.span));
            }
        }
    }
    out.extend(list);
    Ok(out)
}

/// How many nodes a tree has, and how deep it is.
fn measure(node: &Node) -> (usize, usize) {
    let add = |(size, height): (usize, usize), child: &Node| {
        let (child_size, child_height) = measure(child);
        (size + child_size, height.max(child_height + 1))
    };
    match &node.kind {
        NodeKind::Seq(items) => items.iter().fold((1, 1), add),
        NodeKind::Map(entries) => entries.iter().map(|(_, value)| value).fold((1, 1), add),
        _ => (1, 0),
    }
}

/// Says whether a tag demands text; every tag that would build something is refused.
fn refuse_tag(tag: Option<&Tag>, span: &Span) -> Result<bool, Broken> {
    match tag.map(|tag| (tag, tag.core_suffix())) {
        None | Some((_, Some("map" | "seq"))) => Ok(false),
        Some((_, Some("str"))) => Ok(true),
        Some((tag, _)) => {
            Err(Broken::syntax(format!("the tag `{}` is not supported", tag.original()), span.clone())
                .hint("write the value without a tag"))
        }
    }
}

/// A plain scalar by YAML 1.2's core schema (chapter 10.3), in which `no` and `on` are words.
fn plain(text: &str, span: &Span) -> Result<NodeKind, Broken> {
    let out_of_range = || Broken::syntax("this number is out of range", span.clone());
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(NodeKind::Null),
        "true" | "True" | "TRUE" => return Ok(NodeKind::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(NodeKind::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Ok(NodeKind::Float(f64::NAN)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Ok(NodeKind::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }));
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            return i64::from_str_radix(digits, radix).map(NodeKind::Int).map_err(|_| out_of_range());
        }
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(NodeKind::Int).map_err(|_| out_of_range());
    }
    let number_like = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(float) if number_like && float.is_finite() => Ok(NodeKind::Float(float)),
        Ok(_) if number_like => Err(out_of_range()),
        _ => Ok(NodeKind::Str(text.to_owned())),
    }
}
