//! Reads the texts that machines are given, and tries each with everyone who could get it.

use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    io::{self, Read as _},
    net::Ipv4Addr,
    path::Path,
};

use super::{
    lines, shell,
    store::{Content, OpenError, Store},
};
use crate::{
    catalog::{Group, Specimen},
    check::{GZIP, Kind, Severity},
    config::{Access, Config, Declared, Mention, Place, Problem, Reader, has_coreos_cloudinit},
    machine::Machine,
    path::{RepositoryPath, UrlPath},
    render::{ConfigText, Configs, Finding, Origin, Role, rehearse},
    template::{Words, base_url},
    token::Token,
};

/// A file that is larger is no config, in bytes; it would be held in memory.
pub(super) const LARGEST: u64 = 16 << 20;
/// The same of one whose words are filled in for each machine that asks.
const LARGEST_TEMPLATE: usize = 1 << 20;
/// Scripts that bash is asked about for one text: those of more groups are alike.
const SHELLS: usize = 4;
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
            let name = self.name(&declared.file);
            let text = match read(self.store, &declared.file) {
                Ok(bytes) => self.template(declared, &name, bytes),
                Err(error) => {
                    let text = format!("{name}: {error}");
                    Err(Problem { place: declared.place.clone(), text })
                }
            };
            match text {
                Ok(text) => {
                    self.try_out(&declared.path, &text);
                    self.loaded.configs.add(declared.path.clone(), Some(&declared.file), text);
                }
                Err(problem) => self.loaded.problems.push(problem),
            }
        }
    }

    /// A declared text. What is no text has no words, and is sent as it is.
    fn template(
        &self,
        declared: &Declared,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<ConfigText, Problem> {
        let kind = match declared.kind {
            // coreos-cloudinit takes no script without #!.
            Some(Kind::Script)
                if !bytes.starts_with(b"#!")
                    && self.config.mentions.iter().any(|mention| {
                        mention.path == declared.path
                            && mention.reader == Some(Reader::CoreosCloudinit)
                    }) =>
            {
                (Kind::CloudConfig, Origin::Said)
            }
            Some(kind) => (kind, Origin::Said),
            None => self.kind(&declared.path, &declared.file, &bytes),
        };
        let has_words = |bytes: &[u8]| bytes.windows(2).any(|two| two == b"{{" || two == b"{%");
        let is_packed = bytes.starts_with(GZIP);
        match decode(bytes) {
            Err((bytes, _)) if is_packed || !has_words(&bytes) => {
                Ok(ConfigText::plain(name.to_owned(), kind, bytes))
            }
            Err((_, line)) => Err(not_utf8(name, line)),
            Ok(text) if text.len() > LARGEST_TEMPLATE && has_words(text.as_bytes()) => {
                let text = format!("{name}: is larger than 1 MiB, which no template is");
                Err(Problem { place: declared.place.clone(), text })
            }
            Ok(text) if text.len() > LARGEST_TEMPLATE => {
                Ok(ConfigText::plain(name.to_owned(), kind, text.into_bytes()))
            }
            Ok(text) => ConfigText::template(name.to_owned(), kind, &text).map_err(|error| {
                let place = Place::of_file(name, error.line(&text));
                Problem { place, text: error.without_line() }
            }),
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
                Some(file) => read(self.store, file).map_err(|error| {
                    let hint = match reader == Reader::MetaData {
                        true => "; cloud-init takes no seed without it, an empty file will do",
                        false => "",
                    };
                    format!("{error}{hint}")
                }),
                None => Err(format!(
                    "is a folder, and no template is declared for it; add a [[template]] with path \
                     = \"{path}\""
                )),
            };
            let name = file.as_ref().map_or_else(|| path.to_string(), |file| self.name(file));
            let text = match (read, &file) {
                (Ok(bytes), Some(file)) => {
                    let text = ConfigText::plain(name, self.kind(&path, file, &bytes), bytes);
                    self.try_out(&path, &text);
                    text
                }
                (read, _) => {
                    let error = read.err().unwrap_or_default();
                    let text = format!("{name}: {error}");
                    let problem = Problem { place: mention.place.clone(), text };
                    // Some versions of cloud-init go on without it.
                    if reader == Reader::MetaData {
                        self.loaded.warnings.push(problem);
                        continue;
                    }
                    self.loaded.problems.push(problem);
                    ConfigText::missing(name, error)
                }
            };
            self.loaded.configs.add(path, file.as_ref(), text);
        }
    }

    /// The kind of a text that the config says nothing of: by the argument that names it, else by the
    /// kernels that it is meant for, else by its looks.
    fn kind(&self, path: &UrlPath, file: &RepositoryPath, bytes: &[u8]) -> (Kind, Origin) {
        let looks = Kind::of(file.as_bytes(), bytes);
        let named = self.config.mentions.iter().find_map(|mention| {
            let reader = mention.reader.filter(|_| mention.path == *path)?;
            let (key, is_strict) = (mention.key.clone(), reader.is_strict());
            // coreos-cloudinit tells a script by its #! alone, whatever the file's name says.
            let is_none = looks == Kind::Script && !bytes.starts_with(b"#!");
            let kind = if is_none && reader == Reader::CoreosCloudinit {
                Kind::CloudConfig
            } else {
                reader.kind(looks)
            };
            Some((kind, Origin::Named { key, is_strict }))
        });
        if let Some(named) = named {
            return named;
        }
        let groups = self.config.catalog.groups().iter();
        let mut profiles = groups
            .filter(|group| is_meant_for(self.config, path, &group.name))
            .map(|group| &group.profile)
            .peekable();
        let first = profiles.peek().map(|profile| profile.name.clone());
        // Where others may read it, too, it is a guess.
        match (looks, first) {
            (Kind::CloudInit, Some(name)) if profiles.all(|it| has_coreos_cloudinit(it)) => {
                (Kind::CloudConfig, Origin::Profile(name))
            }
            _ => (looks, Origin::Looks),
        }
    }

    fn try_out(&mut self, path: &UrlPath, text: &ConfigText) {
        for (severity, problem) in findings(self.config, path, text, &self.roles) {
            match severity {
                Severity::Error => self.loaded.problems.push(problem),
                Severity::Warning => self.loaded.warnings.push(problem),
            }
        }
        self.ask_shell(path, text);
    }

    /// Whether a shell could read a script, as it becomes for one machine of each group.
    fn ask_shell(&mut self, path: &UrlPath, text: &ConfigText) {
        if !matches!(text.kind, Kind::CloudConfig | Kind::Script) {
            return;
        }
        let meant = audience(self.config, path);
        let mut groups = HashSet::new();
        let roles = self.roles.iter().filter(|role| {
            let name = role.group.name.as_str();
            (meant.is_empty() || meant.contains(name)) && groups.insert(name)
        });
        let mut seen = BTreeSet::new();
        for role in roles.take(SHELLS) {
            let Ok(bytes) = text.render(&role.words, role.group) else { continue };
            let Ok(script) = std::str::from_utf8(&bytes) else { continue };
            let is_script = text.kind == Kind::Script
                || text.kind == Kind::CloudConfig && script.starts_with("#!");
            if !is_script || !seen.insert(bytes.clone()) {
                continue;
            }
            let Some(fault) = shell::fault(script) else { continue };
            let is_the_files = text
                .words()
                .is_none_or(|template| template.source().lines().count() == script.lines().count());
            let place = Place::of_file(&text.name, is_the_files.then_some(fault.line));
            let said = format!("bash cannot read it: {}; mend the script", fault.said);
            let problem = Problem { place, text: said };
            if fault.is_certain {
                self.loaded.problems.push(problem);
            } else {
                self.loaded.warnings.push(problem);
            }
            return;
        }
    }

    fn name(&self, file: &RepositoryPath) -> String {
        format!("{}{file}", self.config.repository.path.display())
    }
}

