//! Text with `{{ words }}` in it, parsed once and rendered for each machine.
//!
//! Strict: a word that nobody fills is an error when the text is parsed, or for `metadata` when it is
//! first filled in with a group's, at load; not when a machine asks.
//! Shell and iPXE expansions (`$x`, `${x}`) pass through untouched. What a machine told of itself
//! never has control characters here, so it cannot begin a line.

mod error;
mod filters;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use minijinja::{
    Environment, UndefinedBehavior, Value, escape_formatter, syntax::SyntaxConfig, value::ValueKind,
};

use crate::{
    machine::{Labels, Mac, Machine, Uuid},
    printable::is_hidden,
    token::Token,
};
pub use error::TemplateError;

/// The words of a kernel argument.
const ARG_WORDS: [&str; 5] = ["base_url", "ip", "mac", "metadata", "uuid"];
/// The words of a path.
const PATH_WORDS: [&str; 1] = ["metadata"];
/// The words of a file. More than those of an argument, which what a machine tells would split.
const FILE_WORDS: [&str; 9] =
    ["base_url", "group", "ip", "label", "mac", "metadata", "profile", "serial", "uuid"];
/// Those that stand for something else on each machine of a group.
const MACHINE_WORDS: [&str; 5] = ["ip", "label", "mac", "serial", "uuid"];

/// What the words stand for, for one machine on one of our interfaces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Words {
    /// `http://ADDRESS[:PORT]` of the interface the machine is on.
    pub base_url: String,
    /// The address it took.
    pub ip: Ipv4Addr,
    /// The machine.
    pub machine: Machine,
    /// What it is known by where addresses are not believed: part of `base_url` then.
    pub token: Option<Token>,
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
            token: None,
        }
    }

    /// What `{{ base_url }}` becomes.
    pub fn url(&self) -> String {
        match self.token {
            Some(token) => format!("{}/~{token}", self.base_url),
            None => self.base_url.clone(),
        }
    }
}

/// What a machine boots, as far as a file may name it.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The name of its group.
    pub group: &'a str,
    /// The name of its profile.
    pub profile: &'a str,
    /// The group's, the profile's own included.
    pub metadata: &'a Metadata,
}

/// What an operator wrote for the machines of a group: `{{ metadata.x.y }}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metadata(Value);

impl Metadata {
    /// A profile's, with what its group says otherwise, key by key in tables of both.
    pub fn of(profile: &toml::Table, group: &toml::Table) -> Self {
        Self(table(&merged(profile, group)))
    }

    /// The same, with what is one machine's own over both.
    pub fn of_machine(profile: &toml::Table, group: &toml::Table, own: &toml::Table) -> Self {
        Self(table(&merged(&merged(profile, group), own)))
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
    /// The words it uses, tables by their names.
    words: BTreeSet<String>,
    /// The same with their keys: `metadata.x.y`.
    paths: BTreeSet<String>,
}

/// The one template that an environment holds.
const NAME: &str = "text";

impl Template {
    /// Reads a kernel argument, and renders it once for a made-up machine, so that what fails,
    /// fails now.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let template = Self::read(source, Environment::new(), &ARG_WORDS)?;
        // What a group's metadata holds is known only with that group.
        if !template.words.contains("metadata") {
            template.render(&Words::specimen(), &Metadata::default())?;
        }
        Ok(template)
    }

    /// Reads the path of a kernel or RAM disk. Its words are the operator's own: what a machine tells
    /// may be anything.
    pub fn parse_path(source: &str) -> Result<Self, TemplateError> {
        Self::read(source, Environment::new(), &PATH_WORDS)
    }

    /// Reads a file. Its bytes stay what they are, the last line's end among them; `{#` is not the
    /// start of a comment, as it is part of shell's `${#x}`.
    pub fn parse_file(source: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_syntax(file_syntax());
        environment.add_filter("json", |value: &Value| filters::json(value));
        environment.add_filter("sh", |value: &Value| filters::sh(value));
        environment.add_filter("url", |value: &Value| filters::url(value));
        environment.add_filter("xml", |value: &Value| filters::xml(value));
        environment.add_filter("yaml", |value: &Value| filters::json(value));
        Self::read(source, environment, &FILE_WORDS).map_err(TemplateError::of_a_file)
    }

