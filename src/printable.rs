//! Text that others wrote, as a terminal may show it.
//!
//! A control character moves the cursor, those of Unicode's C1 among them; a bidirectional mark makes
//! a line read otherwise than it is. JSON allows most of them as they are.

use std::{borrow::Cow, fmt::Write as _};

/// Whether a terminal acts on this character instead of showing it.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// The text on one line, with `instead` in the place of each such character.
pub fn shown(text: &str, instead: char) -> Cow<'_, str> {
    match text.contains(is_hidden) {
        true => text.chars().map(|c| if is_hidden(c) { instead } else { c }).collect(),
        false => Cow::Borrowed(text),
    }
}

/// JSON with such characters escaped: it says the same. Line ends and tabs stay, as in JSON they
/// stand between values alone.
pub fn in_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| is_hidden(c) && !matches!(c, '\n' | '\r' | '\t');
    if !json.contains(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match is_escaped(c) {
            // All of them are of the first plane.
            true => drop(write!(escaped, "\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_shown_or_escaped_and_nothing_else_is() {
        let hostile = "a\u{9b}31m\u{202e}b\u{2066}\u{200f}\u{61c}\u{2028}\u{7f}";
        assert_eq!(shown(hostile, '?'), "a?31m?b?????");
        let told = serde_json::to_string(&serde_json::json!({ "product": hostile })).unwrap();
        let safe = in_json(&told);
        assert!(!safe.contains(is_hidden), "{safe:?}");
        let read: serde_json::Value = serde_json::from_str(&safe).unwrap();
        assert_eq!(read["product"], hostile, "it says the same");
        for plain in ["{\n  \"serial\": \"VMware-56 4d Ä 漢\"\n}\n", ""] {
            assert!(matches!(in_json(plain), Cow::Borrowed(_)));
        }
    }
}