/// The groups as [`is_meant_for`] has them, looked up at once; none stands for all.
fn audience<'c>(config: &'c Config, path: &UrlPath) -> HashSet<&'c str> {
    let names = |mention: &&Mention| path.is_beside(&mention.path);
    config.mentions.iter().filter(names).map(|mention| mention.group.as_str()).collect()
}

/// What is wrong with a text for those of these whom it is meant for.
fn findings(
    config: &Config,
    path: &UrlPath,
    text: &ConfigText,
    roles: &[Role<'_>],
) -> Vec<(Severity, Problem)> {
    let meant = audience(config, path);
    let is_meant = |group: &Group| meant.is_empty() || meant.contains(group.name.as_str());
    let roles = roles.iter().filter(|role| is_meant(role.group));
    let mut is_told = text.origin == Origin::Said;
    let problem = |finding: Finding| {
        let place = Place::of_file(&text.name, finding.line);
        let mut said = finding.text;
        // Once is enough.
        if finding.is_of_kind && !std::mem::replace(&mut is_told, true) {
            said += &format!(
                " (judged as {}: {}; where another tool reads it, write [[template]] path = \
                 \"{path}\", kind = \"…\")",
                text.kind, text.origin
            );
        }
        (finding.severity, Problem { place, text: said })
    };
    rehearse(text, roles).into_iter().map(problem).collect()
}

/// The machines that a config names, and one for each group that names none.
pub(super) fn roles(config: &Config) -> Vec<Role<'_>> {
    let mut roles = Vec::new();
    let role = |group, Specimen { machine, name }| {
        let words = words(config, machine);
        Role { group, name, words, is_guest: false }
    };
    let values = config.catalog.values();
    for group in config.catalog.groups() {
        // One that has values of its own is tried with these.
        let has_own = |specimen: &Specimen| {
            group.selector.names_each() && values.find(&specimen.machine) != Ok(None)
        };
        let specimens = group.selector.specimens().into_iter().filter(|it| !has_own(it));
        roles.extend(specimens.map(|specimen| role(group, specimen)));
    }
    for (known, group) in values.groups() {
        let name = known.names.first();
        let specimen = name.and_then(|name| group.selector.specimen_of(&known.field, name));
        roles.extend(specimen.map(|specimen| role(group, specimen)));
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

fn read(store: &Store, path: &RepositoryPath) -> Result<Vec<u8>, Unread> {
    let opened = store.read(path).map_err(Unread::Open)?;
    if opened.stamp.len > LARGEST {
        return Err(Unread::TooLarge);
    }
    match opened.content {
        Content::Embedded(bytes) => Ok(bytes.to_vec()),
        Content::File(file) => whole(file).map_err(|error| Unread::Open(OpenError::Io(error))),
    }
}

/// The text; else the bytes and the line that has other ones.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, (Vec<u8>, usize)> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count();
        (error.into_bytes(), line)
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

/// Why a file cannot be held.
#[derive(Debug)]
enum Unread {
    Open(OpenError),
    TooLarge,
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(error @ OpenError::Io(_)) => {
                write!(f, "{error}; where it is closed, chmod a+r it and chmod a+x its folders")
            }
            Self::Open(error) => write!(f, "{error}{}", error.remedy(Path::new("/"))),
            Self::TooLarge => f.write_str("is larger than 16 MiB, which no config is"),
        }
    }
}

#[cfg(test)]
mod tests;
