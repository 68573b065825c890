//! What is wrong with a config, in the operator's words: file, line, what to write instead.

use std::{fmt, sync::Arc};

use toml::Spanned;

/// All that is wrong with one config.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// At least one, in the order in which files are read.
    pub(super) problems: Vec<Problem>,
}

/// One thing to mend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong, and what to write instead.
    pub text: String,
}

/// A line of a config. Sorts in the order in which files are read.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// How many files are read before this one.
    order: usize,
    file: Arc<str>,
    /// From 1; absent for what no line says.
    pub line: Option<usize>,
}

impl Place {
    /// A line of another file, which is read after those of the config.
    pub fn of_file(name: &str, line: Option<usize>) -> Self {
        Self { order: usize::MAX, file: name.into(), line }
    }
}

impl ConfigError {
    /// Sorts what is wrong; `None` where nothing is.
    pub fn of(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort_by(|one, other| one.place.cmp(&other.place));
        (!problems.is_empty()).then_some(Self { problems })
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

/// One file that is read, and what the operator calls it.
#[derive(Clone, Debug)]
pub(super) struct Page<'a> {
    pub(super) order: usize,
    pub(super) name: Arc<str>,
    pub(super) text: &'a str,
    /// Where its lines end.
    ends: Arc<[usize]>,
}

impl<'a> Page<'a> {
    pub(super) fn new(order: usize, name: &str, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at);
        Self { order, name: name.into(), text, ends: ends.collect() }
    }

    /// Where a value is written. A default stands in no line.
    pub(super) fn place<T>(&self, value: &Spanned<T>) -> Place {
        let line = (value.span() != (0..0)).then(|| self.line_of(value.span().start));
        Place { order: self.order, file: Arc::clone(&self.name), line }
    }

    /// The line of a byte offset, from 1.
    fn line_of(&self, offset: usize) -> usize {
        1 + self.ends.partition_point(|&end| end < offset)
    }

    pub(super) fn syntax(&self, error: &toml::de::Error) -> Problem {
        let line = error.span().map(|span| self.line_of(span.start));
        // The parser's message may run over several lines; a problem is one.
        let said = error.message().split('\n').map(str::trim).collect::<Vec<_>>().join(", ");
        let key = error.span().and_then(|span| self.text.get(span)).unwrap_or_default();
        let text = match said.as_str() {
            "duplicate key" => format!("{key:?} stands here a second time; keep one"),
            "string values must be quoted, expected literal string" => {
                format!("{key:?} is no value; write a text in double quotes, or true or false")
            }
            _ if said.starts_with("missing field") => format!("{said}; add it"),
            _ => said,
        };
        Problem { place: Place { order: self.order, file: Arc::clone(&self.name), line }, text }
    }
}

impl Page<'_> {
    /// A value or key that does not fit, in words that say what to write; `key` is where it stands.
    pub(super) fn misfit(&self, error: &toml::de::Error, key: &str) -> Problem {
        let mut problem = self.syntax(error);
        let written = error.span().and_then(|span| self.text.get(span.start..));
        if written.is_some_and(|text| text.starts_with("[["))
            && error.message().contains("type: map")
        {
            problem.text = format!("{key} stands in two brackets; write [{key}], once");
        } else if let Some(text) = misfit(error.message(), key) {
            problem.text = text;
        }
        problem
    }
}

/// serde's words for a value that does not fit, as what to write.
fn misfit(message: &str, key: &str) -> Option<String> {
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (value, known) = rest.split_once(", expected ")?;
        let known = known.trim_start_matches("one of ").replace('`', "\"");
        // The keys of a table may be words of a list, too.
        if value.trim_matches('`') == key {
            return Some(format!("\"{key}\" is no key here; write one of {known}"));
        }
        return Some(format!("{} is no value of {key}; write {known}", value.replace('`', "\"")));
    }
    let rest = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.split_once(", expected ")?;
    let found = match found.split_once(' ') {
        _ if found == "map" => "a table".to_owned(),
        _ if found == "sequence" => "a list".to_owned(),
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer", number)) => format!("the number {}", number.trim_matches('`')),
        Some(("floating", _)) => "a number with a point".to_owned(),
        Some(("boolean", word)) => word.trim_matches('`').to_owned(),
        _ => found.to_owned(),
    };
    let instead = match expected {
        "a boolean" => "true or false".to_owned(),
        "a sequence" if found == "a table" => {
            format!("[[{key}]] with two brackets before each of them")
        }
        "a sequence" => "a list in brackets, like [\"one\", \"two\"]".to_owned(),
        "a string" => "a text in double quotes".to_owned(),
        "path string" => "a path in double quotes".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" | "u64" => "a whole number".to_owned(),
        "a map" => format!("a table, [{key}]"),
        _ if expected.starts_with("struct ") => format!("a table, [{key}]"),
        _ => expected.to_owned(),
    };
    Some(format!("{key} is {found}; write {instead}"))
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// As editors and compilers write it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}
