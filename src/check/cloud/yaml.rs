//! YAML as coreos-cloudinit's Go library reads it, which was replaced in Flatcar: see [`Dialect`].

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use crate::check::{Report, text};

/// The Go library that reads a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    /// YAML 1.1: `off` and `no` are false, and of two equal keys the last one counts.
    V1,
    /// yaml.v3: only `true` and `false` are booleans, a plain date is none but a date, and a key
    /// that is there twice is an error.
    V3,
}

/// One value, and the line it begins on.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    /// A scalar as it was written, without its quotes.
    pub(super) raw: String,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// `!!binary`: the raw text is base64 of it.
    Binary(Vec<u8>),
    Bool(bool),
    /// A plain date, or a date with a time.
    Date,
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Null,
    Real(f64),
    Text,
    Whole(i64),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.raw == other.raw
    }
}

impl Node {
    fn scalar(line: usize, raw: &str, plain: bool, dialect: Dialect) -> Self {
        let value = if plain { resolved(raw, dialect) } else { Value::Text };
        Self { line, raw: raw.to_owned(), value }
    }

    pub(super) fn members(&self) -> &[(Self, Self)] {
        if let Value::Map(members) = &self.value { members } else { &[] }
    }

    pub(super) fn nodes(&self) -> &[Self] {
        if let Value::List(nodes) = &self.value { nodes } else { &[] }
    }

    /// What a key holds; `-` and `_` are one in keys, and of equal keys the last counts.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let found = self.members().iter().rev().find(|(name, _)| name.key() == key);
        found.map(|(_, node)| node)
    }

    pub(super) fn list(&self, key: &str) -> &[Self] {
        self.get(key).map_or(&[], Self::nodes)
    }

    /// A scalar that is there and not empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let node = self.get(key)?;
        let scalar = !matches!(node.value, Value::List(_) | Value::Map(_) | Value::Null);
        (scalar && !node.raw.is_empty()).then_some(&node.raw)
    }

    pub(super) fn line_of(&self, key: &str) -> usize {
        let found = self.members().iter().rev().find(|(name, _)| name.key() == key);
        found.map_or(self.line, |(name, _)| name.line)
    }

    /// A key's name, as it is looked up.
    pub(super) fn key(&self) -> String {
        self.raw.replace('-', "_")
    }

    fn size(&self) -> usize {
        let below: usize = match &self.value {
            Value::List(nodes) => nodes.iter().map(Self::size).sum(),
            Value::Map(members) => members.iter().map(|(k, v)| k.size() + v.size()).sum(),
            Value::Binary(_)
            | Value::Bool(_)
            | Value::Date
            | Value::Null
            | Value::Real(_)
            | Value::Text
            | Value::Whole(_) => 0,
        };
        below + 1
    }
}

/// What a plain scalar is.
fn resolved(raw: &str, dialect: Dialect) -> Value {
    match raw {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" if dialect == Dialect::V1 => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" if dialect == Dialect::V1 => {
            return Value::Bool(false);
        }
        _ if dialect == Dialect::V3 && is_date(raw) => return Value::Date,
        _ => {}
    }
    let digits = raw.replace('_', "");
    let (sign, plain) = match digits.strip_prefix('-') {
        Some(plain) => (-1, plain),
        None => (1, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    if !plain.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Value::Text;
    }
    let whole = if let Some(hex) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16)
    } else if let Some(octal) = plain.strip_prefix('0').filter(|octal| !octal.is_empty()) {
        i64::from_str_radix(octal, 8)
    } else {
        plain.parse()
    };
    if let Ok(whole) = whole {
        return Value::Whole(sign * whole);
    }
    let numeric = plain.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    match digits.parse::<f64>() {
        Ok(real) if numeric => Value::Real(real),
        Ok(_) | Err(_) => Value::Text,
    }
}

/// Whether only YAML 1.1 takes a plain word for true or false.
pub(super) fn is_old_bool(raw: &str) -> bool {
    let bool = |dialect| matches!(resolved(raw, dialect), Value::Bool(_));
    bool(Dialect::V1) && !bool(Dialect::V3)
}

