//! The texts that a machine asks for once its kernel runs: Ignition, cloud-config, install script.
//!
//! Each is a template or a file as it is, read at load. A text with a fault is never given away: what
//! [`ConfigText::render`] returns has been through the checks for the machine that asks.

use std::{collections::BTreeMap, fmt, sync::Arc};

use hyper::body::Bytes;

use crate::{
    catalog::{Group, Source},
    check::{Fault, Kind, Severity, Target, faults, faults_filled},
    path::{RepositoryPath, UrlPath},
    template::{Setting, Template, TemplateError, Words},
};

/// One text, as it was when it was loaded.
#[derive(Clone, Debug)]
pub struct ConfigText {
    /// Where it was read, as the operator calls it.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Why it is taken for that.
    pub origin: Origin,
    content: Content,
}

/// Why a text is taken for one of its kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It looks like it.
    Looks,
    /// An argument names it.
    Named {
        /// The argument's name.
        key: String,
        /// Whether what reads it surely reads no other kind.
        is_strict: bool,
    },
    /// Machines that it is meant for boot what has one reader for it.
    Profile(String),
    /// The config says so.
    Said,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Looks => f.write_str("its name and first line say so"),
            Self::Named { key, .. } => write!(f, "{key}= names it"),
            Self::Profile(name) => write!(f, "profile {name} boots a CoreOS or Flatcar"),
            Self::Said => f.write_str("kind = says so"),
        }
    }
}

#[derive(Clone, Debug)]
enum Content {
    /// Why there is none.
    Missing(String),
    /// Of any encoding.
    Plain(Bytes),
    Template(Box<Template>),
}

impl ConfigText {
    /// A text without words.
    pub fn plain(name: String, (kind, origin): (Kind, Origin), bytes: Vec<u8>) -> Self {
        Self { name, kind, origin, content: Content::Plain(bytes.into()) }
    }

    /// A text whose words are filled in.
    pub fn template(
        name: String,
        (kind, origin): (Kind, Origin),
        text: &str,
    ) -> Result<Self, TemplateError> {
        let content = Content::Template(Box::new(Template::parse_file(text)?));
        Ok(Self { name, kind, origin, content })
    }

    /// One that a machine will ask for, and that is not there.
    pub fn missing(name: String, reason: String) -> Self {
        Self { name, kind: Kind::Text, origin: Origin::Said, content: Content::Missing(reason) }
    }

    /// Its words, where it has any.
    pub fn words(&self) -> Option<&Template> {
        match &self.content {
            Content::Template(template) => Some(template),
            Content::Missing(_) | Content::Plain(_) => None,
        }
    }

    /// As it was written; nothing where there is no such file.
    pub fn source(&self) -> String {
        match &self.content {
            Content::Missing(_) => String::new(),
            Content::Plain(text) => String::from_utf8_lossy(text).into_owned(),
            Content::Template(template) => template.source(),
        }
    }

    /// Whether every machine gets the same, so that it does not matter which one asks.
    pub fn is_same_for_all(&self) -> bool {
        self.words().is_none_or(Template::is_same_for_all)
    }

    /// Whether what its kind's reader would refuse is surely refused: who reads it may be a guess.
    fn is_sure(&self) -> bool {
        match (&self.origin, self.kind) {
            (Origin::Profile(_) | Origin::Said, _) => true,
            (Origin::Named { is_strict: true, .. }, _) => true,
            (
                Origin::Looks | Origin::Named { .. },
                Kind::AutoYast
                | Kind::Json
                | Kind::Kickstart
                | Kind::Preseed
                | Kind::Talos
                | Kind::Xml
                | Kind::Yaml,
            ) => false,
            (
                Origin::Looks | Origin::Named { .. },
                Kind::Autoinstall
                | Kind::CloudConfig
                | Kind::CloudInit
                | Kind::Ignition
                | Kind::Ipxe
                | Kind::Script
                | Kind::Text,
            ) => true,
        }
    }

