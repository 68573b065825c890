//! Answers for Debian's installer: `owner question type value`, a line each.

use super::{Report, near};

/// The types of debconf, and the flag that may stand in a type's place.
const TYPES: [&str; 10] = [
    "boolean",
    "error",
    "multiselect",
    "note",
    "password",
    "seen",
    "select",
    "string",
    "text",
    "title",
];

/// Adds what is wrong with the answers.
pub(super) fn check(text: &str, report: &mut Report) {
    for (line, answer) in answers(text) {
        if report.is_full() {
            return;
        }
        let mut words = answer.split_whitespace();
        let (_, Some(question), Some(sort)) = (words.next(), words.next(), words.next()) else {
            let why = "has fewer than three words; write owner, question, type and value";
            report.error(line, why);
            continue;
        };
        if !TYPES.contains(&sort) {
            let instead = near::nearest(sort, TYPES.into_iter()).map_or_else(
                || format!("there are {}", TYPES.join(", ")),
                |near| format!("is \"{near}\" meant?"),
            );
            let sort: String = sort.chars().take(40).collect();
            let why = format!("has the type \"{sort}\", which debconf does not know; {instead}");
            report.error(line, why);
        }
        let value = words.next();
        if sort == "boolean" && !matches!(value, Some("true" | "false") | None) {
            let why = format!("has another value for {question} than true or false");
            report.warn(line, why);
        }
    }
}

/// Each answer with the line it begins on; a line that ends in a backslash goes on in the next.
pub(super) fn answers(text: &str) -> Vec<(usize, String)> {
    let mut answers = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (line, content) in (1..).zip(text.lines()) {
        let is_comment = content.trim_start().starts_with('#');
        if open.is_none() && (is_comment || content.trim().is_empty()) {
            continue;
        }
        let (began, mut whole) = open.take().unwrap_or((line, String::new()));
        match content.trim_end().strip_suffix('\\') {
            Some(part) => {
                whole.push_str(part);
                open = Some((began, whole));
            }
            None => answers.push((began, whole + content)),
        }
    }
    answers.extend(open);
    answers
}
