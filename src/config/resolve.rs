//! From what is written to what it means, collecting every problem on the way.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use toml::Spanned;

use super::{
    Config, Folder, NamedFile,
    error::{ConfigError, Problem, line_of},
    shape,
};
use crate::{
    catalog::{Catalog, Group, Profile, Selector, Source},
    machine::Mac,
    path::RepositoryPath,
    template::Template,
};

/// Linux's IFNAMSIZ less the NUL.
const LONGEST_INTERFACE: usize = 15;
/// What iPXE can fetch a file by.
const SCHEMES: [&str; 5] = ["http://", "https://", "tftp://", "ftp://", "nfs://"];
/// Names that HTTP answers with a script.
const OURS: [&[u8]; 2] = [b"boot.ipxe", b"ipxe"];
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
struct Desk<'a> {
    text: &'a str,
    problems: Vec<Problem>,
    files: Vec<NamedFile>,
}

impl Desk<'_> {
    fn line<T>(&self, value: &Spanned<T>) -> usize {
        line_of(self.text, value.span().start)
    }

    fn wrong<T>(&mut self, value: &Spanned<T>, text: impl Into<String>) {
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

    fn profiles(&mut self, written: Vec<shape::Profile>) -> BTreeMap<String, Arc<Profile>> {
        let mut profiles = BTreeMap::new();
        for profile in written {
            self.name(&profile.name, "profile");
            if profiles.contains_key(profile.name.get_ref()) {
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
            let args: Vec<_> = profile.args.iter().filter_map(|arg| self.arg(arg)).collect();
            let name = profile.name.into_inner();
            // A profile whose kernel is wrong still stands, so that groups do not miss it too.
            let kernel = kernel.unwrap_or_else(|| Source::Url(String::new()));
            profiles.insert(name.clone(), Arc::new(Profile { name, kernel, initrd, args }));
        }
        profiles
    }

    fn catalog(
        &mut self,
        written: Vec<shape::Group>,
        profiles: &BTreeMap<String, Arc<Profile>>,
    ) -> Catalog {
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
            names.push(group.name);
            let selector = self.selector(&group.selector);
            let Some(profile) = profiles.get(group.profile.get_ref()) else {
                let known: Vec<&str> = profiles.keys().map(String::as_str).collect();
                let wanted = group.profile.get_ref();
                let instead = if known.is_empty() {
                    "there is none; add a [[profile]]".to_owned()
                } else {
                    format!("write one of {}", known.join(", "))
                };
                self.wrong(&group.profile, format!("no profile is named {wanted:?}; {instead}"));
                continue;
            };
            if let Some(selector) = selector {
                groups.push(Group { name, selector, profile: Arc::clone(profile) });
            }
        }
        Catalog::new(groups).unwrap_or_else(|tie| {
            if let Some(written) = names.iter().find(|name| *name.get_ref() == tie.second) {
                let text = format!(
                    "group {:?} selects the same machines as group {:?} for another profile; \
                     make one selector more specific",
                    tie.second, tie.first
                );
                self.wrong(written, text);
            }
            Catalog::default()
        })
    }

    fn selector(&mut self, written: &shape::Selector) -> Option<Selector> {
        let Some(mac) = &written.mac else { return Some(Selector::default()) };
        match mac.get_ref().parse::<Mac>() {
            Ok(mac) => Some(Selector { mac: Some(mac) }),
            Err(error) => {
                self.wrong(mac, format!("{:?} {error}", mac.get_ref()));
                None
            }
        }
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
            if text.contains(['{', '}']) {
                let instead = "words are for args; write a path in the repository, or a whole URL";
                self.wrong(written, format!("{text:?} is no template: {instead}"));
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
            Ok(path) if OURS.contains(&path.as_bytes()) => {
                self.wrong(
                    written,
                    format!("{text:?} is a script of bootbox's own; name another file"),
                );
                None
            }
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
        let parsed = Template::parse(text).and_then(|template| Ok((template.sample()?, template)));
        let (sample, template) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                self.wrong(written, format!("{text:?} {error}"));
                return None;
            }
        };
        // As it is written and as a machine gets it: a template can hide what it makes.
        let problem = [text, &sample].into_iter().find_map(|text| on_a_kernel_line(text));
        if let Some(problem) = problem {
            self.wrong(written, problem);
            return None;
        }
        Some(template)
    }
}

/// Why a text cannot stand on an iPXE kernel line.
fn on_a_kernel_line(text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return Some(format!("{text:?} has a control character; a kernel line has none"));
    }
    if let Some(word) = text.split_whitespace().find(|word| OPERATORS.contains(word)) {
        return Some(format!("iPXE takes {word:?} for the end of the command; leave it out"));
    }
    if let Some(word) = text.split_whitespace().find(|word| word.starts_with('#')) {
        return Some(format!("iPXE takes {word:?} for the start of a comment; leave it out"));
    }
    text.trim().is_empty().then(|| "an empty argument; leave it out".to_owned())
}