    /// The text for a machine of this group; without a fault that matters.
    pub fn render(&self, words: &Words, group: &Group) -> Result<Bytes, Unfit> {
        let (text, faults) = self.rehearse(words, group)?;
        match faults.into_iter().find(|fault| fault.severity == Severity::Error) {
            Some(fault) => Err(Unfit::Fault(fault)),
            None => Ok(text),
        }
    }

    /// The text where it does not matter who asks. It was looked at when it was loaded.
    pub fn render_for_all(&self, words: &Words) -> Result<Bytes, Unfit> {
        let metadata = Default::default();
        self.fill(words, &Setting { group: "", profile: "", metadata: &metadata })
    }

    /// The text and all its faults.
    pub(super) fn rehearse(
        &self,
        words: &Words,
        group: &Group,
    ) -> Result<(Bytes, Vec<Fault>), Unfit> {
        let profile = &group.profile;
        let setting =
            Setting { group: &group.name, profile: &profile.name, metadata: &group.metadata };
        let text = self.fill(words, &setting)?;
        let target = target(group);
        let mut faults = match self.content {
            Content::Template(_) => faults_filled(self.kind, &text, &target),
            Content::Missing(_) | Content::Plain(_) => faults(self.kind, &text, &target),
        };
        if !self.is_sure() {
            faults.iter_mut().for_each(|fault| fault.severity = Severity::Warning);
        }
        Ok((text, faults))
    }

    fn fill(&self, words: &Words, setting: &Setting<'_>) -> Result<Bytes, Unfit> {
        match &self.content {
            Content::Missing(reason) => Err(Unfit::Missing(reason.clone())),
            Content::Plain(bytes) => Ok(bytes.clone()),
            Content::Template(template) => {
                template.render_file(words, setting).map(Bytes::from).map_err(Unfit::Template)
            }
        }
    }
}

/// Whose tools read what a machine of this group is given.
pub(super) fn target(group: &Group) -> Target {
    let target = match &group.profile.kernel {
        Source::Repository(path) => Target::of(&path.to_string()),
        Source::Url(url) => Target::of(url),
    };
    if target != Target::Unknown {
        return target;
    }
    let args = group.profile.args.iter();
    args.fold(target, |target, arg| target.or_by_arg(&arg.source()))
}

/// Why a text is not given away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// Its reader would refuse it.
    Fault(Fault),
    /// It is not there.
    Missing(String),
    /// It cannot be filled in for this machine.
    Template(TemplateError),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => {
                write!(f, "would be refused: in line {}, {}", fault.line, fault.text)
            }
            Self::Missing(reason) => f.write_str(reason),
            Self::Template(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unfit {}

/// All texts, by the paths that machines ask for.
#[derive(Clone, Debug, Default)]
pub struct Configs {
    by_path: BTreeMap<UrlPath, Arc<ConfigText>>,
    /// Files that texts are made of: never sent as they are.
    sources: BTreeMap<UrlPath, (RepositoryPath, Arc<ConfigText>)>,
}

impl Configs {
    /// Adds a text that is asked for by this path and made from this file.
    pub fn add(&mut self, path: UrlPath, file: Option<&RepositoryPath>, text: ConfigText) {
        let text = Arc::new(text);
        if let Some(file) = file {
            self.sources.entry(file.into()).or_insert_with(|| (file.clone(), Arc::clone(&text)));
        }
        self.by_path.entry(path).or_insert(text);
    }

    /// The text of this path, or the one that is made from the file of this path.
    pub fn get(&self, path: &UrlPath) -> Option<&Arc<ConfigText>> {
        self.by_path.get(path).or_else(|| self.sources.get(path).map(|(_, text)| text))
    }

    /// The files that texts are made of, and their texts.
    pub fn sources(&self) -> impl Iterator<Item = (&RepositoryPath, &ConfigText)> {
        self.sources.values().map(|(file, text)| (file, &**text))
    }

    /// The paths that machines are told, and their texts.
    pub fn iter(&self) -> impl Iterator<Item = (&UrlPath, &ConfigText)> {
        self.by_path.iter().map(|(path, text)| (path, &**text))
    }
}
