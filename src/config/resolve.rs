//! From what is written to what it means, collecting every problem on the way.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use toml::Spanned;

use super::{
    Config, Folder, NamedFile,
    error::{ConfigError, Problem, line_of},
    shape,
};
use crate::{
    catalog::{Catalog, Group, Profile, Source},
    path::RepositoryPath,
    template::{Metadata, Template, Words},
};

/// Linux's IFNAMSIZ less the NUL.
const LONGEST_INTERFACE: usize = 15;
/// What iPXE can fetch a file by.
const SCHEMES: [&str; 5] = ["http://", "https://", "tftp://", "ftp://", "nfs://"];
/// Words that iPXE takes for operators between commands.
const OPERATORS: [&str; 3] = ["&&", "||", ";"];

pub(super) fn resolve(file: shape::File, text: &str, name: &str) -> Result<Config, ConfigError> {
    let mut desk = Desk { text, problems: Vec::new(), files: Vec::new() };
    let interfaces = desk.interfaces(&file.network.interfaces);
    if *file.http.port.get_ref() == 0 {
        desk.wrong(
            &file.http.port,
            "port 0 cannot be asked for; write the TCP port, 80 by default",
        );
    }
    let repository = desk.folder(file.repository.root);
    let boot_programs = file.firmware.dir.map(|dir| desk.folder(dir));
    let profiles = desk.profiles(file.profile);
    let catalog = desk.catalog(file.group, &profiles);
    desk.problems.sort_by_key(|problem| problem.line);
    if !desk.problems.is_empty() {
        return Err(ConfigError { name: name.to_owned(), problems: desk.problems });
    }
    Ok(Config {
        name: name.to_owned(),
        interfaces,
        answer_router_solicitations: file.network.answer_router_solicitations,
        http_port: file.http.port.into_inner(),
        repository,
        boot_programs,
        catalog,
        files: desk.files,
    })
}

/// Where the parts of a file are looked at, and what is wrong is noted.
pub(super) struct Desk<'a> {
    text: &'a str,
    problems: Vec<Problem>,
    files: Vec<NamedFile>,
}

