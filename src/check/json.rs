//! JSON that knows its lines, and says what a person who wrote it by hand got wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;

/// One value, and the line it begins on.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Bool(bool),
    List(Vec<Node>),
    Null,
    /// As it was written.
    Number(String),
    Object(Vec<Member>),
    Text(String),
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) node: Node,
}

/// The one value that a text holds, or where and why it holds none.
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    let mut reader = Reader { text, at: 0, line: 1, ended: 1 };
    let whole = reader.value(0).and_then(|node| {
        reader.space();
        match reader.peek() {
            None => Ok(node),
            Some(c) => Err(reader.here(format!("has {} after its last }}; take it out", shown(c)))),
        }
    });
    whole.map_err(|(line, text)| report.error(line, text)).ok()
}

impl Node {
    /// The value as Go reads keys that are there twice: objects are merged, lists place by
    /// place, and of other values the last one counts.
    pub(super) fn merged(self) -> Self {
        let value = match self.value {
            Value::Object(members) => Value::Object(unique(members)),
            Value::List(nodes) => Value::List(nodes.into_iter().map(Self::merged).collect()),
            value @ (Value::Bool(_) | Value::Null | Value::Number(_) | Value::Text(_)) => value,
        };
        Self { line: self.line, value }
    }

    /// Keys that are there again, anywhere within.
    pub(super) fn repeated(&self, found: &mut Vec<(usize, String)>) {
        let mut seen = BTreeSet::new();
        for member in self.members() {
            if !seen.insert(member.key.as_str()) {
                found.push((member.line, member.key.clone()));
            }
            member.node.repeated(found);
        }
        if let Value::List(nodes) = &self.value {
            nodes.iter().for_each(|node| node.repeated(found));
        }
    }

    /// A member that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let found = self.members().iter().rev().find(|member| member.key == key)?;
        (!matches!(found.node.value, Value::Null)).then_some(&found.node)
    }

    pub(super) fn members(&self) -> &[Member] {
        if let Value::Object(members) = &self.value { members } else { &[] }
    }

    /// The members of a list beneath; none if it is not there.
    pub(super) fn list(&self, key: &str) -> &[Self] {
        if let Some(Value::List(nodes)) = self.get(key).map(|n| &n.value) { nodes } else { &[] }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// A text that is there and not empty: Ignition takes an empty one for none.
    pub(super) fn filled(&self, key: &str) -> Option<&str> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub(super) fn whole(&self, key: &str) -> Option<i64> {
        if let Value::Number(digits) = &self.get(key)?.value { digits.parse().ok() } else { None }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        if let Value::Bool(flag) = self.get(key)?.value { Some(flag) } else { None }
    }

    /// Where a member stands, or the object that lacks it.
    pub(super) fn line_of(&self, key: &str) -> usize {
        let found = self.members().iter().rev().find(|member| member.key == key);
        found.map_or(self.line, |member| member.line)
    }

    /// Whether nothing is lost when this is not read.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::List(nodes) => nodes.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Text(text) => text.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// What it is, in the words of JSON.
    pub(super) fn sort(&self) -> &'static str {
        match self.value {
            Value::Bool(_) => "true or false",
            Value::List(_) => "a list",
            Value::Null => "null",
            Value::Number(_) => "a number",
            Value::Object(_) => "an object",
            Value::Text(_) => "a string",
        }
    }
}

fn unique(members: Vec<Member>) -> Vec<Member> {
    let mut places = BTreeMap::new();
    let mut found: Vec<Member> = Vec::with_capacity(members.len());
    for member in members {
        match places.get(&member.key).and_then(|&place: &usize| found.get_mut(place)) {
            Some(first) => {
                let before = std::mem::replace(&mut first.node.value, Value::Null);
                first.node = over(Node { line: first.node.line, value: before }, member.node);
                first.line = member.line;
            }
            None => {
                places.insert(member.key.clone(), found.len());
                found.push(member);
            }
        }
    }
    for member in &mut found {
        let value = std::mem::replace(&mut member.node.value, Value::Null);
        member.node = Node { line: member.node.line, value }.merged();
    }
    found
}

/// A value that is decoded over another one.
fn over(before: Node, after: Node) -> Node {
    let line = after.line;
    let value = match (before.value, after.value) {
        (Value::Object(mut members), Value::Object(more)) => {
            members.extend(more);
            Value::Object(members)
        }
        // Nothing is decoded over a struct.
        (Value::Object(members), Value::Null) => Value::Object(members),
        (Value::List(nodes), Value::List(more)) => {
            let mut nodes = nodes.into_iter();
            let merge = |node| match nodes.next() {
                Some(before) => over(before, node),
                None => node,
            };
            Value::List(more.into_iter().map(merge).collect())
        }
        (_, value) => value,
    };
    Node { line, value }
}

