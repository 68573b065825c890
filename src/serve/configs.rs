//! Reads the texts that machines are given, and tries each with everyone who could get it.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    net::Ipv4Addr,
};

use super::{
    lines,
    store::{Content, OpenError, Store},
};
use crate::{
    catalog::Specimen,
    check::{Kind, Severity},
    config::{Access, Config, Mention, Place, Problem, Reader},
    machine::Machine,
    path::{RepositoryPath, UrlPath},
    render::{ConfigText, Configs, Finding, Role, rehearse},
    template::{Words, base_url},
    token::Token,
};

/// A text that is larger is none that a person wrote, in bytes.
pub(super) const LARGEST: u64 = 1 << 20;
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

/// Reads every text, and tries it with the machines that the config names and one for each group
/// that names none.
pub(super) fn load(config: &Config, store: &Store) -> Loaded {
    let roles = roles(config);
    let mut loader = Loader { config, store, roles, loaded: Loaded::default() };
    loader.templates();
    loader.named_by_args();
    loader.loaded
}

/// Tries every text and line with machines that have been here before. What they tell of themselves
/// must not keep a config from being loaded, so what is found are warnings.
pub(super) fn try_with(config: &Config, configs: &Configs, known: &[Machine]) -> Vec<Problem> {
    let guest = |machine: &Machine| {
        let group = config.catalog.select(machine)?;
        let (name, words) = (machine.mac.to_string(), words(config, machine.clone()));
        Some(Role { group, name, words, is_guest: true })
    };
    let guests: Vec<Role<'_>> = known.iter().filter_map(guest).collect();
    let texts = configs.iter().flat_map(|(path, text)| findings(config, path, text, &guests));
    let mut found: Vec<Problem> = texts.map(|it| it.1).collect();
    found.extend(lines::look(config, &guests));
    found
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
                    let name = self.name(&declared.file);
                    self.loaded.problems.push(match error {
                        Unread::NotUtf8(line) => not_utf8(&name, line),
                        Unread::Open(_) | Unread::TooLarge => {
                            let text = format!("{name}: {error}");
                            Problem { place: declared.place.clone(), text }
                        }
                    });
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
                    self.miss(mention, format!("{name}: {error}"));
                    ConfigText::missing(name, error)
                }
            };
            self.loaded.configs.add(path, file.as_ref(), text);
        }
    }

    fn try_out(&mut self, path: &UrlPath, text: &ConfigText) {
        for (severity, problem) in findings(self.config, path, text, &self.roles) {
            match severity {
                Severity::Error => self.loaded.problems.push(problem),
                Severity::Warning => self.loaded.warnings.push(problem),
            }
        }
    }

    /// What installs a machine must be there; a machine in RAM may wait for it.
    fn miss(&mut self, mention: &Mention, said: String) {
        let names = |other: &&Mention| other.path == mention.path;
        let installs = self.config.mentions.iter().filter(names).any(|mention| {
            self.config
                .catalog
                .groups()
                .iter()
                .any(|group| group.name == mention.group && group.profile.installs())
        });
        let place = mention.place.clone();
        if installs {
            self.loaded.problems.push(Problem { place, text: said });
        } else {
            let text = format!("{said}; machines that ask for it get 503");
            self.loaded.warnings.push(Problem { place, text });
        }
    }

    fn reader(&self, path: &UrlPath) -> Option<Reader> {
        self.config.mentions.iter().find(|mention| mention.path == *path)?.reader
    }

    fn name(&self, file: &RepositoryPath) -> String {
        format!("{}{file}", self.config.repository.path.display())
    }
}

/// What is wrong with a text for those of these whom it is meant for.
fn findings(
    config: &Config,
    path: &UrlPath,
    text: &ConfigText,
    roles: &[Role<'_>],
) -> Vec<(Severity, Problem)> {
    let groups = config.catalog.groups().iter().map(|group| group.name.as_str());
    let meant: BTreeSet<&str> = groups.filter(|group| is_meant_for(config, path, group)).collect();
    let roles = roles.iter().filter(|role| meant.contains(role.group.name.as_str()));
    let problem = |finding: Finding| {
        let place = Place::of_file(&text.name, finding.line);
        (finding.severity, Problem { place, text: finding.text })
    };
    rehearse(text, roles).into_iter().map(problem).collect()
}

/// The machines that a config names, and one for each group that names none.
pub(super) fn roles(config: &Config) -> Vec<Role<'_>> {
    let mut roles = Vec::new();
    for group in config.catalog.groups() {
        for Specimen { machine, name } in group.selector.specimens() {
            roles.push(Role { group, name, words: words(config, machine), is_guest: false });
        }
    }
    roles
}

fn words(config: &Config, machine: Machine) -> Words {
    Words {
        base_url: base_url(OURS, config.http_port),
        ip: THEIRS,
        machine,
        token: match config.config_access {
            Access::Address => None,
            Access::Token => Some(Token::new([0; 16])),
        },
    }
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
    decode(bytes).map_err(Unread::NotUtf8)
}

/// The text; else the line that has other bytes.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, usize> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count()
    })
}

pub(super) fn not_utf8(name: &str, line: usize) -> Problem {
    let text = "is not UTF-8; save the file as UTF-8".to_owned();
    Problem { place: Place::of_file(name, Some(line)), text }
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
            Self::Open(error) => write!(f, "{error}; put it there, or name another file"),
            Self::TooLarge => f.write_str("is larger than 1 MiB, which no config is"),
        }
    }
}
