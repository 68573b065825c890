//! Tries each word that a machine tells, and so a stranger can set, in the texts: with values
//! that would change how the text is built.

use super::{config::ConfigText, rehearsal::Role};
use crate::{
    catalog::Verdict,
    check::{remedy, shape},
    template::Words,
};

/// Values that break out of a place of some kind where nothing quotes them. None has a comma, at
/// which templates may split.
const HOSTILE: [&str; 10] =
    ["x\"y", "x'y", "x: y", "[x", "x] }y", "x\\", "x<y", "x&y", "x && y", "${x}"];

/// The line, where it can be told, and what is wrong with a text whose structure a machine changes.
pub(super) fn breaks(text: &ConfigText, role: &Role<'_>) -> Option<(Option<usize>, String)> {
    let template = text.words()?;
    let mut names: Vec<&str> = template.labels().collect();
    if template.tells_serial() {
        names.push("serial");
    }
    let rendered = |words: &Words| {
        let (rendered, _) = text.rehearse(words, role.group).ok()?;
        String::from_utf8(rendered.to_vec()).ok()
    };
    let mut usual = role.words.clone();
    let labels = usual.machine.labels.get_or_insert_default();
    for name in &names {
        labels.insert_absent(name, "told");
    }
    if names.is_empty() {
        return None;
    }
    let right = shape(text.kind, &rendered(&usual)?)?;
    for value in HOSTILE {
        let Some(words) = told(&usual, &names, value, role) else { continue };
        let Some(becomes) = rendered(&words) else { continue };
        if shape(text.kind, &becomes).as_ref() == Some(&right) {
            continue;
        }
        let is_the_files = becomes.lines().count() == template.source().lines().count();
        let is_comment = |line: &str| line.trim_start().starts_with('#');
        let line = becomes.lines().position(|line| line.contains(value) && !is_comment(line));
        let said = format!(
            "prints a word that the machine told as it is, and anyone on the LAN can tell it: with \
             {value:?} it is no longer the same {}; {}",
            text.kind,
            remedy(text.kind)
        );
        return Some((line.filter(|_| is_the_files).map(|line| line + 1), said));
    }
    None
}

/// A machine of the same group that tells this for every word that its selector leaves open.
fn told(usual: &Words, names: &[&str], value: &str, role: &Role<'_>) -> Option<Words> {
    let mut words = usual.clone();
    let mut is_other = false;
    for name in names {
        let before = words.machine.labels.get_or_insert_default().get(name);
        let before = before.unwrap_or_default().to_owned();
        for attempt in [value.to_owned(), format!("{before}{value}")] {
            let mut other = words.clone();
            other.machine.labels.get_or_insert_default().insert((*name).to_owned(), attempt);
            if role.group.selector.matches(&other.machine) == Verdict::Match {
                (words, is_other) = (other, true);
                break;
            }
        }
    }
    is_other.then_some(words)
}
