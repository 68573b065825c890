//! Text with `{{ words }}` in it, parsed once and rendered for each machine.
//!
//! Strict: a word that nobody fills is an error when the text is parsed, or for `metadata` when it is
//! first filled in with a group's, at load; not when a machine asks.
//! Shell and iPXE expansions (`$x`, `${x}`) pass through untouched.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use crate::machine::{Mac, Machine, Uuid};

/// The words that a template may use.
const WORDS: [&str; 5] = ["base_url", "ip", "mac", "metadata", "uuid"];

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

impl Words {
    /// Those of a made-up machine, to find at load what would fail at a request.
    #[expect(clippy::expect_used, reason = "a constant address of one machine")]
    pub fn specimen() -> Self {
        let mac = Mac::new([0x52, 0x54, 0, 0, 0, 1]).expect("one machine can own this address");
        let uuid: Option<Uuid> = "11223344-5566-7788-99aa-bbccddeeff00".parse().ok();
        Self {
            base_url: "http://192.0.2.1".to_owned(),
            ip: Ipv4Addr::new(192, 0, 2, 2),
            machine: Machine::heard(mac, uuid, None),
        }
    }
}

/// What an operator wrote for the machines of a group: `{{ metadata.x.y }}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metadata(Value);

impl Metadata {
    /// A profile's, with what its group says otherwise, key by key in tables of both.
    pub fn of(profile: &toml::Table, group: &toml::Table) -> Self {
        Self(table(&merged(profile, group)))
    }

    /// Whether `metadata.x.y` is there.
    fn holds(&self, word: &str) -> bool {
        let mut path = word.split('.').skip(1);
        path.try_fold(self.0.clone(), |value, key| {
            value.get_attr(key).ok().filter(|value| !value.is_undefined())
        })
        .is_some()
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self::of(&toml::Table::new(), &toml::Table::new())
    }
}

fn merged(below: &toml::Table, above: &toml::Table) -> toml::Table {
    let mut merged = below.clone();
    for (key, value) in above {
        let value = match (below.get(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => {
                toml::Value::Table(self::merged(below, above))
            }
            _ => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    merged
}

fn table(table: &toml::Table) -> Value {
    let fields: BTreeMap<String, Value> =
        table.iter().map(|(key, value)| (key.clone(), plain(value))).collect();
    Value::from(fields)
}

fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::Array(values) => Value::from(values.iter().map(plain).collect::<Vec<_>>()),
        toml::Value::Boolean(value) => Value::from(*value),
        toml::Value::Datetime(value) => Value::from(value.to_string()),
        toml::Value::Float(value) => Value::from(*value),
        toml::Value::Integer(value) => Value::from(*value),
        toml::Value::String(value) => Value::from(value.as_str()),
        toml::Value::Table(value) => table(value),
    }
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
        // What a group's metadata holds is known only with that group.
        if !words.iter().any(|word| word == "metadata") {
            template.render(&Words::specimen(), &Metadata::default())?;
        }
        Ok(template)
    }

    /// As it was written.
    pub fn source(&self) -> String {
        self.text().source().to_owned()
    }

    /// Fills in the words.
    pub fn render(&self, words: &Words, metadata: &Metadata) -> Result<String, TemplateError> {
        let mut context = BTreeMap::from([
            ("base_url", Value::from(words.base_url.as_str())),
            ("ip", Value::from(words.ip.to_string())),
            ("mac", Value::from(words.machine.mac.to_string())),
            ("metadata", metadata.0.clone()),
        ]);
        match words.machine.uuid {
            Some(uuid) => {
                context.insert("uuid", Value::from(uuid.to_string()));
            }
            None if self.needs_uuid => return Err(TemplateError::NoUuid),
            None => {}
        }
        self.text().render(Value::from(context)).map_err(|error| self.explain(&error, metadata))
    }

    fn explain(&self, error: &minijinja::Error, metadata: &Metadata) -> TemplateError {
        if error.kind() == ErrorKind::UndefinedError {
            let mut words: Vec<String> =
                self.text().undeclared_variables(true).into_iter().collect();
            words.sort();
            let missing = |word: &String| word.starts_with("metadata.") && !metadata.holds(word);
            if let Some(word) = words.into_iter().find(missing) {
                return TemplateError::UnknownMetadata(word);
            }
        }
        TemplateError::malformed(error)
    }

    #[expect(clippy::expect_used, reason = "added in parse, never removed")]
    fn text(&self) -> minijinja::Template<'_, '_> {
        self.environment.get_template(NAME).expect("the environment holds its one template")
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
    /// The text uses a word that neither profile nor group has in its metadata.
    UnknownMetadata(String),
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
            Self::UnknownMetadata(word) => {
                write!(f, "has \"{word}\", and neither the group nor the profile has it; add it")
            }
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
        Template::parse(source)?.render(&Words::specimen(), &Metadata::default())
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
            "has the unknown word \"base_ulr\"; the words are base_url, ip, mac, metadata, uuid"
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
        let mut words = Words::specimen();
        words.machine.uuid = None;
        let needs = Template::parse("u={{ uuid }}").unwrap();
        assert_eq!(needs.render(&words, &Metadata::default()), Err(TemplateError::NoUuid));
        let does_not = Template::parse("m={{ mac }}").unwrap();
        assert!(does_not.render(&words, &Metadata::default()).is_ok());
    }

    #[test]
    fn a_groups_metadata_wins_key_by_key() {
        let profile =
            "a = 1\nt.x = \"p\"\nt.y = [true, 1.5]\nl = [1]\nd = 2016-10-01".parse().unwrap();
        let group = "t.x = \"g\"\nt.z.deep = \"new\"\nl = [2, 3]".parse().unwrap();
        let metadata = Metadata::of(&profile, &group);
        let source = "{{ metadata.a }} {{ metadata.t.x }} {{ metadata.t.y[1] }} {{ metadata.t.z.deep }} \
                      {{ metadata.l[1] }} {{ metadata.d }} {% if metadata.q is defined %}q{% endif %}";
        let template = Template::parse(source).unwrap();
        let rendered = template.render(&Words::specimen(), &metadata).unwrap();
        assert_eq!(rendered, "1 g 1.5 new 3 2016-10-01 ");
    }

    #[test]
    fn metadata_that_is_nowhere_is_named() {
        let metadata = Metadata::of(&"a.b = 1".parse().unwrap(), &toml::Table::new());
        for (source, word) in [
            ("{{ metadata.a.b }}{{ metadata.a.c }}", "metadata.a.c"),
            ("{{ metadata.x.y }}", "metadata.x.y"),
            ("{{ metadata.z }}", "metadata.z"),
        ] {
            let error = Template::parse(source).unwrap().render(&Words::specimen(), &metadata);
            assert_eq!(error, Err(TemplateError::UnknownMetadata(word.to_owned())), "{source}");
        }
    }
}
