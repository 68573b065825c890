//! What is wrong with a config, in the operator's words: file, line, what to write instead.

use std::fmt;

/// All that is wrong with one config.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// What the operator calls the file.
    pub name: String,
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

/// One thing to mend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// From 1; absent for what no line says.
    pub line: Option<usize>,
    /// What is wrong, and what to write instead.
    pub text: String,
}

impl ConfigError {
    pub(super) fn syntax(error: &toml::de::Error, text: &str, name: &str) -> Self {
        let line = error.span().map(|span| line_of(text, span.start));
        // The parser's message may run over several lines; a problem is one.
        let said = error.message().split('\n').map(str::trim).collect::<Vec<_>>().join(", ");
        let key = error.span().and_then(|span| text.get(span)).unwrap_or_default();
        let text = match said.as_str() {
            "duplicate key" => format!("{key:?} stands here a second time; keep one"),
            _ => said,
        };
        Self { name: name.to_owned(), problems: vec![Problem { line, text }] }
    }
}

/// The line of a byte offset, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.name)?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {}", problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
