//! What any text must be before its own reader looks at it: UTF-8, no byte order mark, no control
//! characters, and no template marker that nobody filled in.

use super::{Kind, PLACEHOLDER, Report};

/// The text as characters, unless it is none that its reader could take, or none that we can read.
pub(super) fn read<'t>(kind: Kind, text: &'t [u8], report: &mut Report) -> Option<&'t str> {
    // cloud-init runs a program that it is given.
    let runs = matches!(kind, Kind::CloudConfig | Kind::CloudInit) && text.starts_with(b"#!");
    let kind = if runs { Kind::Script } else { kind };
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            unreadable(kind, text, error.valid_up_to(), report);
            return None;
        }
    };
    let (text, has_mark) = match text.strip_prefix('\u{feff}') {
        // Readers of these pass over it.
        Some(rest) if matches!(kind, Kind::AutoYast | Kind::Talos | Kind::Xml | Kind::Yaml) => {
            (rest, false)
        }
        Some(_) => (text, true),
        None => (text, false),
    };
    if has_mark {
        let why = "begins with a byte order mark, which no reader skips; save as UTF-8 without BOM";
        add(kind, report, 1, why.to_owned());
        return (kind == Kind::Text).then_some(text);
    }
    if text.trim().is_empty() {
        // An empty meta-data or vendor-data is what cloud-init's own examples have.
        if matches!(kind, Kind::Kickstart | Kind::Preseed) {
            report.warn(1, "is empty");
        } else if !matches!(kind, Kind::CloudInit | Kind::Text | Kind::Yaml) {
            report.error(1, "is empty");
        }
        return (kind == Kind::Text).then_some(text);
    }
    for (line, content) in (1..).zip(text.lines()) {
        if report.is_full() {
            break;
        }
        controls(kind, line, content, report);
        // A comment asks for nothing.
        if content.contains(PLACEHOLDER) && !content.trim_start().starts_with('#') {
            add(kind, report, line, format!("still has {PLACEHOLDER}; write your own value"));
        }
    }
    line_ends(kind, text, report);
    Some(text)
}

fn add(kind: Kind, report: &mut Report, line: usize, text: String) {
    if kind == Kind::Text {
        report.warn(line, text);
    } else {
        report.error(line, text);
    }
}

fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}

/// A text that is UTF-8 up to a place only.
fn unreadable(kind: Kind, text: &[u8], good: usize, report: &mut Report) {
    let line = 1 + count_lines(&text[..good]);
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        // XML says its own encoding.
        if !matches!(kind, Kind::AutoYast | Kind::Xml) {
            add(kind, report, line, "is UTF-16; save the file as UTF-8".to_owned());
        }
    } else if text.starts_with(GZIP) {
        let why = "is compressed with gzip; put the plain text here";
        let is_open = matches!(kind, Kind::Json | Kind::Talos | Kind::Text | Kind::Yaml);
        if is_open || matches!(kind, Kind::AutoYast | Kind::Xml) {
            report.warn(line, why);
        } else {
            report.error(line, why);
        }
    } else {
        let byte = text.get(good).copied().unwrap_or(0);
        let why = format!("is not UTF-8: byte 0x{byte:02x}; save the file as UTF-8");
        // Parts of MIME may be anything.
        let is_parts = kind == Kind::CloudInit && !text.starts_with(b"#cloud-config");
        // Bytes of other encodings are as good to these as ours.
        if matches!(kind, Kind::AutoYast | Kind::Preseed | Kind::Xml) {
            return;
        }
        let is_any = matches!(kind, Kind::Ipxe | Kind::Kickstart | Kind::Script | Kind::Text);
        if is_parts || is_any {
            report.warn(line, why);
        } else {
            report.error(line, why);
        }
    }
}

/// The first bytes of gzip.
pub const GZIP: &[u8] = b"\x1f\x8b";

/// An editor of Windows ends lines so; a value then ends in what nobody sees.
fn line_ends(kind: Kind, text: &str, report: &mut Report) {
    let Some(at) = text.split('\n').position(|line| line.ends_with('\r')) else { return };
    if matches!(kind, Kind::Kickstart | Kind::Preseed) {
        let why = "ends in CR LF, and the installer takes the CR for a part of its last word; save \
                   with LF";
        report.warn(at + 1, why);
    }
}

fn controls(kind: Kind, line: usize, content: &str, report: &mut Report) {
    let stray = |c: &char| {
        if matches!(kind, Kind::Ipxe | Kind::Script) {
            // A bell, an escape or a page break has a use there; a NUL has none anywhere.
            *c == '\0'
        } else if matches!(kind, Kind::Ignition | Kind::Json) {
            // JSON takes those above ASCII's first 32.
            *c < ' ' && !matches!(c, '\t' | '\r')
        } else {
            c.is_control() && !matches!(c, '\t' | '\r' | '\u{85}')
        }
    };
    if let Some(c) = content.chars().find(stray) {
        let code = u32::from(c);
        let why = format!("has the control character U+{code:04X}; take it out");
        if matches!(kind, Kind::Kickstart | Kind::Preseed) {
            report.warn(line, why);
        // XML's own reader says it better.
        } else if !matches!(kind, Kind::AutoYast | Kind::Xml) {
            add(kind, report, line, why);
        }
    }
}

/// A `{{ word }}` or `{% tag %}` with a word of ours in a file that is no template was meant to be filled
/// in. All others are other tools' own.
pub(super) fn markers(kind: Kind, text: &[u8], report: &mut Report) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    for (line, content) in (1..).zip(text.lines()) {
        for (open, close) in [("{{", "}}"), ("{%", "%}")] {
            let mut rest = content;
            while let Some((_, after)) = rest.split_once(open) {
                let Some((inside, after)) = after.split_once(close) else { break };
                rest = after;
                let Some(is_surely_ours) = is_ours(inside) else { continue };
                let shown: String = inside.chars().take(50).collect();
                let text = format!(
                    "has \"{open}{shown}{close}\", which nobody filled in; declare the file as a \
                     [[template]]; where another tool fills it in, write it there between {{% raw %}} \
                     and {{% endraw %}}"
                );
                let is_strict = matches!(kind, Kind::CloudConfig | Kind::Ignition | Kind::Ipxe);
                if is_strict && is_surely_ours {
                    report.error(line, text);
                } else if kind != Kind::Text {
                    report.warn(line, text);
                }
            }
        }
    }
}

/// Whether a marker has a word of ours, and whether no other tool would have it.
fn is_ours(inside: &str) -> Option<bool> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_.$".contains(c);
    let words = || inside.split(|c: char| !is_part(c)).filter(|word| !word.is_empty());
    let surely = |word: &str| {
        word == "base_url" || word.starts_with("metadata.") || word.starts_with("label.")
    };
    if words().any(surely) {
        return Some(true);
    }
    // Alone, as Go's templates and Ansible's have words of their own beside them.
    let mut all = words();
    let alone = all.next().filter(|_| all.next().is_none())?;
    let ours = ["group", "ip", "mac", "profile", "serial", "uuid"];
    ours.contains(&alone).then_some(false)
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
