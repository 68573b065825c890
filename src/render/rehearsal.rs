//! Every text, for everyone who could get it, before anyone does.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    hash::Hasher as _,
};

use super::{
    config::{ConfigText, Unfit, target},
    trial,
};
use crate::{
    catalog::Group,
    check::{Fault, Kind, Severity},
    template::Words,
};

/// Different things to mend that are told of one text; who has more mends these first.
const MOST: usize = 20;

/// No filter leaves it as it is.
const HOSTILE: &str = "x'\"$(y)";

/// A machine that a text is tried with.
#[derive(Clone, Debug)]
pub struct Role<'a> {
    /// Its group.
    pub group: &'a Group,
    /// What the operator knows it by.
    pub name: String,
    /// What the words stand for on it.
    pub words: Words,
    /// It came by itself, and no config names it: what it tells must not keep a config from being
    /// loaded.
    pub is_guest: bool,
}

/// One thing to mend in a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The line of its file, where that can be told.
    pub line: Option<usize>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, for whom, and what to write instead.
    pub text: String,
    /// Whether it is what the reader of such a text would say.
    pub is_of_kind: bool,
}

/// Renders and checks a text for each role. What comes out the same is looked at once.
pub fn rehearse<'a>(text: &ConfigText, roles: impl Iterator<Item = &'a Role<'a>>) -> Vec<Finding> {
    let mut seen = HashSet::new();
    let mut findings: Vec<Noted> = Vec::new();
    let is_same_for_group = text.words().is_none_or(|words| words.is_same_for_group());
    let mut is_tried = false;
    let mut tried: Option<&str> = None;
    for role in roles {
        if !std::mem::replace(&mut is_tried, true)
            && let Some(line) = unquoted(text, role)
        {
            let said = "prints a word that the machine told as it is, and anyone on the LAN can \
                        tell it: a shell would run what is in it; write {{ … | sh }}";
            note(&mut findings, role, (line, String::new(), said.to_owned()), Severity::Warning);
        }
        // A profile's groups are alike enough, and there may be many.
        let profile = role.group.profile.name.as_str();
        if !role.is_guest
            && tried.replace(profile) != Some(profile)
            && let Some((line, said)) = trial::breaks(text, role)
        {
            note(&mut findings, role, (line, String::new(), said), Severity::Error);
        }
        // Each machine of a group says the same words, but for one that has its own.
        if is_same_for_group && !seen.insert(fingerprint(&std::ptr::from_ref(role.group))) {
            continue;
        }
        match text.rehearse(&made_whole(text, role), role.group) {
            Err(error) => {
                note(&mut findings, role, told(text, &error), Severity::Error);
            }
            Ok((rendered, faults)) => {
                let rendered = String::from_utf8_lossy(&rendered);
                if !seen.insert(fingerprint(&(target(role.group).to_string(), &rendered))) {
                    continue;
                }
                for fault in faults {
                    let severity = fault.severity;
                    let noted =
                        note(&mut findings, role, located(text, &rendered, fault), severity);
                    noted.is_of_kind = true;
                }
            }
        }
        if findings.len() >= MOST {
            break;
        }
    }
    findings.into_iter().map(Noted::finding).collect()
}

/// Whether a script has what a machine told in it unquoted, and where that can be told, the line.
fn unquoted(text: &ConfigText, role: &Role<'_>) -> Option<Option<usize>> {
    let template = text.words().filter(|_| text.kind == Kind::Script)?;
    let mut words = role.words.clone();
    let labels = words.machine.labels.get_or_insert_default();
    labels.insert("serial".to_owned(), HOSTILE.to_owned());
    for name in template.labels() {
        labels.insert(name.to_owned(), HOSTILE.to_owned());
    }
    let (rendered, _) = text.rehearse(&words, role.group).ok()?;
    let rendered = String::from_utf8_lossy(&rendered);
    let line = 1 + rendered.lines().position(|line| line.contains(HOSTILE))?;
    let is_the_files = rendered.lines().count() == template.source().lines().count();
    Some(is_the_files.then_some(line))
}

/// What is wrong, apart from whom it was seen with.
struct Noted {
    line: Option<usize>,
    /// Where it is seen in what the text becomes.
    within: String,
    said: String,
    severity: Severity,
    whom: String,
    others: usize,
    is_of_kind: bool,
}

impl Noted {
    fn finding(self) -> Finding {
        let others = match self.others {
            0 => String::new(),
            1 => " and 1 more".to_owned(),
            count => format!(" and {count} more"),
        };
        let text = format!("for {}{others}{}: {}", self.whom, self.within, self.said);
        Finding { line: self.line, severity: self.severity, text, is_of_kind: self.is_of_kind }
    }
}

fn note<'f>(
    findings: &'f mut Vec<Noted>,
    role: &Role<'_>,
    (line, within, said): (Option<usize>, String, String),
    severity: Severity,
) -> &'f mut Noted {
    let severity = if role.is_guest { Severity::Warning } else { severity };
    let same = |noted: &Noted| (noted.line, &noted.said, noted.severity) == (line, &said, severity);
    let at = findings.iter().position(same);
    match at {
        Some(at) => findings[at].others += 1,
        None => {
            let whom = format!("{} (group {})", role.name, role.group.name);
            let is_of_kind = false;
            findings.push(Noted { line, within, said, severity, whom, others: 0, is_of_kind });
        }
    }
    let at = at.unwrap_or(findings.len() - 1);
    &mut findings[at]
}

/// A machine that is made up has told whatever is asked for.
fn made_whole(text: &ConfigText, role: &Role<'_>) -> Words {
    let mut words = role.words.clone();
    if let (false, Some(template), Some(labels)) =
        (role.is_guest, text.words(), words.machine.labels.as_mut())
    {
        for name in template.labels() {
            labels.insert_absent(name, "told");
        }
    }
    words
}

fn told(text: &ConfigText, error: &Unfit) -> (Option<usize>, String, String) {
    let line = match (error, text.words()) {
        (Unfit::Template(error), Some(template)) => error.line(&template.source()),
        _ => None,
    };
    let said = match error {
        Unfit::Template(error) => error.without_line(),
        Unfit::Fault(_) | Unfit::Missing(_) => error.to_string(),
    };
    (line, String::new(), said)
}

/// Lines are the file's own as long as no word and no loop has made some or taken some away.
fn located(text: &ConfigText, rendered: &str, fault: Fault) -> (Option<usize>, String, String) {
    let count = |text: &str| text.bytes().filter(|&byte| byte == b'\n').count();
    match text.words() {
        Some(template) if count(&template.source()) != count(rendered) => {
            (None, format!(", in line {} of what it becomes", fault.line), fault.text)
        }
        _ => (Some(fault.line), String::new(), fault.text),
    }
}

fn fingerprint(of: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