impl Desk<'_> {
    fn line<T>(&self, value: &Spanned<T>) -> usize {
        line_of(self.text, value.span().start)
    }

    pub(super) fn wrong<T>(&mut self, value: &Spanned<T>, text: impl Into<String>) {
        let line = Some(self.line(value));
        self.problems.push(Problem { line, text: text.into() });
    }

    fn interfaces(&mut self, names: &[Spanned<String>]) -> Vec<String> {
        let mut known: Vec<String> = Vec::new();
        for written in names {
            let name = written.get_ref();
            let plain = !name.bytes().any(|byte| byte == b'/' || !byte.is_ascii_graphic());
            if name.is_empty() || name.len() > LONGEST_INTERFACE || !plain {
                self.wrong(
                    written,
                    format!("{name:?} is no interface; write one that `ip link` shows"),
                );
            } else if known.contains(name) {
                self.wrong(written, format!("interface {name} is listed twice"));
            } else {
                known.push(name.clone());
            }
        }
        known
    }

    fn folder(&mut self, written: Spanned<PathBuf>) -> Folder {
        // A default stands in no line.
        let line = (written.span() != (0..0)).then(|| self.line(&written));
        if !written.get_ref().is_absolute() {
            let path = written.get_ref().display().to_string();
            self.wrong(
                &written,
                format!("{path:?} depends on the working directory; write it from / on"),
            );
        }
        Folder { path: written.into_inner(), line }
    }

    fn profiles(&mut self, written: Vec<shape::Profile>) -> BTreeMap<String, Draft> {
        let mut drafts = BTreeMap::new();
        for profile in written {
            self.name(&profile.name, "profile");
            if drafts.contains_key(profile.name.get_ref()) {
                let name = profile.name.get_ref();
                self.wrong(
                    &profile.name,
                    format!("there is a profile {name:?} already; names are unique"),
                );
                continue;
            }
            let kernel = self.source(&profile.kernel);
            let initrd: Vec<_> =
                profile.initrd.iter().filter_map(|initrd| self.source(initrd)).collect();
            let (written, args): (Vec<_>, Vec<_>) = profile
                .args
                .into_iter()
                .filter_map(|written| self.arg(&written).map(|arg| (written, arg)))
                .unzip();
            let name = profile.name.into_inner();
            // A profile whose kernel is wrong still stands, so that groups do not miss it too.
            let kernel = kernel.unwrap_or_else(|| Source::Url(String::new()));
            let draft = Draft {
                profile: Arc::new(Profile { name: name.clone(), kernel, initrd, args }),
                metadata: profile.metadata,
                args: written,
            };
            drafts.insert(name, draft);
        }
        drafts
    }

    fn catalog(&mut self, written: Vec<shape::Group>, drafts: &BTreeMap<String, Draft>) -> Catalog {
        let mut groups: Vec<Group> = Vec::new();
        let mut names: Vec<Spanned<String>> = Vec::new();
        for group in written {
            self.name(&group.name, "group");
            let name = group.name.get_ref().clone();
            if names.iter().any(|known| *known.get_ref() == name) {
                self.wrong(
                    &group.name,
                    format!("there is a group {name:?} already; names are unique"),
                );
                continue;
            }
            names.push(group.name.clone());
            groups.extend(self.group(group, drafts));
        }
        Catalog::new(groups).unwrap_or_else(|tie| {
            if let Some(written) = names.iter().find(|name| *name.get_ref() == tie.second) {
                let text = format!(
                    "a machine can be in group {:?} and in group {:?}, which boots it otherwise; \
                     make one selector more specific",
                    tie.second, tie.first
                );
                self.wrong(written, text);
            }
            Catalog::default()
        })
    }

    fn group(&mut self, written: shape::Group, drafts: &BTreeMap<String, Draft>) -> Option<Group> {
        let name = written.name.into_inner();
        let selector = self.selector(written.selector);
        let Some(draft) = drafts.get(written.profile.get_ref()) else {
            let known: Vec<&str> = drafts.keys().map(String::as_str).collect();
            let wanted = written.profile.get_ref();
            let instead = if known.is_empty() {
                "there is none; add a [[profile]]".to_owned()
            } else {
                format!("write one of {}", known.join(", "))
            };
            self.wrong(&written.profile, format!("no profile is named {wanted:?}; {instead}"));
            return None;
        };
        let metadata = Metadata::of(&draft.metadata, &written.metadata);
        for (arg, template) in draft.args.iter().zip(&draft.profile.args) {
            let problem = match template.render(&Words::specimen(), &metadata) {
                Ok(text) => unfit(&text).map(|problem| format!("becomes {text:?}: {problem}")),
                Err(error) => Some(error.to_string()),
            };
            if let Some(problem) = problem {
                self.wrong(arg, format!("{:?}, for group {name:?}, {problem}", arg.get_ref()));
            }
        }
        Some(Group { name, selector: selector?, profile: Arc::clone(&draft.profile), metadata })
    }

    /// Names stand in logs, scripts and on consoles.
    fn name(&mut self, written: &Spanned<String>, what: &str) {
        let name = written.get_ref();
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if name.is_empty() || !plain {
            self.wrong(
                written,
                format!("{name:?} is no name for a {what}; write letters, digits, \".\", \"_\" and \"-\""),
            );
        }
    }

    fn source(&mut self, written: &Spanned<String>) -> Option<Source> {
        let text = written.get_ref();
        if SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                self.wrong(written, format!("{text:?} has a space; write it as %20"));
                return None;
            }
            return Some(Source::Url(text.clone()));
        }
        if !text.starts_with('/') {
            let instead = "write a path in the repository from / on, or a URL";
            self.wrong(written, format!("{text:?} is neither a path nor a URL; {instead}"));
            return None;
        }
        match RepositoryPath::parse(text.as_bytes()) {
            Ok(path) => {
                let line = self.line(written);
                self.files.push(NamedFile { path: path.clone(), line });
                Some(Source::Repository(path))
            }
            Err(error) => {
                self.wrong(written, format!("{text:?} {error}"));
                None
            }
        }
    }

    fn arg(&mut self, written: &Spanned<String>) -> Option<Template> {
        let text = written.get_ref();
        if let Some(problem) = unfit(text) {
            self.wrong(written, format!("{text:?}: {problem}"));
            return None;
        }
        Template::parse(text).map_err(|error| self.wrong(written, format!("{text:?} {error}"))).ok()
    }
}

/// What would break the line of a script that this argument stands in.
fn unfit(arg: &str) -> Option<String> {
    if arg.chars().any(char::is_control) {
        return Some("a control character; a kernel line has none".to_owned());
    }
    if arg.trim().is_empty() {
        return Some("an empty argument; leave it out".to_owned());
    }
    let operator = arg.split_whitespace().find(|word| OPERATORS.contains(word))?;
    Some(format!("iPXE takes {operator:?} for the end of the command; leave it out"))
}

/// A profile, and what is needed to look at its arguments with a group's words.
struct Draft {
    profile: Arc<Profile>,
    metadata: toml::Table,
    /// As written, one for each of the profile's.
    args: Vec<Spanned<String>>,
}
