//! YAML for readers whose keys we do not know: whether it is YAML, and what it is made of.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{Report, cloud};

/// One value, and the line it begins on. Aliases are not followed.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Alias,
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// Without its quotes, and whether it had any.
    Scalar(String, bool),
}

impl Node {
    pub(super) fn members(&self) -> &[(Self, Self)] {
        if let Value::Map(members) = &self.value { members } else { &[] }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let found = self.members().iter().rev().find(|(name, _)| name.text() == Some(key));
        found.map(|(_, node)| node)
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Scalar(text, _) = &self.value { Some(text) } else { None }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, false) if matches!(text.as_str(), "" | "~" | "null"))
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// How it is built, without what its texts say.
    pub(super) fn shape(&self) -> String {
        match &self.value {
            Value::Alias => "*".to_owned(),
            Value::Scalar(..) => "s".to_owned(),
            Value::List(nodes) => {
                let inside: Vec<String> = nodes.iter().map(Self::shape).collect();
                format!("[{}]", inside.join(","))
            }
            Value::Map(members) => {
                let inside = members.iter().map(|(k, v)| format!("{}:{}", k.shape(), v.shape()));
                format!("{{{}}}", inside.collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// Deeper than any config is.
const DEEPEST: usize = 100;

/// All documents of a text, unless it is no YAML.
pub(super) fn documents(text: &str, report: &mut Report) -> Option<Vec<Node>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let (line, why) = cloud::malformed(&error, &lines);
                report.error(line, why);
                return None;
            }
        };
        let line = span.start.line().max(1);
        let written = lines.get(line - 1).copied().unwrap_or("");
        let indented_by_tab = written.starts_with([' ', '\t']) && {
            let end = written.len() - written.trim_start().len();
            written[..end].contains('\t') && span.start.col() == written[..end].chars().count()
        };
        if indented_by_tab && matches!(event, Event::Scalar(..) | Event::Alias(_)) {
            report.error(line, "has a tab in its indentation; write spaces");
            return None;
        }
        if !builder.event(event, line, report) {
            report.warn(line, format!("is nested more than {DEEPEST} deep; no more is checked"));
            return None;
        }
    }
    Some(builder.documents)
}

#[derive(Default)]
struct Builder {
    /// Lists and mappings that have not ended yet: where they began, and what is in them.
    open: Vec<(usize, Vec<Node>)>,
    documents: Vec<Node>,
}

impl Builder {
    /// Whether it may go on.
    fn event(&mut self, event: Event<'_>, line: usize, report: &mut Report) -> bool {
        match event {
            Event::Scalar(text, style, ..) => {
                let value = Value::Scalar(text.into_owned(), style != ScalarStyle::Plain);
                self.add(Node { line, value });
            }
            Event::Alias(_) => self.add(Node { line, value: Value::Alias }),
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if self.open.len() >= DEEPEST {
                    return false;
                }
                self.open.push((line, Vec::new()));
            }
            Event::SequenceEnd => {
                if let Some((line, nodes)) = self.open.pop() {
                    self.add(Node { line, value: Value::List(nodes) });
                }
            }
            Event::MappingEnd => {
                if let Some((line, nodes)) = self.open.pop() {
                    self.add(Node { line, value: Value::Map(paired(nodes, report)) });
                }
            }
            Event::DocumentEnd
            | Event::DocumentStart(_)
            | Event::Nothing
            | Event::StreamEnd
            | Event::StreamStart => {}
        }
        true
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            Some((_, nodes)) => nodes.push(node),
            None => self.documents.push(node),
        }
    }
}

fn paired(nodes: Vec<Node>, report: &mut Report) -> Vec<(Node, Node)> {
    let mut members = Vec::with_capacity(nodes.len() / 2);
    let mut seen = BTreeSet::new();
    let mut nodes = nodes.into_iter();
    while let (Some(key), Some(node)) = (nodes.next(), nodes.next()) {
        if let Some(name) = key.text()
            && name != "<<"
            && !seen.insert(name.to_owned())
        {
            let name: String = name.chars().take(60).collect();
            report.warn(key.line, format!("has \"{name}\" twice; keep one"));
        }
        members.push((key, node));
    }
    members
}

/// Adds what is wrong with Talos' machine config.
pub(super) fn check_talos(text: &str, report: &mut Report) {
    let Some(documents) = documents(text, report) else { return };
    if documents.iter().all(Node::is_nothing) {
        report.error(1, "is empty; Talos takes no config without a document");
    }
    for document in documents.iter().filter(|document| !document.is_nothing()) {
        if !document.is_map() {
            report.error(document.line, "is no config of Talos: write \"key: value\" lines");
        } else if document.get("kind").is_none() && document.get("version").is_none() {
            let why = "has neither \"version: v1alpha1\" nor \"apiVersion\" and \"kind\", by which \
                       Talos knows its documents; add one";
            report.warn(document.line, why);
        }
    }
}
