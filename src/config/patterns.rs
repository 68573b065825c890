//! One value or a list of them, as TOML has them: `mac = "…"` or `mac = ["…", "…"]`.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use toml::Spanned;

/// The values of one field of a selector. Those of a list know their own lines.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Patterns {
    Many(Vec<Spanned<String>>),
    One(String),
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Patterns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Patterns, E> {
        Ok(Patterns::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Patterns, A::Error> {
        let mut many = Vec::new();
        while let Some(text) = list.next_element()? {
            many.push(text);
        }
        Ok(Patterns::Many(many))
    }
}
