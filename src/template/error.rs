//! Why a text is no template, or cannot be filled in, in the operator's words.

use std::fmt;

use minijinja::ErrorKind;

/// Why a text is no template, or cannot be filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TemplateError {
    /// The syntax is wrong, or a filter is unknown or fails.
    Malformed {
        /// Line within the text, from 1.
        line: usize,
        /// What the template engine says.
        detail: String,
    },
    /// The text uses a label that the machine has not told.
    NoLabel(String),
    /// The text uses the serial number of a machine that tells none.
    NoSerial,
    /// The text uses the UUID of a machine whose firmware sends none.
    NoUuid,
    /// The text uses a word that neither profile nor group has in its metadata.
    UnknownMetadata(String),
    /// The text uses a word that is none of ours.
    UnknownWord {
        /// The word.
        word: String,
        /// Those there are.
        known: &'static [&'static str],
    },
}

impl TemplateError {
    pub(super) fn malformed(error: &minijinja::Error) -> Self {
        let detail = match error.detail() {
            Some(detail) => detail.to_owned(),
            None => error.kind().to_string(),
        };
        Self::Malformed { line: error.line().unwrap_or(1), detail }
    }

    /// Adds the ways out that only a file has.
    pub(super) fn of_a_file(self) -> Self {
        let Self::Malformed { line, detail } = self else { return self };
        let way_out = if detail.contains("filter") {
            "the filters are json, lower, replace, sh, split, url, xml and yaml"
        } else {
            "what is not meant for bootbox goes between {% raw %} and {% endraw %}, a single {{ is \
             {{ '{{' }}"
        };
        Self::Malformed { line, detail: format!("{detail}; {way_out}") }
    }

    /// Of what is missing, names that which stands where filling in failed.
    pub(super) fn of_render<'a>(
        error: &minijinja::Error,
        missing: impl Iterator<Item = &'a str>,
        source: &str,
    ) -> Self {
        if error.kind() != ErrorKind::UndefinedError {
            return Self::malformed(error);
        }
        let missing: Vec<&str> = missing.collect();
        let line = error.line().and_then(|line| source.lines().nth(line.checked_sub(1)?));
        let there = missing.iter().find(|path| line.is_some_and(|line| has_word(line, path)));
        match there.or(missing.first()) {
            Some(&"uuid") => Self::NoUuid,
            Some(&"serial") => Self::NoSerial,
            Some(path) if path.starts_with("label.") => Self::NoLabel((*path).to_owned()),
            Some(path) if path.starts_with("metadata.") => {
                Self::UnknownMetadata((*path).to_owned())
            }
            _ => Self::malformed(error),
        }
    }

    /// What is wrong, to be said behind the line that it is about.
    pub fn without_line(&self) -> String {
        match self {
            Self::Malformed { detail, .. } => detail.clone(),
            Self::NoLabel(_)
            | Self::NoSerial
            | Self::NoUuid
            | Self::UnknownMetadata(_)
            | Self::UnknownWord { .. } => self.to_string(),
        }
    }

    /// The line that it is about, in the text that was parsed.
    pub fn line(&self, source: &str) -> Option<usize> {
        let word = match self {
            Self::Malformed { line, .. } => return Some(*line),
            Self::NoLabel(word) | Self::UnknownMetadata(word) | Self::UnknownWord { word, .. } => {
                word
            }
            Self::NoSerial => "serial",
            Self::NoUuid => "uuid",
        };
        let has_template = |line: &str| line.contains("{{") || line.contains("{%");
        let lines = || source.lines().enumerate();
        let within = lines().find(|(_, line)| has_template(line) && has_word(line, word));
        within.or_else(|| lines().find(|(_, line)| has_word(line, word))).map(|(at, _)| at + 1)
    }
}

/// Whether the word stands there and is not part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part)
    })
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { line: 1, detail } => write!(f, "is no template: {detail}"),
            Self::Malformed { line, detail } => {
                write!(f, "is no template: in its line {line}: {detail}")
            }
            Self::NoLabel(word) => write!(
                f,
                "has \"{word}\", and the machine has not told it; add it to the query of /ipxe, or \
                 ask for it with {{% if {word} is defined %}}"
            ),
            Self::NoSerial => f.write_str(
                "needs the machine's serial number, and it tells none; ask for it with {% if serial \
                 is defined %}",
            ),
            Self::NoUuid => f.write_str("needs the machine's UUID, and its firmware sends none"),
            Self::UnknownMetadata(word) => {
                write!(f, "has \"{word}\", and neither the group nor the profile has it; add it")
            }
            Self::UnknownWord { word, known } => {
                write!(f, "has the unknown word \"{word}\"; the words are {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for TemplateError {}
