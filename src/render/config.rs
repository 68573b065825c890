//! The texts that a machine asks for once its kernel runs: Ignition, cloud-config, install script.
//!
//! Each is a template or a file as it is, read at load. A text with a fault is never given away: what
//! [`ConfigText::render`] returns has been through the checks for the machine that asks.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    catalog::{Group, Source},
    check::{Fault, Kind, Severity, Target, faults},
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
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// Why there is none.
    Missing(String),
    Plain(String),
    Template(Box<Template>),
}

impl ConfigText {
    /// A text without words.
    pub fn plain(name: String, kind: Kind, text: String) -> Self {
        Self { name, kind, content: Content::Plain(text) }
    }

    /// A text whose words are filled in.
    pub fn template(name: String, kind: Kind, text: &str) -> Result<Self, TemplateError> {
        let content = Content::Template(Box::new(Template::parse_file(text)?));
        Ok(Self { name, kind, content })
    }

    /// One that a machine will ask for, and that is not there.
    pub fn missing(name: String, reason: String) -> Self {
        Self { name, kind: Kind::Text, content: Content::Missing(reason) }
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
            Content::Plain(text) => text.clone(),
            Content::Template(template) => template.source(),
        }
    }

    /// Whether every machine gets the same, so that it does not matter which one asks.
    pub fn is_same_for_all(&self) -> bool {
        self.words().is_none_or(Template::is_same_for_all)
    }

    /// The text for a machine of this group; without a fault that matters.
    pub fn render(&self, words: &Words, group: &Group) -> Result<String, Unfit> {
        let (text, faults) = self.rehearse(words, group)?;
        match faults.into_iter().find(|fault| fault.severity == Severity::Error) {
            Some(fault) => Err(Unfit::Fault(fault)),
            None => Ok(text),
        }
    }

    /// The text where it does not matter who asks. It was looked at when it was loaded.
    pub fn render_for_all(&self, words: &Words) -> Result<String, Unfit> {
        let metadata = Default::default();
        self.fill(words, &Setting { group: "", profile: "", metadata: &metadata })
    }

    /// The text and all its faults.
    pub(super) fn rehearse(
        &self,
        words: &Words,
        group: &Group,
    ) -> Result<(String, Vec<Fault>), Unfit> {
        let profile = &group.profile;
        let setting =
            Setting { group: &group.name, profile: &profile.name, metadata: &group.metadata };
        let text = self.fill(words, &setting)?;
        let faults = faults(self.kind, text.as_bytes(), &target(group));
        Ok((text, faults))
    }

    fn fill(&self, words: &Words, setting: &Setting<'_>) -> Result<String, Unfit> {
        match &self.content {
            Content::Missing(reason) => Err(Unfit::Missing(reason.clone())),
            Content::Plain(text) => Ok(text.clone()),
            Content::Template(template) => {
                template.render_file(words, setting).map_err(Unfit::Template)
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
