//! How a text is built, without what its values say: two texts of one shape differ in values alone.

use super::{Kind, Report, json, kind::is_cloud_init, preseed, xml, yaml};

/// The shape of a text; nothing where it is none of its kind, or its kind has none.
pub fn shape(kind: Kind, text: &str) -> Option<String> {
    match kind {
        Kind::Autoinstall | Kind::CloudConfig | Kind::Talos | Kind::Yaml => of_yaml(text),
        // Its other forms are programs and lists of URLs.
        Kind::CloudInit => {
            let begin = text.trim_start().as_bytes();
            let is_yaml = is_cloud_init(begin) && begin.starts_with(b"#cloud-config");
            is_yaml.then(|| of_yaml(text)).flatten()
        }
        Kind::Ignition | Kind::Json => {
            json::parse(text, &mut Report::default()).map(|node| of_json(&node))
        }
        Kind::AutoYast | Kind::Xml => xml::shape(text).ok(),
        Kind::Ipxe => Some(text.lines().map(of_command).collect()),
        Kind::Kickstart => of_kickstart(text),
        Kind::Preseed => Some(
            preseed::answers(text)
                .iter()
                .filter_map(|(line, answer)| Some(format!("{line}{}\n", of_answer(answer)?)))
                .collect(),
        ),
        Kind::Script | Kind::Text => None,
    }
}

/// The filter that keeps a value one value in a text of this kind.
pub fn remedy(kind: Kind) -> &'static str {
    match kind {
        Kind::Autoinstall | Kind::CloudConfig | Kind::CloudInit | Kind::Talos | Kind::Yaml => {
            "write {{ … | yaml }}, without quotes around it, or {{ … | url }} within a URL"
        }
        Kind::Ignition | Kind::Json => {
            "write {{ … | json }}, without quotes around it, or {{ … | url }} within a URL"
        }
        Kind::AutoYast | Kind::Xml => "write {{ … | xml }}",
        Kind::Ipxe => "iPXE knows no quotes; write {{ … | url }}",
        Kind::Preseed => {
            "a value knows no quotes; write {{ … | url }}, or {{ … | sh }} in a command"
        }
        Kind::Kickstart | Kind::Script | Kind::Text => {
            "write {{ … | sh }}, without quotes around it"
        }
    }
}

fn of_yaml(text: &str) -> Option<String> {
    let documents = yaml::documents(text, &mut Report::default())?;
    Some(documents.iter().map(|node| node.shape() + "\n").collect())
}

fn of_json(node: &json::Node) -> String {
    match &node.value {
        json::Value::Bool(_) | json::Value::Null | json::Value::Number(_) => "v".to_owned(),
        json::Value::Text(_) => "s".to_owned(),
        json::Value::List(nodes) => {
            let inside: Vec<String> = nodes.iter().map(of_json).collect();
            format!("[{}]", inside.join(","))
        }
        json::Value::Object(members) => {
            let inside: Vec<String> = members.iter().map(|it| of_json(&it.node)).collect();
            format!("{{{}}}", inside.join(","))
        }
    }
}

/// iPXE splits a line at spaces, and expands what is in `${}`.
fn of_command(line: &str) -> String {
    if line.trim_start().starts_with('#') {
        return "\n".to_owned();
    }
    let (words, expansions) = (line.split_whitespace().count(), line.matches("${").count());
    format!("{words} {expansions}\n")
}

/// Sections hold lists or scripts, and have no shape here.
fn of_kickstart(text: &str) -> Option<String> {
    let mut shape = String::new();
    let mut is_section = false;
    for line in text.lines() {
        let word = line.split_whitespace().next().unwrap_or("");
        if word.starts_with('%') && word != "%include" {
            is_section = word != "%end";
        } else if !is_section && !word.starts_with('#') {
            shape += &format!("{}\n", words(line)?);
        }
    }
    Some(shape)
}

/// A command is run by a shell; other values end where the line ends.
fn of_answer(answer: &str) -> Option<String> {
    let question = answer.split_whitespace().nth(1).unwrap_or("");
    let is_run = question.ends_with("_command") || question == "preseed/run";
    Some(if is_run { format!(" {}", words(answer)?) } else { String::new() })
}

/// Words as a shell counts them, with its operators and expansions; nothing where a quote is open.
fn words(line: &str) -> Option<usize> {
    let (mut quote, mut count, mut is_word) = (None, 0, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match quote {
            Some(open) if c == open => quote = None,
            Some('\'') => {}
            _ if c == '\\' => {
                chars.next();
                is_word = true;
            }
            Some(_) => count += usize::from(matches!(c, '$' | '`')),
            None if matches!(c, '\'' | '"') => (quote, is_word) = (Some(c), true),
            None if c.is_whitespace() => count += usize::from(std::mem::take(&mut is_word)),
            None if matches!(c, ';' | '&' | '|' | '$' | '`' | '<' | '>' | '(' | ')') => count += 1,
            None => is_word = true,
        }
    }
    quote.is_none().then_some(count + usize::from(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_a_shell_does() {
        for (line, count) in [
            ("a b", Some(2)),
            ("a 'b c' \"d e\"", Some(3)),
            (r"a b\ c 'it'\''s'", Some(3)),
            ("a; b $c", Some(5)),
            ("a '$b;c'", Some(2)),
            ("a 'b", None),
            ("", Some(0)),
        ] {
            assert_eq!(words(line), count, "{line}");
        }
    }

    #[test]
    fn a_shape_knows_no_values() {
        for (kind, one, same, other) in [
            (Kind::Yaml, "a: b\n", "a: \"x: y\"\n", "a:\n  b: c\n"),
            (
                Kind::CloudInit,
                "#cloud-config\na: [b]\n",
                "#cloud-config\na: [c]\n",
                "#cloud-config\na: [b, c]\n",
            ),
            (Kind::Json, r#"{"a": "b"}"#, r#"{"a": "c\""}"#, r#"{"a": "b", "c": "d"}"#),
            (Kind::Xml, "<a>b</a>", "<a>&lt;</a>", "<a><b/></a>"),
            (Kind::Ipxe, "#!ipxe\necho a\n", "#!ipxe\necho b\n", "#!ipxe\necho a b\n"),
            (Kind::Kickstart, "a b\n%post\nx\n%end\n", "a 'b c'\n%post\ny z\n%end\n", "a b c\n"),
            (
                Kind::Preseed,
                "d-i a string b\nd-i c string d\n",
                "d-i a string x\nd-i c string d\n",
                "d-i a string b\\\nd-i c string d\n",
            ),
        ] {
            let shape = |text: &str| shape(kind, text);
            assert!(shape(one).is_some(), "{kind}");
            assert_eq!(shape(one), shape(same), "{kind}");
            assert_ne!(shape(one), shape(other), "{kind}");
        }
        assert_eq!(shape(Kind::Script, "a"), None);
    }
}