/// `2026-11-30`, and what may follow: a time, from `T`, `t` or a space on.
fn is_date(raw: &str) -> bool {
    let date = raw.split(['T', 't', ' ']).next().unwrap_or(raw);
    let mut numbers = date.split('-');
    let digits = |number: Option<&str>, length: std::ops::RangeInclusive<usize>| {
        number.is_some_and(|number| {
            length.contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let dated = digits(numbers.next(), 4..=4)
        && digits(numbers.next(), 1..=2)
        && digits(numbers.next(), 1..=2);
    let timed = date.len() == raw.len() || raw[date.len() + 1..].contains(':');
    dated && timed && numbers.next().is_none()
}

/// More than any config has, and little enough for aliases of aliases to end at.
const MOST_NODES: usize = 20_000;
const DEEPEST: usize = 50;

/// The first document of a text, unless it is no YAML.
pub(super) fn parse(text: &str, dialect: Dialect, report: &mut Report) -> Option<Node> {
    let lines: Vec<&str> = text.lines().collect();
    let mut builder = Builder::new(dialect);
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let (line, why) = malformed(&error, &lines);
                report.error(line, why);
                return None;
            }
        };
        let line = span.start.line().max(1);
        if builder.done {
            if matches!(event, Event::DocumentStart(_)) {
                report.error(line, "begins a second document, which nobody reads; take --- out");
                return None;
            }
            continue;
        }
        let written = lines.get(line - 1).copied().unwrap_or("");
        let before: String = written.chars().take(span.start.col()).collect();
        let flow = written.chars().nth(span.start.col()).is_some_and(|c| "[{".contains(c));
        let token = matches!(event, Event::Scalar(..) | Event::Alias(_));
        if token && before.contains('\t') && before.trim().is_empty() {
            report.error(line, "has a tab in its indentation; write spaces");
            return None;
        }
        let added = builder.event(event, (line, flow), report);
        if let Err(why) = added {
            report.error(line, why);
            return None;
        }
    }
    Some(builder.whole.unwrap_or_else(|| Node::scalar(1, "", true, dialect)))
}

/// Where and why a text is no YAML; a tab is often noticed a line too early or too late.
pub(in crate::check) fn malformed(error: &ScanError, lines: &[&str]) -> (usize, String) {
    let line = error.marker().line().max(1);
    let indented_by_tab = |number: &usize| {
        let line = number.checked_sub(1).and_then(|index| lines.get(index)).unwrap_or(&"");
        line[..line.len() - line.trim_start().len()].contains('\t')
    };
    if let Some(line) = [line, line + 1, line - 1].into_iter().find(indented_by_tab) {
        return (line, "has a tab in its indentation; write spaces".to_owned());
    }
    let why: String = error.info().chars().take(120).collect();
    let hint = if why.contains("mapping values") {
        "; put a value with a colon in quotes, or indent the line as its neighbours"
    } else if why.contains("expected") {
        "; indent the line as its neighbours, by spaces"
    } else {
        ""
    };
    (line, format!("is no YAML: {why}{hint}"))
}

struct Builder {
    dialect: Dialect,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    whole: Option<Node>,
    done: bool,
}

/// A list or mapping that has not ended yet.
struct Open {
    line: usize,
    anchor: usize,
    /// Written in brackets or braces.
    flow: bool,
    /// A mapping's keys and values in turn, or a list's nodes.
    nodes: Vec<Node>,
}

impl Builder {
    fn new(dialect: Dialect) -> Self {
        let (open, anchors) = (Vec::new(), BTreeMap::new());
        Self { dialect, open, anchors, nodes: 0, whole: None, done: false }
    }

