//! One file of the config, read into its shape, with all that does not fit it in one round.
//!
//! serde stops at the first thing that does not fit. What it stops at is taken out, and the rest is
//! read again. Decides nothing of what the values mean.

use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::error::{Page, Problem};

/// Problems of one file that are told at once.
const MOST_PROBLEMS: usize = 50;

/// A file as it was read, and its entries that do not fit.
pub(super) struct Read<T> {
    pub(super) file: T,
    pub(super) problems: Vec<Problem>,
}

/// Reads a file. Where it is no TOML, only that is told.
pub(super) fn read<T: DeserializeOwned + Default>(page: &Page<'_>) -> Read<T> {
    let (mut table, errors) = DeTable::parse_recoverable(page.text);
    if !errors.is_empty() {
        let mut problems: Vec<Problem> = errors.iter().map(|error| page.syntax(error)).collect();
        // The parser may stumble over one mistake several times.
        problems.dedup_by(|next, first| next.place == first.place);
        problems.truncate(MOST_PROBLEMS);
        return Read { file: T::default(), problems };
    }
    let mut problems = Vec::new();
    let mut removed = Removed::default();
    while problems.len() < MOST_PROBLEMS {
        let error = match T::deserialize(Deserializer::from(table.clone())) {
            Ok(file) => return Read { file, problems },
            Err(error) => error,
        };
        let span = error.span().unwrap_or_default();
        let missing = quoted_after(error.message(), "missing field ");
        let follows = missing.is_some_and(|field| removed.explains(&span, field));
        let at = remove(table.get_mut(), &(0..0), &span);
        if !follows {
            let key = at.as_ref().map(|at| at.key.as_str()).unwrap_or_default();
            problems.push(page.misfit(&error, key));
        }
        match at {
            Some(at) => removed.0.push(at),
            None => break,
        }
    }
    Read { file: T::default(), problems }
}

/// The entries that were taken out.
#[derive(Debug, Default)]
struct Removed(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    parent: Range<usize>,
    key: String,
    is_key: bool,
}

impl Removed {
    /// Whether a field is missing only because it was taken out, or its name was misspelt.
    fn explains(&self, table: &Range<usize>, field: &str) -> bool {
        self.0.iter().any(|it| it.parent == *table && (it.key == field || it.is_key))
    }
}

/// Takes out the entry whose key or value has this span, wherever it is. An array of tables has the
/// span of its first table, so what is inside is looked at first.
fn remove(table: &mut DeTable<'_>, own: &Range<usize>, span: &Range<usize>) -> Option<Entry> {
    let below = table.iter_mut().find_map(|(key, value)| {
        let own = value.span();
        remove_below(value.get_mut(), &own, key.get_ref(), span)
    });
    if below.is_some() {
        return below;
    }
    let found = table
        .iter()
        .find(|(key, value)| key.span() == *span || value.span() == *span)
        .map(|(key, _)| (key.clone(), key.span() == *span));
    let (key, is_key) = found?;
    table.remove(&key);
    Some(Entry { parent: own.clone(), key: key.get_ref().to_string(), is_key })
}

fn remove_below(
    value: &mut DeValue<'_>,
    own: &Range<usize>,
    key: &str,
    span: &Range<usize>,
) -> Option<Entry> {
    match value {
        DeValue::Table(table) => remove(table, own, span),
        DeValue::Array(array) => {
            let below = array.iter_mut().find_map(|element| {
                let own = element.span();
                remove_below(element.get_mut(), &own, key, span)
            });
            if below.is_some() {
                return below;
            }
            if array.iter().any(|element| element.span() == *span) {
                let rest = std::mem::replace(array, DeArray::new()).into_iter();
                *array = rest.filter(|element| element.span() != *span).collect();
                return Some(Entry { parent: own.clone(), key: key.to_owned(), is_key: false });
            }
            None
        }
        DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Float(_)
        | DeValue::Integer(_)
        | DeValue::String(_) => None,
    }
}

/// The word in backticks after these words.
pub(super) fn quoted_after<'a>(message: &'a str, words: &str) -> Option<&'a str> {
    message.strip_prefix(words)?.split('`').nth(1)
}
