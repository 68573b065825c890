//! The labels of one machine, in one piece of memory: a ledger holds those of 65,536 machines.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize, Serializer};

/// Names and values, sorted by name.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(from = "BTreeMap<String, String>")]
pub struct Labels {
    text: Box<str>,
    /// Where each name and its value end in the text.
    ends: Box<[[u32; 2]]>,
}

impl Labels {
    /// Each name and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|[_, end]| *end as usize));
        begins.zip(&self.ends).map(|(begin, [name, value])| {
            let (name, value) = (*name as usize, *value as usize);
            (&self.text[begin..name], &self.text[name..value])
        })
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether there is one of this name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Sets one.
    pub fn insert(&mut self, name: String, value: String) {
        let mut map = self.to_map();
        map.insert(name, value);
        *self = map.into();
    }

    /// Sets one where it is absent.
    pub fn insert_absent(&mut self, name: &str, value: &str) {
        if !self.contains_key(name) {
            self.insert(name.to_owned(), value.to_owned());
        }
    }

    /// The same as a map.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(map: BTreeMap<String, String>) -> Self {
        let mut text = String::with_capacity(map.iter().map(|(n, v)| n.len() + v.len()).sum());
        let mut ends = Vec::with_capacity(map.len());
        for (name, value) in &map {
            // A request holds 8 KiB, a command 64 KiB.
            let Ok(_) = u32::try_from(text.len() + name.len() + value.len()) else { break };
            text.push_str(name);
            let end = text.len();
            text.push_str(value);
            ends.push([end, text.len()].map(|end| end as u32));
        }
        Self { text: text.into(), ends: ends.into() }
    }
}

impl<const N: usize> From<[(String, String); N]> for Labels {
    fn from(labels: [(String, String); N]) -> Self {
        BTreeMap::from(labels).into()
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(labels: T) -> Self {
        labels.into_iter().collect::<BTreeMap<_, _>>().into()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_a_map_of_them_is() {
        let map: BTreeMap<String, String> =
            [("serial", "7"), ("arch", ""), ("product", "a\0b ä"), ("", "x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        let mut labels = Labels::from(map.clone());
        assert_eq!(labels.to_map(), map);
        assert_eq!((labels.get("product"), labels.get("ser")), (Some("a\0b ä"), None));
        assert_eq!((labels.get("arch"), labels.len()), (Some(""), 4));
        let text = serde_json::to_string(&labels).unwrap();
        assert_eq!(text, serde_json::to_string(&map).unwrap());
        assert_eq!(serde_json::from_str::<Labels>(&text).unwrap(), labels);
        labels.insert("arch".to_owned(), "x86_64".to_owned());
        labels.insert_absent("arch", "other");
        labels.insert_absent("rack", "1");
        assert_eq!((labels.get("arch"), labels.get("rack")), (Some("x86_64"), Some("1")));
        assert!(Labels::default().is_empty() && !labels.is_empty());
    }
}