/// Deeper than any config has reason to be, and shallow enough for the stack.
const DEEPEST: usize = 100;

type Malformed = (usize, String);

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    /// Where the last value or comma ended: a comma is missed there, not where it is noticed.
    ended: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, Malformed> {
        self.space();
        let line = self.line;
        if depth > DEEPEST {
            return Err(self.here(format!("is nested more than {DEEPEST} deep")));
        }
        let value = match self.peek() {
            Some('{') => Value::Object(self.object(depth)?),
            Some('[') => Value::List(self.list(depth)?),
            Some('"') => Value::Text(self.string()?),
            Some('-' | '0'..='9') => Value::Number(self.number()?),
            _ => self.word()?,
        };
        self.ended = self.line;
        Ok(Node { line, value })
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Member>, Malformed> {
        let opened = self.line;
        self.skip();
        let mut members = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some('}') if members.is_empty() => break,
                Some('}') => return Err(self.trailing_comma('}')),
                Some('"') => {}
                None => return Err((opened, "has a { that is never closed; add its }".to_owned())),
                Some(c) => return Err(self.no_key(c)),
            }
            let line = self.line;
            let key = self.string()?;
            self.space();
            if self.peek() != Some(':') {
                let found = self.found();
                return Err((line, format!("has {found} after \"{key}\"; write a colon there")));
            }
            self.skip();
            let node = self.value(depth + 1)?;
            members.push(Member { key, line, node });
            if !self.goes_on('}', opened)? {
                break;
            }
        }
        self.skip();
        Ok(members)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Malformed> {
        let opened = self.line;
        self.skip();
        let mut nodes = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(']') if nodes.is_empty() => break,
                Some(']') => return Err(self.trailing_comma(']')),
                None => return Err((opened, "has a [ that is never closed; add its ]".to_owned())),
                Some(_) => {}
            }
            nodes.push(self.value(depth + 1)?);
            if !self.goes_on(']', opened)? {
                break;
            }
        }
        self.skip();
        Ok(nodes)
    }

    /// After a value: whether a comma follows, and so another one.
    fn goes_on(&mut self, close: char, opened: usize) -> Result<bool, Malformed> {
        self.space();
        match self.peek() {
            Some(',') => {
                self.ended = self.line;
                self.skip();
                Ok(true)
            }
            Some(c) if c == close => Ok(false),
            Some(c @ ('}' | ']')) => {
                Err(self.here(format!("has {c} where the {close} for line {opened} is due")))
            }
            Some('"' | '{' | '[' | '-' | '0'..='9' | 't' | 'f' | 'n') => {
                Err((self.ended, "lacks a comma at the end; add it".to_owned()))
            }
            Some(c) => Err(self.here(match c {
                '/' | '#' => "has a comment; JSON has none, take it out".to_owned(),
                c => format!("has {} where a comma or {close} is due", shown(c)),
            })),
            None => {
                let open = if close == '}' { '{' } else { '[' };
                Err((opened, format!("has a {open} that is never closed; add its {close}")))
            }
        }
    }

    fn trailing_comma(&self, close: char) -> Malformed {
        (self.ended, format!("has a comma before the closing {close}; take the comma out"))
    }

    fn no_key(&self, c: char) -> Malformed {
        self.here(match c {
            '/' | '#' => "has a comment; JSON has none, take it out".to_owned(),
            c if is_quote(c) => format!("has {}; write plain double quotes: \"", shown(c)),
            c if c.is_alphabetic() => {
                let word: String =
                    self.rest().chars().take_while(|c| c.is_alphanumeric()).collect();
                format!("has the key {word} without quotes; write \"{word}\"")
            }
            ',' => "has a comma too many; take it out".to_owned(),
            c => format!("has {} where a key in double quotes is due", shown(c)),
        })
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let line = self.line;
        self.skip();
        let mut text = String::new();
        loop {
            let plain = self.rest().find(['"', '\\', '\n']).unwrap_or(self.rest().len());
            let run = &self.rest()[..plain];
            if let Some(c) = run.chars().find(|&c| c < ' ') {
                let code = u32::from(c);
                return Err((
                    line,
                    format!(
                        "has the character U+{code:04X} in a string; write \\{}",
                        if c == '\t' { "t".to_owned() } else { format!("u{code:04x}") }
                    ),
                ));
            }
            text.push_str(run);
            self.at += plain;
            match self.peek() {
                Some('"') => break self.skip(),
                Some('\\') => text.push(self.escape()?),
                _ => {
                    let begin: String = text.chars().take(20).collect();
                    return Err((
                        line,
                        format!(
                            "has the string \"{begin}… without its closing quote on the same line; \
                         a line break in a string is \\n"
                        ),
                    ));
                }
            }
        }
        Ok(text)
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        self.skip();
        let Some(c) = self.peek() else {
            return Err(self.here("ends within a string".to_owned()));
        };
        self.skip();
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.hex()?;
                // Half a pair becomes U+FFFD in Go, too.
                if (0xd800..0xdc00).contains(&high) && self.rest().starts_with("\\u") {
                    let (at, line) = (self.at, self.line);
                    self.at += 2;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    (self.at, self.line) = (at, line);
                }
                char::from_u32(high).unwrap_or('\u{fffd}')
            }
            c => {
                return Err(self.here(format!(
                    "has \\{c} in a string; write \\\\{c} for a backslash and {c}"
                )));
            }
        })
    }

    fn hex(&mut self) -> Result<u32, Malformed> {
        let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.here("has \\u without four hex digits".to_owned()))?;
        self.at += 4;
        Ok(code)
    }

    fn number(&mut self) -> Result<String, Malformed> {
        let end = self
            .rest()
            .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
            .unwrap_or(self.rest().len());
        let number = self.rest()[..end].to_owned();
        let digits = number.strip_prefix('-').unwrap_or(&number);
        let octal = digits.len() > 1 && digits.starts_with('0');
        if octal && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
            let decimal = i64::from_str_radix(digits, 8).unwrap_or(0);
            return Err(self.here(format!(
                "has the number {number}; JSON has no octal numbers, write {decimal}"
            )));
        }
        if !is_number(digits) {
            let number: String = number.chars().take(20).collect();
            return Err(self.here(format!("has {number}, which is no number")));
        }
        self.at += end;
        Ok(number)
    }

    fn word(&mut self) -> Result<Value, Malformed> {
        for (word, value) in
            [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)]
        {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(match self.peek() {
            None => (self.ended, "ends where a value is due".to_owned()),
            Some('/' | '#') if self.at == 0 => {
                self.here("is no JSON: it must begin with {".to_owned())
            }
            Some('/' | '#') => self.here("has a comment; JSON has none, take it out".to_owned()),
            Some(c) if is_quote(c) => {
                self.here(format!("has {}; write plain double quotes: \"", shown(c)))
            }
            Some('}' | ']' | ',') => {
                (self.ended, "has no value where one is due; add it".to_owned())
            }
            Some(c) if c.is_alphabetic() => {
                let word: String =
                    self.rest().chars().take_while(|c| c.is_alphanumeric()).collect();
                let word: String = word.chars().take(40).collect();
                let lower = word.to_lowercase();
                if matches!(lower.as_str(), "true" | "false" | "null") {
                    self.here(format!("has {word}; write {lower}"))
                } else {
                    self.here(format!("has {word} without quotes; write \"{word}\""))
                }
            }
            Some(c) => self.here(format!("has {} where a value is due", shown(c))),
        })
    }

    fn space(&mut self) {
        let rest = self.rest();
        let end = rest.find(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')).unwrap_or(rest.len());
        self.line += rest[..end].bytes().filter(|&byte| byte == b'\n').count();
        self.at += end;
    }

    fn skip(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn found(&self) -> String {
        self.peek().map_or_else(|| "nothing".to_owned(), shown)
    }

    fn here(&self, text: String) -> Malformed {
        (self.line, text)
    }
}

fn is_number(digits: &str) -> bool {
    let (digits, exponent) = match digits.split_once(['e', 'E']) {
        Some((digits, exponent)) => {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            (digits, Some(exponent))
        }
        None => (digits, None),
    };
    let (whole, part) = match digits.split_once('.') {
        Some((whole, part)) => (whole, Some(part)),
        None => (digits, None),
    };
    let all = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && part.is_none_or(all)
        && exponent.is_none_or(all)
}

fn is_quote(c: char) -> bool {
    matches!(c, '\'' | '`' | '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}')
}

fn shown(c: char) -> String {
    match c {
        '\'' | '`' => format!("the quote {c}"),
        c if is_quote(c) => format!("the typographic quote {c}"),
        c if c.is_control() => format!("the character U+{:04X}", u32::from(c)),
        c => format!("\"{c}\""),
    }
}
