//! What any text must be before its own reader looks at it: UTF-8, no byte order mark, no control
//! characters, and no template marker that nobody filled in.

use super::{Kind, PLACEHOLDER, Report};

/// The text as characters, unless it is none that its reader could take.
pub(super) fn read<'t>(kind: Kind, text: &'t [u8], report: &mut Report) -> Option<&'t str> {
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let line = 1 + count_lines(&text[..error.valid_up_to()]);
            let byte = text.get(error.valid_up_to()).copied().unwrap_or(0);
            let hint = if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
                "is UTF-16; save the file as UTF-8".to_owned()
            } else if text.starts_with(b"\x1f\x8b") {
                "is compressed with gzip; put the plain text here".to_owned()
            } else {
                format!("is not UTF-8: byte 0x{byte:02x}; save the file as UTF-8")
            };
            add(kind, report, line, hint);
            return None;
        }
    };
    if text.starts_with('\u{feff}') {
        let why = "begins with a byte order mark, which no reader skips; save as UTF-8 without BOM";
        add(kind, report, 1, why.to_owned());
        return (kind == Kind::Text).then_some(text);
    }
    if kind != Kind::Text && text.trim().is_empty() {
        report.error(1, "is empty");
        return None;
    }
    for (line, content) in (1..).zip(text.lines()) {
        if report.is_full() {
            break;
        }
        controls(kind, line, content, report);
        markers(kind, line, content, report);
        // A comment asks for nothing.
        if content.contains(PLACEHOLDER) && !content.trim_start().starts_with('#') {
            add(kind, report, line, format!("still has {PLACEHOLDER}; write your own value"));
        }
    }
    Some(text)
}

fn add(kind: Kind, report: &mut Report, line: usize, text: String) {
    match kind {
        Kind::Text => report.warn(line, text),
        Kind::CloudConfig | Kind::Ignition | Kind::Ipxe | Kind::Script => report.error(line, text),
    }
}

fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}

fn controls(kind: Kind, line: usize, content: &str, report: &mut Report) {
    let stray = |c: &char| c.is_control() && !matches!(c, '\t' | '\r');
    // An escape has a use in a script's or a menu's output; a NUL has none anywhere.
    let allowed = |c: &char| matches!(kind, Kind::Ipxe | Kind::Script) && *c == '\u{1b}';
    if let Some(c) = content.chars().find(|c| stray(c) && !allowed(c)) {
        let code = u32::from(c);
        add(kind, report, line, format!("has the control character U+{code:04X}; take it out"));
    }
}

/// A `{{ word }}` or `{% tag %}` that is still there was meant to be filled in.
fn markers(kind: Kind, line: usize, content: &str, report: &mut Report) {
    for (open, close) in [("{{", "}}"), ("{%", "%}")] {
        let mut rest = content;
        while let Some((_, after)) = rest.split_once(open) {
            let Some((inside, after)) = after.split_once(close) else { break };
            rest = after;
            if is_go(inside) {
                continue;
            }
            let shown: String = inside.chars().take(50).collect();
            let text = format!(
                "has \"{open}{shown}{close}\", which nobody filled in; declare the file as a \
                 template, or take it out"
            );
            match kind {
                Kind::CloudConfig | Kind::Ignition | Kind::Ipxe => report.error(line, text),
                Kind::Script => report.warn(line, text),
                Kind::Text => {}
            }
        }
    }
}

/// docker's `--format '{{.ID}}'` is Go's template language: its words begin with a dot.
fn is_go(inside: &str) -> bool {
    let mut words = inside.split(|c: char| c.is_whitespace() || "()|-".contains(c));
    let keywords = ["else", "end", "json", "println", "range", "with"];
    words.any(|word| word.starts_with(['.', '$']) || keywords.contains(&word))
}

/// What makes a line of authorized_keys one that sshd would skip.
pub(super) fn ssh_key_fault(key: &str) -> Option<String> {
    let shown: String = key.trim().chars().take(30).collect();
    if key.trim().contains(['\n', '\r']) {
        return Some(format!("has a line break in the SSH key \"{shown}…\"; one key is one line"));
    }
    let mut words = key.split_whitespace();
    // Options may come first; the sort and the key itself follow each other.
    let sort = words.find(|word| is_key_sort(word));
    let body = words.next().unwrap_or("");
    let whole = sort.is_some() && body.starts_with("AAAA") && base64(body).is_some();
    (!whole)
        .then(|| format!("has \"{shown}\", which is no SSH key; write the line of your .pub file"))
}

fn is_key_sort(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|sort| word.starts_with(sort))
}

/// Decodes what Go's standard base64 would: padded, line ends skipped.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    if !symbols.len().is_multiple_of(4) {
        return None;
    }
    let padding = symbols.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(symbols.len() / 4 * 3);
    for four in symbols[..symbols.len() - padding].chunks(4) {
        let mut bits = 0_u32;
        for &symbol in four {
            bits = bits << 6 | u32::from(sextet(symbol)?);
        }
        bits <<= 6 * (4 - four.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
}

fn sextet(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_go_reads_it() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("YQ==", Some(b"a")),
            ("YWI=", Some(b"ab")),
            ("YWJj", Some(b"abc")),
            ("YWJj\r\nZA==", Some(b"abcd")),
            ("YQ", None),
            ("YQ=", None),
            ("Y!==", None),
            ("====", None),
            ("Y===", None),
        ] {
            assert_eq!(base64(text).as_deref(), bytes, "{text}");
        }
    }
}