    fn event(
        &mut self,
        event: Event<'_>,
        (line, flow): (usize, bool),
        report: &mut Report,
    ) -> Result<(), String> {
        match event {
            Event::Scalar(raw, style, anchor, tag) => {
                let is = |sort: &str| tag.as_ref().is_some_and(|tag| is_tag(tag, sort));
                if is("binary") {
                    let value = text::base64(&raw).ok_or("has a !!binary that is no base64")?;
                    let raw = raw.into_owned();
                    return self.add(Node { line, raw, value: Value::Binary(value) }, anchor);
                }
                let plain = style == ScalarStyle::Plain && !is("str");
                if plain
                    && self.dialect == Dialect::V1
                    && self.open.last().is_some_and(|open| open.flow)
                    && let Some(word) = raw.split_whitespace().find(|word| inner_colon(word))
                {
                    return Err(format!(
                        "has {word} within brackets; write it in quotes: \"{word}\""
                    ));
                }
                if plain && quoted_in_print(&raw) {
                    report.error(line, "has typographic quotes; write plain ones: \" or '");
                }
                self.add(Node::scalar(line, &raw, plain, self.dialect), anchor)?;
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let mut node = node.ok_or("refers to an anchor that is not there yet")?;
                node.line = line;
                self.nodes += node.size();
                self.add(node, 0)?;
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if self.open.len() >= DEEPEST {
                    return Err(format!("is nested more than {DEEPEST} deep"));
                }
                self.open.push(Open { line, anchor, flow, nodes: Vec::new() });
            }
            Event::SequenceEnd => {
                if let Some(Open { line, anchor, nodes, .. }) = self.open.pop() {
                    let value = Value::List(nodes);
                    self.add(Node { line, raw: String::new(), value }, anchor)?;
                }
            }
            Event::MappingEnd => {
                if let Some(Open { line, anchor, nodes, .. }) = self.open.pop() {
                    let value = Value::Map(paired(nodes, self.dialect, report));
                    self.add(Node { line, raw: String::new(), value }, anchor)?;
                }
            }
            Event::DocumentEnd => self.done = true,
            Event::DocumentStart(_) | Event::Nothing | Event::StreamEnd | Event::StreamStart => {}
        }
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(format!("has more than {MOST_NODES} values, aliases counted"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
            self.nodes += node.size();
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None => self.whole = Some(node),
        }
        Ok(())
    }
}

fn is_tag(tag: &Tag, sort: &str) -> bool {
    tag.suffix.rsplit(':').next() == Some(sort)
}

/// YAML 1.1 takes no colon inside a plain word between brackets: `[http://a]`.
fn inner_colon(word: &str) -> bool {
    word.trim_end_matches(':').contains(':')
}

fn quoted_in_print(raw: &str) -> bool {
    let quote = |c: char| matches!(c, '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}');
    raw.starts_with(quote) && raw.ends_with(quote)
}

/// Keys with their values; `<<` brings in those of another mapping that are not there.
fn paired(nodes: Vec<Node>, dialect: Dialect, report: &mut Report) -> Vec<(Node, Node)> {
    let mut members: Vec<(Node, Node)> = Vec::with_capacity(nodes.len() / 2);
    let mut seen = std::collections::BTreeSet::new();
    let mut merged = Vec::new();
    let mut nodes = nodes.into_iter();
    while let (Some(key), Some(node)) = (nodes.next(), nodes.next()) {
        if key.raw == "<<" {
            merged.push(node);
            continue;
        }
        if !seen.insert(key.key()) {
            let name: String = key.raw.chars().take(60).collect();
            match dialect {
                Dialect::V1 => {
                    let why = format!("has \"{name}\" twice; only the last one counts");
                    report.warn(key.line, why);
                }
                Dialect::V3 => {
                    let why = format!("has \"{name}\" twice, so nothing of it is read; keep one");
                    report.error(key.line, why);
                }
            }
        }
        members.push((key, node));
    }
    for node in merged {
        for (key, node) in node.members() {
            if seen.insert(key.key()) {
                members.push((key.clone(), node.clone()));
            }
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_the_go_library_makes_of_them() {
        for (raw, v1, v3) in [
            ("off", Value::Bool(false), Value::Text),
            ("Yes", Value::Bool(true), Value::Text),
            ("True", Value::Bool(true), Value::Bool(true)),
            ("0644", Value::Whole(420), Value::Whole(420)),
            ("644", Value::Whole(644), Value::Whole(644)),
            ("0x1f", Value::Whole(31), Value::Whole(31)),
            ("-5", Value::Whole(-5), Value::Whole(-5)),
            ("1_000", Value::Whole(1000), Value::Whole(1000)),
            ("0899", Value::Real(899.0), Value::Real(899.0)),
            ("1.5", Value::Real(1.5), Value::Real(1.5)),
            ("~", Value::Null, Value::Null),
            ("1122.2.0", Value::Text, Value::Text),
            ("etcd-lock", Value::Text, Value::Text),
            ("-", Value::Text, Value::Text),
            ("infinity", Value::Text, Value::Text),
            ("2026-11-30", Value::Text, Value::Date),
            ("2026-1-3 10:00:00", Value::Text, Value::Date),
            ("2026-11-30 was a Monday", Value::Text, Value::Text),
            ("2026-11-30-1", Value::Text, Value::Text),
        ] {
            assert_eq!(resolved(raw, Dialect::V1), v1, "{raw}");
            assert_eq!(resolved(raw, Dialect::V3), v3, "{raw}");
        }
    }
}
