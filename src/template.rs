//! Text with `{{ words }}` in it, parsed once and rendered for each machine.
//!
//! Strict: a word that nobody fills is an error when the text is parsed, not when a machine asks.
//! Shell and iPXE expansions (`$x`, `${x}`) pass through untouched.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use minijinja::{Environment, UndefinedBehavior};

use crate::machine::{Mac, Machine, Uuid};

/// The words that a template may use.
const WORDS: [&str; 4] = ["base_url", "ip", "mac", "uuid"];

/// What the words stand for, for one machine on one of our interfaces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Words {
    /// `http://ADDRESS[:PORT]` of the interface the machine is on.
    pub base_url: String,
    /// The address it took.
    pub ip: Ipv4Addr,
    /// The machine.
    pub machine: Machine,
}

/// Where a machine finds us by HTTP: `http://ADDRESS[:PORT]`.
pub fn base_url(address: Ipv4Addr, port: u16) -> String {
    match port {
        80 => format!("http://{address}"),
        port => format!("http://{address}:{port}"),
    }
}

/// A text that is known to be well-formed and to use known words only.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Environment<'static>,
    needs_uuid: bool,
}

/// The one template that an environment holds.
const NAME: &str = "text";

impl Template {
    /// Reads a text, and renders it once for a made-up machine, so that what fails, fails now.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| TemplateError::malformed(&error))?;
        let mut template = Self { environment, needs_uuid: false };
        let mut words: Vec<String> =
            template.text().undeclared_variables(false).into_iter().collect();
        words.sort();
        if let Some(word) = words.iter().find(|word| !WORDS.contains(&word.as_str())) {
            return Err(TemplateError::UnknownWord(word.clone()));
        }
        template.needs_uuid = words.iter().any(|word| word == "uuid");
        template.sample()?;
        Ok(template)
    }

    /// The text as a made-up machine gets it.
    pub fn sample(&self) -> Result<String, TemplateError> {
        self.render(&specimen())
    }

    /// Fills in the words.
    pub fn render(&self, words: &Words) -> Result<String, TemplateError> {
        let mut context = BTreeMap::from([
            ("base_url", words.base_url.clone()),
            ("ip", words.ip.to_string()),
            ("mac", words.machine.mac.to_string()),
        ]);
        match words.machine.uuid {
            Some(uuid) => {
                context.insert("uuid", uuid.to_string());
            }
            None if self.needs_uuid => return Err(TemplateError::NoUuid),
            None => {}
        }
        self.text()
            .render(minijinja::Value::from(context))
            .map_err(|error| TemplateError::malformed(&error))
    }

    #[expect(clippy::expect_used, reason = "added in parse, never removed")]
    fn text(&self) -> minijinja::Template<'_, '_> {
        self.environment.get_template(NAME).expect("the environment holds its one template")
    }
}

#[expect(clippy::expect_used, reason = "a constant address of one machine")]
fn specimen() -> Words {
    let mac = Mac::new([0x52, 0x54, 0, 0, 0, 1]).expect("one machine can own this address");
    let uuid: Option<Uuid> = "11223344-5566-7788-99aa-bbccddeeff00".parse().ok();
    Words {
        base_url: "http://192.0.2.1".to_owned(),
        ip: Ipv4Addr::new(192, 0, 2, 2),
        machine: Machine { mac, uuid },
    }
}

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
    /// The text uses the UUID of a machine whose firmware sends none.
    NoUuid,
    /// The text uses a word that is none of ours.
    UnknownWord(String),
}

impl TemplateError {
    fn malformed(error: &minijinja::Error) -> Self {
        let detail = match error.detail() {
            Some(detail) => detail.to_owned(),
            None => error.kind().to_string(),
        };
        Self::Malformed { line: error.line().unwrap_or(1), detail }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { line: 1, detail } => write!(f, "is no template: {detail}"),
            Self::Malformed { line, detail } => {
                write!(f, "is no template: in its line {line}: {detail}")
            }
            Self::NoUuid => f.write_str("needs the machine's UUID, and its firmware sends none"),
            Self::UnknownWord(word) => {
                write!(f, "has the unknown word \"{word}\"; the words are {}", WORDS.join(", "))
            }
        }
    }
}

impl std::error::Error for TemplateError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(source: &str) -> Result<String, TemplateError> {
        Template::parse(source)?.render(&specimen())
    }

    #[test]
    fn words_are_filled_in_and_shell_is_left_alone() {
        let source =
            "{{ base_url }}/i?mac={{ mac }}&uuid={{uuid}}&ip={{ ip }} $private_ipv4 ${mac} #{x";
        assert_eq!(
            rendered(source).unwrap(),
            "http://192.0.2.1/i?mac=52:54:00:00:00:01&uuid=11223344-5566-7788-99aa-bbccddeeff00\
             &ip=192.0.2.2 $private_ipv4 ${mac} #{x"
        );
    }

    #[test]
    fn an_unknown_word_is_named_with_those_there_are() {
        let error = Template::parse("url={{ base_ulr }}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "has the unknown word \"base_ulr\"; the words are base_url, ip, mac, uuid"
        );
    }

    #[test]
    fn what_would_fail_at_a_request_fails_at_parse() {
        for source in ["{{ mac", "{{ mac | shout }}", "{% if %}", "{{ mac() }}", "{{ 1 / 0 }}"] {
            let error = Template::parse(source).unwrap_err();
            assert!(matches!(error, TemplateError::Malformed { line: 1, .. }), "{source}: {error}");
        }
    }

    #[test]
    fn a_machine_without_a_uuid_is_told_so_only_where_it_matters() {
        let mut words = specimen();
        words.machine.uuid = None;
        let needs = Template::parse("u={{ uuid }}").unwrap();
        assert_eq!(needs.render(&words), Err(TemplateError::NoUuid));
        let does_not = Template::parse("m={{ mac }}").unwrap();
        assert!(does_not.render(&words).is_ok());
    }
}
