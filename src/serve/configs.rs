//! Reads the texts that machines are given, and tries each with everyone who could get it.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    net::Ipv4Addr,
};

use super::store::{Content, OpenError, Store};
use crate::{
    check::{Kind, Severity},
    config::{Access, Config, Mention, Place, Problem, Reader},
    machine::Machine,
    path::{RepositoryPath, UrlPath},
    render::{ConfigText, Configs, Role, rehearse},
    template::{Words, base_url},
    token::Token,
};

/// A text that is larger is none that a person wrote, in bytes.
const LARGEST: u64 = 1 << 20;
/// Stand in for what is known only when a machine asks (RFC 5737, documentation only).
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// What became of the texts.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) configs: Configs,
    /// What keeps the config from being loaded.
    pub(super) problems: Vec<Problem>,
    /// What does not.
    pub(super) warnings: Vec<Problem>,
}

/// Reads and tries every text; `known` are the machines that have been here before.
pub(super) fn load(config: &Config, store: &Store, known: &[Machine]) -> Loaded {
    let mut loader =
        Loader { config, store, roles: roles(config, known), loaded: Loaded::default() };
    loader.templates();
    loader.named_by_args();
    loader.loaded
}

/// Whether a text is meant for the machines of a group: its arguments name it or its folder.
pub fn is_meant_for(config: &Config, path: &UrlPath, group: &str) -> bool {
    let names = |mention: &Mention| path.is_beside(&mention.path);
    let by_group = |mention: &&Mention| mention.group == group;
    config.mentions.iter().filter(by_group).any(names) || !config.mentions.iter().any(names)
}

struct Loader<'a> {
    config: &'a Config,
    store: &'a Store,
    roles: Vec<Role<'a>>,
    loaded: Loaded,
}

impl Loader<'_> {
    fn templates(&mut self) {
        for declared in &self.config.templates {
            let text = match read(self.store, &declared.file) {
                Ok(text) => text,
                Err(error) => {
                    let text = format!("{}: {error}", self.name(&declared.file));
                    self.loaded.problems.push(Problem { place: declared.place.clone(), text });
                    continue;
                }
            };
            let reader = self.reader(&declared.path);
            let kind = declared.kind.unwrap_or_else(|| kind(&declared.file, &text, reader));
            let name = self.name(&declared.file);
            match ConfigText::template(name.clone(), kind, &text) {
                Ok(template) => {
                    self.try_out(&declared.path, &template);
                    let configs = &mut self.loaded.configs;
                    configs.add(declared.path.clone(), Some(&declared.file), template);
                }
                Err(error) => {
                    let place = Place::of_file(&name, error.line(&text));
                    let text = error.without_line();
                    self.loaded.problems.push(Problem { place, text });
                }
            }
        }
    }

    /// Files that arguments name as configs, and that are no templates.
    fn named_by_args(&mut self) {
        let mut done = BTreeSet::new();
        for mention in &self.config.mentions {
            let Some(reader) = mention.reader else { continue };
            let is_template = self.config.templates.iter().any(|template| {
                template.path == mention.path || UrlPath::from(&template.file) == mention.path
            });
            if is_template || !done.insert(&mention.path) {
                continue;
            }
            let path = mention.path.clone();
            let file = path.file();
            let read = match &file {
                Some(file) => read(self.store, file).map_err(|error| error.to_string()),
                None => Err(format!(
                    "is a folder, and no template is declared for it; add a [[template]] with path \
                     = \"{path}\""
                )),
            };
            let name = file.as_ref().map_or_else(|| path.to_string(), |file| self.name(file));
            let text = match (read, &file) {
                (Ok(text), Some(file)) => {
                    let kind = kind(file, &text, Some(reader));
                    let text = ConfigText::plain(name, kind, text);
                    self.try_out(&path, &text);
                    text
                }
                (read, _) => {
                    let error = read.err().unwrap_or_default();
                    let text = format!("{name}: {error}; machines that ask for it get 503");
                    self.loaded.warnings.push(Problem { place: mention.place.clone(), text });
                    ConfigText::missing(name, error)
                }
            };
            self.loaded.configs.add(path, file.as_ref(), text);
        }
    }

    fn try_out(&mut self, path: &UrlPath, text: &ConfigText) {
        let meant: BTreeSet<&str> = self
            .config
            .catalog
            .groups()
            .iter()
            .map(|group| group.name.as_str())
            .filter(|group| is_meant_for(self.config, path, group))
            .collect();
        let roles = self.roles.iter().filter(|role| meant.contains(role.group.name.as_str()));
        for finding in rehearse(text, roles) {
            let place = Place::of_file(&text.name, finding.line);
            let problem = Problem { place, text: finding.text };
            match finding.severity {
                Severity::Error => self.loaded.problems.push(problem),
                Severity::Warning => self.loaded.warnings.push(problem),
            }
        }
    }

    fn reader(&self, path: &UrlPath) -> Option<Reader> {
        self.config.mentions.iter().find(|mention| mention.path == *path)?.reader
    }

    fn name(&self, file: &RepositoryPath) -> String {
        format!("{}{file}", self.config.repository.path.display())
    }
}

/// Everyone who could ask: the machines that the config names, one for each group that names none,
/// and the machines that were here before.
fn roles<'a>(config: &'a Config, known: &[Machine]) -> Vec<Role<'a>> {
    let words = |machine: Machine| Words {
        base_url: base_url(OURS, config.http_port),
        ip: THEIRS,
        machine,
        token: match config.config_access {
            Access::Address => None,
            Access::Token => Some(Token::new([0; 16])),
        },
    };
    let mut roles = Vec::new();
    for group in config.catalog.groups() {
        for specimen in group.selector.specimens() {
            let (name, words) = (specimen.name, words(specimen.machine));
            roles.push(Role { group, name, words, is_guest: false });
        }
    }
    for machine in known {
        if let Some(group) = config.catalog.select(machine) {
            let (name, words) = (machine.mac.to_string(), words(machine.clone()));
            roles.push(Role { group, name, words, is_guest: true });
        }
    }
    roles
}

fn kind(file: &RepositoryPath, text: &str, reader: Option<Reader>) -> Kind {
    let looks = Kind::of(file.as_bytes(), text.as_bytes());
    reader.map_or(looks, |reader| reader.kind(looks))
}

fn read(store: &Store, path: &RepositoryPath) -> Result<String, Unread> {
    let opened = store.read(path).map_err(Unread::Open)?;
    if opened.stamp.len > LARGEST {
        return Err(Unread::TooLarge);
    }
    let bytes = match opened.content {
        Content::Embedded(bytes) => bytes.to_vec(),
        Content::File(file) => whole(file).map_err(|error| Unread::Open(OpenError::Io(error)))?,
    };
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        Unread::NotUtf8(1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count())
    })
}

fn whole(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // It may have grown since it was opened.
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why a file is no text.
#[derive(Debug)]
enum Unread {
    /// Something else than UTF-8 in this line.
    NotUtf8(usize),
    Open(OpenError),
    TooLarge,
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotUtf8(line) => {
                write!(f, "is not UTF-8: line {line} has other bytes; save it as UTF-8")
            }
            Self::Open(error) => error.fmt(f),
            Self::TooLarge => f.write_str("is larger than 1 MiB, which no config is"),
        }
    }
}
