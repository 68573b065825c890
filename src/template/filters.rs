//! How a value stands in a text of some kind, so that it can be no more than a value there.

use std::fmt::Write as _;

use minijinja::{
    Error, ErrorKind, Value,
    value::ValueKind::{
        Bool, Bytes, Invalid, Iterable, Map, None as Null, Number, Plain, Seq, String as Text,
        Undefined,
    },
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what RFC 3986 calls unreserved.
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Any value as JSON. That is YAML, too, with what YAML takes for line ends or calls unprintable
/// written as escapes.
pub(super) fn json(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_json(&mut text, value)?;
    Ok(text)
}

/// One value as one word of a shell.
pub(super) fn sh(value: &Value) -> Result<String, Error> {
    let text = one(value, "sh")?;
    if text.contains('\0') {
        let detail = "sh takes no NUL, as no shell does";
        return Err(Error::new(ErrorKind::InvalidOperation, detail));
    }
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// One value as a part of a URL: all but letters, digits and `-._~` as `%XX`.
pub(super) fn url(value: &Value) -> Result<String, Error> {
    Ok(utf8_percent_encode(&one(value, "url")?, IN_URL).to_string())
}

/// One value as a text or an attribute of XML. What XML cannot have is left out.
pub(super) fn xml(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    for c in one(value, "xml")?.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&apos;"),
            '\n' | '\t' => text.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => text.push(c),
        }
    }
    Ok(text)
}

/// A value that is one text.
fn one(value: &Value, filter: &str) -> Result<String, Error> {
    match value.kind() {
        Undefined => Err(ErrorKind::UndefinedError.into()),
        Bool => Ok(value.is_true().to_string()),
        Number | Text => Ok(value.to_string()),
        Bytes | Invalid | Iterable | Map | Null | Plain | Seq | _ => {
            let instead = "one text, number or boolean; loop over a list with {% for %}";
            Err(Error::new(ErrorKind::InvalidOperation, format!("{filter} quotes {instead}")))
        }
    }
}

fn write_json(text: &mut String, value: &Value) -> Result<(), Error> {
    match value.kind() {
        Undefined => return Err(ErrorKind::UndefinedError.into()),
        Null => text.push_str("null"),
        Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        Number => {
            let number = value.to_string();
            if !number.ends_with(|c: char| c.is_ascii_digit()) {
                let detail = format!("{number} is no number of JSON or YAML");
                return Err(Error::new(ErrorKind::InvalidOperation, detail));
            }
            text.push_str(&number);
        }
        Text => write_text(text, &value.to_string()),
        Seq | Iterable => {
            text.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                write_json(text, &item)?;
            }
            text.push(']');
        }
        Map => {
            text.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                write_text(text, &key.to_string());
                text.push_str(": ");
                write_json(text, &value.get_item(&key)?)?;
            }
            text.push('}');
        }
        Bytes | Invalid | Plain | _ => {
            return Err(Error::new(ErrorKind::InvalidOperation, "is no value of JSON or YAML"));
        }
    }
    Ok(())
}

fn write_text(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_text_in_json_and_yaml_whatever_stands_in_it() {
        for (value, expected) in [
            ("a b", r#""a b""#),
            ("\"; x", r#""\"; x""#),
            ("a\\b\nc\t\r\0\u{7f}\u{85}", r#""a\\b\nc\t\u000d\u0000\u007f\u0085""#),
            ("\u{2028}é😀", r#""\u2028é😀""#),
            ("", r#""""#),
            ("yes", r#""yes""#),
        ] {
            assert_eq!(json(&Value::from(value)).unwrap(), expected);
            assert_eq!(serde_json::from_str::<String>(expected).unwrap(), value);
        }
    }

    #[test]
    fn other_values_are_what_they_are() {
        let list = Value::from(vec![Value::from(1), Value::from(true), Value::from("x")]);
        assert_eq!(json(&list).unwrap(), r#"[1, true, "x"]"#);
        let map = Value::from_pairs([("k \"", Value::from(1.5)), ("l", list)]);
        assert_eq!(json(&map).unwrap(), r#"{"k \"": 1.5, "l": [1, true, "x"]}"#);
        assert_eq!(json(&Value::from(())).unwrap(), "null");
        assert!(
            json(&Value::from(f64::INFINITY)).is_err() && json(&Value::from(f64::NAN)).is_err()
        );
        assert!(json(&Value::UNDEFINED).is_err() && sh(&Value::UNDEFINED).is_err());
    }

    #[test]
    fn a_text_is_a_part_of_a_url_and_of_xml_whatever_stands_in_it() {
        assert_eq!(
            url(&Value::from("a-b.c_~ é/\\\"${x}")).unwrap(),
            "a-b.c_~%20%C3%A9%2F%5C%22%24%7Bx%7D"
        );
        assert_eq!(
            xml(&Value::from("<a b='\"&'>\0é")).unwrap(),
            "&lt;a b=&apos;&quot;&amp;&apos;&gt;é"
        );
        assert!(url(&Value::from(vec![1])).is_err() && xml(&Value::UNDEFINED).is_err());
    }

    #[test]
    fn a_text_is_one_word_of_a_shell_whatever_stands_in_it() {
        for (value, expected) in [
            ("a b", "'a b'"),
            ("it's; $(reboot) `x`\\", r"'it'\''s; $(reboot) `x`\'"),
            ("", "''"),
            ("a\nb", "'a\nb'"),
        ] {
            assert_eq!(sh(&Value::from(value)).unwrap(), expected);
        }
        assert_eq!(sh(&Value::from(7)).unwrap(), "'7'");
        assert_eq!(sh(&Value::from(true)).unwrap(), "'true'");
        assert!(sh(&Value::from("\0")).is_err() && sh(&Value::from(vec![1])).is_err());
    }
}
