//! Which groups need to be looked at for a machine, or beside another group, so that the work stays
//! near-linear in the number of groups.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use super::{Group, Tie, pattern::Pattern, selector::Field};
use crate::machine::Mac;

/// The places of groups in the order they are asked, by exact hardware address.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_mac: HashMap<Mac, Vec<usize>>,
    /// Those that name no machine by its address.
    others: Vec<usize>,
}

impl Index {
    pub(super) fn new(groups: &[Group]) -> Self {
        let mut index = Self::default();
        for (at, group) in groups.iter().enumerate() {
            match macs(group) {
                Some(macs) => {
                    for mac in macs {
                        index.by_mac.entry(mac).or_default().push(at);
                    }
                }
                None => index.others.push(at),
            }
        }
        index
    }

    /// The places of all groups that a machine with this address may be in, in order.
    pub(super) fn possible(&self, mac: Mac) -> impl Iterator<Item = usize> {
        let mut named = self.by_mac.get(&mac).map_or(&[][..], Vec::as_slice).iter().peekable();
        let mut others = self.others.iter().peekable();
        std::iter::from_fn(move || {
            let is_named = match (named.peek(), others.peek()) {
                (Some(named), Some(other)) => named < other,
                (named, _) => named.is_some(),
            };
            if is_named { named.next().copied() } else { others.next().copied() }
        })
    }
}

/// The addresses that a group names; none where it has globs or asks for no address.
fn macs(group: &Group) -> Option<BTreeSet<Mac>> {
    let patterns = group.selector.patterns(&Field::Mac);
    let macs: Option<BTreeSet<Mac>> = patterns.iter().map(Pattern::exact_mac).collect();
    macs.filter(|macs| !macs.is_empty())
}

/// Finds two groups that one machine may be in, that boot it differently, and of which neither is
/// more specific. The groups are sorted by that.
pub(super) fn tie(groups: &[Group]) -> Option<Tie> {
    let mut start = 0;
    while start < groups.len() {
        let rank = groups[start].selector.specificity();
        let len = groups[start..].iter().take_while(|it| it.selector.specificity() == rank).count();
        let found = tie_of_equals(&groups[start..start + len]);
        if found.is_some() {
            return found;
        }
        start += len;
    }
    None
}

/// Compares only groups whose values of one field may be the same by how they begin, where all name
/// that field; else each with each.
fn tie_of_equals(groups: &[Group]) -> Option<Tie> {
    let field = telling(groups);
    let mut begun = Beginnings::default();
    for (at, group) in groups.iter().enumerate() {
        let beginnings: BTreeSet<String> = match field {
            Some(field) => group.selector.patterns(field).iter().map(Pattern::beginning).collect(),
            None => BTreeSet::from([String::new()]),
        };
        let is_tied = |&earlier: &usize| {
            let earlier = &groups[earlier];
            !earlier.is_same_boot(group) && earlier.selector.overlaps(&group.selector)
        };
        let earlier = beginnings.iter().flat_map(|it| begun.that_may_meet(it));
        if let Some(earlier) = earlier.filter(is_tied).min() {
            let (first, second) = (groups[earlier].name.clone(), group.name.clone());
            return Some(Tie { first, second });
        }
        beginnings.into_iter().for_each(|beginning| begun.add(beginning, at));
    }
    None
}

/// Groups by how a value of theirs begins.
#[derive(Debug, Default)]
struct Beginnings(BTreeMap<String, Vec<usize>>);

impl Beginnings {
    fn add(&mut self, beginning: String, group: usize) {
        self.0.entry(beginning).or_default().push(group);
    }

    /// The groups of which one beginning begins with the other.
    fn that_may_meet<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = usize> + 'a {
        let shorter = beginning.char_indices().filter_map(|(end, _)| self.0.get(&beginning[..end]));
        let from = (Bound::Included(beginning), Bound::Unbounded);
        let as_long = self.0.range::<str, _>(from);
        let as_long = as_long.take_while(move |(other, _)| other.starts_with(beginning));
        shorter.chain(as_long.map(|(_, groups)| groups)).flatten().copied()
    }
}

/// The field that tells these groups apart best, of those that all of them name.
fn telling(groups: &[Group]) -> Option<&Field> {
    let is_named =
        |field: &&Field| groups.iter().all(|group| !group.selector.patterns(field).is_empty());
    let beginnings = |field: &&Field| {
        let patterns = groups.iter().flat_map(|group| group.selector.patterns(field));
        patterns.map(Pattern::beginning).collect::<BTreeSet<_>>().len()
    };
    groups.first()?.selector.fields().filter(is_named).max_by_key(beginnings)
}
