//! TOML into the tree.

use super::{Broken, Key, MAX_DEPTH, Node, NodeKind, Span, duplicate_key};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) fn parse(source: &str) -> Result<Node, Broken> {
    let root = DeTable::parse(source).map_err(|error| complaint(&error, source))?;
    let span = root.span();
    Ok(Node { kind: table(root.into_inner(), source, 0)?, span })
}

fn complaint(error: &toml::de::Error, source: &str) -> Broken {
    let span = error.span().unwrap_or(0..0);
    if error.message().starts_with("duplicate key") {
        let name = source.get(span.clone()).unwrap_or_default();
        return duplicate_key(name.trim_matches(['"', '\'']), span);
    }
    Broken::syntax(error.message(), span)
}

fn table(table: DeTable<'_>, source: &str, depth: usize) -> Result<NodeKind, Broken> {
    let mut entries = Vec::new();
    for (key, value) in table {
        let span = key.span();
        entries.push((Key { name: key.into_inner().into_owned(), span }, node(value, source, depth + 1)?));
    }
    // The parser sorts by name; the file's order has a meaning.
    entries.sort_by_key(|(key, _)| key.span.start);
    Ok(NodeKind::Map(entries))
}

fn node(value: Spanned<DeValue<'_>>, source: &str, depth: usize) -> Result<Node, Broken> {
    let span = value.span();
    let kind = match value.into_inner() {
        DeValue::Array(_) | DeValue::Table(_) if depth >= MAX_DEPTH => return Err(Broken::too_deep(span)),
        DeValue::String(text) => NodeKind::Str(text.into_owned()),
        DeValue::Integer(int) => match i64::from_str_radix(int.as_str(), int.radix()) {
            Ok(int) => NodeKind::Int(int),
            Err(_) => return Err(out_of_range(span)),
        },
        DeValue::Float(float) => match float.as_str().parse::<f64>() {
            Ok(float) => NodeKind::Float(float),
            Err(_) => return Err(out_of_range(span)),
        },
        DeValue::Boolean(value) => NodeKind::Bool(value),
        DeValue::Datetime(time) => {
            NodeKind::Str(source.get(span.clone()).map_or(time.to_string(), str::to_owned))
        }
        DeValue::Array(items) => NodeKind::Seq(
            items.into_iter().map(|item| node(item, source, depth + 1)).collect::<Result<_, _>>()?,
        ),
        DeValue::Table(entries) => table(entries, source, depth)?,
    };
    Ok(Node { kind, span })
}

fn out_of_range(span: Span) -> Broken {
    Broken::syntax("this number is out of range", span)
}
