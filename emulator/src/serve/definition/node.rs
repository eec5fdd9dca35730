//! The content of a file in YAML or TOML as one tree, with the line of every key and value.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Deeper content is refused.
const DEPTH_MAX: usize = 64;

/// A fault in a file: the line, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

impl Wrong {
    /// A fault.
    pub fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

/// A value with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins, from 1.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A text, a number or a truth value, as it stands in the file.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with their values.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line of the key.
    pub line: usize,
    /// The key.
    pub key: String,
    /// The value.
    pub node: Node,
}

/// Reads YAML: its first document, with anchors and merged maps.
///
/// # Errors
/// If it is no YAML, or a key stands twice.
pub fn yaml(text: &str) -> Result<Node, Wrong> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new() };
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(Node { line: 1, value: Value::Null }),
            event => return reader.node(event, line, 0),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Wrong> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(cause)) => Err(Wrong::new(cause.marker().line(), cause.info())),
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Wrong> {
        if depth > DEPTH_MAX {
            return Err(Wrong::new(line, format!("more than {DEPTH_MAX} levels")));
        }
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let known = self.anchors.get(&id).cloned();
                return known.ok_or_else(|| Wrong::new(line, "an alias names no anchor before it"));
            }
            Event::Scalar(text, ScalarStyle::Plain, id, _) if matches!(&*text, "" | "~" | "null") => (Value::Null, id),
            Event::Scalar(text, _, id, _) => (Value::Scalar(text.into_owned()), id),
            Event::SequenceStart(id, _) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break (Value::List(list), id),
                        (event, line) => list.push(self.node(event, line, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(id, _) => (self.map(depth)?, id),
            other => return Err(Wrong::new(line, format!("unexpected {other:?}"))),
        };
        let node = Node { line, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn map(&mut self, depth: usize) -> Result<Value, Wrong> {
        let (mut map, mut merged): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
        loop {
            let (key, line) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(text, ..), line) => (text.into_owned(), line),
                (_, line) => return Err(Wrong::new(line, "a key must be a text")),
            };
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            match (key.as_str(), node.value) {
                ("<<", Value::Map(entries)) => merged.extend(entries),
                (_, value) => {
                    let node = Node { line: node.line, value };
                    if map.iter().any(|entry| entry.key == key) {
                        return Err(Wrong::new(line, format!("the key `{key}` stands twice")));
                    }
                    map.push(Entry { line, key, node });
                }
            }
        }
        merged.retain(|entry| !map.iter().any(|own| own.key == entry.key));
        map.extend(merged);
        Ok(Value::Map(map))
    }
}

/// Reads TOML.
///
/// # Errors
/// If it is no TOML.
pub fn toml(text: &str) -> Result<Node, Wrong> {
    let line_of = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|cause| {
        let line = cause.span().map_or(1, |span| line_of(span.start));
        Wrong::new(line, cause.message())
    })?;
    Ok(Node { line: 1, value: from_table(table.get_ref(), &line_of) })
}

fn from_table(table: &DeTable<'_>, line_of: &dyn Fn(usize) -> usize) -> Value {
    let entries = table.iter().map(|(key, value)| Entry {
        line: line_of(key.span().start),
        key: key.get_ref().to_string(),
        node: from_toml(value, line_of),
    });
    let mut entries: Vec<Entry> = entries.collect();
    entries.sort_by_key(|entry| entry.line);
    Value::Map(entries)
}

fn from_toml(value: &Spanned<DeValue<'_>>, line_of: &dyn Fn(usize) -> usize) -> Node {
    let line = line_of(value.span().start);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Scalar(text.to_string()),
        DeValue::Integer(number) => Value::Scalar(number.to_string()),
        DeValue::Float(number) => Value::Scalar(number.to_string()),
        DeValue::Boolean(truth) => Value::Scalar(truth.to_string()),
        DeValue::Datetime(time) => Value::Scalar(time.to_string()),
        DeValue::Array(list) => Value::List(list.iter().map(|value| from_toml(value, line_of)).collect()),
        DeValue::Table(table) => from_table(table, line_of),
    };
    Node { line, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Null => format!("~@{}", node.line),
            Value::Scalar(text) => format!("{text}@{}", node.line),
            Value::List(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Value::Map(map) => {
                let entries = map.iter().map(|entry| format!("{}@{}:{}", entry.key, entry.line, shown(&entry.node)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn both_formats_have_lines() {
        let text = "# c\na: 1\nb:\n  - x\n  - 'null'\nc: &m {d: ~}\ne:\n  <<: *m\n  f: yes\n";
        let expected = "{a@2:1@2 b@3:[x@4 null@5] c@6:{d@6:~@6} e@7:{f@9:yes@9 d@6:~@6}}";
        assert_eq!(yaml(text).map(|node| shown(&node)), Ok(expected.to_owned()));
        let text = "# c\na = 1\nb = [\"x\",\n 2.5]\n[c]\nd = true\n[e.f]\ng = {h = 10}\n";
        let expected = "{a@2:1@2 b@3:[x@3 2.5@4] c@5:{d@6:true@6} e@7:{f@7:{g@8:{h@8:10@8}}}}";
        assert_eq!(toml(text).map(|node| shown(&node)), Ok(expected.to_owned()));
    }

    #[test]
    fn faults_have_lines() {
        for (text, line, told) in [
            ("a: 1\nb: [", 2, ""),
            ("a: 1\nb: 2\na: 3", 3, "stands twice"),
            ("a:\n  - *x\n", 2, ""),
            ("? [a]\n: b", 1, "must be a text"),
        ] {
            let wrong = yaml(text).unwrap_err();
            assert!(wrong.line.abs_diff(line) <= 1 && wrong.text.contains(told), "{text}: {wrong:?}");
        }
        assert_eq!(toml("a = 1\nb = ").unwrap_err().line, 2);
        assert!(yaml(&"[".repeat(500)).is_err(), "no depth ends the program");
        assert_eq!(yaml("").unwrap().value, Value::Null);
    }
}