    fn read(
        source: &str,
        mut environment: Environment<'static>,
        known: &'static [&'static str],
    ) -> Result<Self, TemplateError> {
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("lower", |text: &str| text.to_lowercase());
        environment
            .add_filter("replace", |text: &str, from: &str, to: &str| text.replace(from, to));
        environment.add_filter("split", |text: &str, by: &str| {
            text.split(by).map(str::to_owned).collect::<Vec<String>>()
        });
        // The engine would write Python's True.
        environment.set_formatter(|out, state, value| match value.kind() == ValueKind::Bool {
            true => Ok(write!(out, "{}", value.is_true())?),
            false => escape_formatter(out, state, value),
        });
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| TemplateError::malformed(&error))?;
        let mut template = Self { environment, words: BTreeSet::new(), paths: BTreeSet::new() };
        let text = template.text();
        let (words, paths) = (text.undeclared_variables(false), text.undeclared_variables(true));
        (template.words, template.paths) =
            (words.into_iter().collect(), paths.into_iter().collect());
        match template.words.iter().find(|word| !known.contains(&word.as_str())) {
            Some(word) => Err(TemplateError::UnknownWord { word: word.clone(), known }),
            None => Ok(template),
        }
    }

    /// As it was written.
    pub fn source(&self) -> String {
        self.text().source().to_owned()
    }

    /// Whether it becomes the same for every machine that asks at one address of ours.
    pub fn is_same_for_all(&self) -> bool {
        self.words.iter().all(|word| word == "base_url")
    }

    /// Whether it becomes the same for every machine of a group.
    pub fn is_same_for_group(&self) -> bool {
        !self.words.iter().any(|word| MACHINE_WORDS.contains(&word.as_str()))
    }

    /// Whether it has the machine's serial number.
    pub fn tells_serial(&self) -> bool {
        self.words.contains("serial")
    }

    /// The names that it has for labels: `rack` of `{{ label.rack }}`.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().filter_map(|path| path.strip_prefix("label."))
    }

    /// Fills in the words of a kernel argument.
    pub fn render(&self, words: &Words, metadata: &Metadata) -> Result<String, TemplateError> {
        self.fill(words, metadata, context(words, metadata))
    }

    /// The same, or nothing where it becomes empty: all of it, or the value of `key={{ word }}`.
    pub fn render_arg(
        &self,
        words: &Words,
        metadata: &Metadata,
    ) -> Result<Option<String>, TemplateError> {
        let text = self.render(words, metadata)?;
        let source = self.source();
        let lost_its_value = text.ends_with('=') && source.trim_end().ends_with("}}");
        let is_gone = text.trim().is_empty() || (lost_its_value && !text.contains(' '));
        Ok((!is_gone).then_some(text))
    }

    /// Fills in the words of a file.
    pub fn render_file(
        &self,
        words: &Words,
        setting: &Setting<'_>,
    ) -> Result<String, TemplateError> {
        let mut context = context(words, setting.metadata);
        context.insert("group", Value::from(setting.group));
        context.insert("profile", Value::from(setting.profile));
        let labels: BTreeMap<&str, Value> = words
            .machine
            .labels
            .iter()
            .flat_map(Labels::iter)
            .filter(|(name, _)| !name.contains(is_hidden))
            .map(|(name, value)| (name, Value::from(told(value))))
            .collect();
        if let Some(serial) = labels.get("serial") {
            context.insert("serial", serial.clone());
        }
        context.insert("label", Value::from(labels));
        self.fill(words, setting.metadata, context).map_err(TemplateError::of_a_file)
    }

    fn fill(
        &self,
        words: &Words,
        metadata: &Metadata,
        context: BTreeMap<&str, Value>,
    ) -> Result<String, TemplateError> {
        let missing = |path: &str| match path.split_once('.') {
            Some(("label", name)) => {
                !words.machine.labels.as_ref().is_some_and(|labels| labels.contains_key(name))
            }
            Some(("metadata", _)) => !metadata.holds(path),
            _ => !context.contains_key(path),
        };
        self.text().render(Value::from(context.clone())).map_err(|error| {
            let paths = self.paths.iter().map(String::as_str).filter(|path| missing(path));
            TemplateError::of_render(&error, paths, self.text().source())
        })
    }

    #[expect(clippy::expect_used, reason = "added in read, never removed")]
    fn text(&self) -> minijinja::Template<'_, '_> {
        self.environment.get_template(NAME).expect("the environment holds its one template")
    }
}

#[expect(clippy::expect_used, reason = "constants, which a test builds")]
fn file_syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        // Something must begin a comment; nobody writes this.
        .comment_delimiters("{#\u{1}", "\u{1}#}")
        .keep_trailing_newline(true)
        .build()
        .expect("six different delimiters")
}

/// The words that both have.
fn context(words: &Words, metadata: &Metadata) -> BTreeMap<&'static str, Value> {
    let mut context = BTreeMap::from([
        ("base_url", Value::from(words.url())),
        ("ip", Value::from(words.ip.to_string())),
        ("mac", Value::from(words.machine.mac.to_string())),
        ("metadata", metadata.0.clone()),
    ]);
    if let Some(uuid) = words.machine.uuid {
        context.insert("uuid", Value::from(uuid.to_string()));
    }
    context
}

/// What a machine tells, without what could end a line in any kind of text.
fn told(value: &str) -> String {
    value.chars().filter(|&c| !is_hidden(c)).collect()
}

#[cfg(test)]
mod tests;
