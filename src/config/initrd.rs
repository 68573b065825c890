//! One entry of `initrd`: a path or URL, or a table with the name and arguments that it is given.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};

/// As it is written.
#[derive(Clone, Debug, Serialize)]
#[serde(into = "toml::Value")]
pub(super) struct Initrd {
    pub(super) file: String,
    pub(super) name: Option<String>,
    pub(super) args: Vec<String>,
}

/// A plain path is written as such.
impl From<Initrd> for toml::Value {
    fn from(initrd: Initrd) -> Self {
        let Initrd { file, name, args } = initrd;
        if name.is_none() && args.is_empty() {
            return Self::String(file);
        }
        let mut table = toml::Table::from_iter([("file".to_owned(), Self::String(file))]);
        table.extend(name.map(|name| ("name".to_owned(), Self::String(name))));
        if !args.is_empty() {
            let args = args.into_iter().map(Self::String).collect();
            table.insert("args".to_owned(), Self::Array(args));
        }
        Self::Table(table)
    }
}

const FIELDS: [&str; 3] = ["file", "name", "args"];

impl<'de> Deserialize<'de> for Initrd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Initrd;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a table { file, name, args }")
    }

    fn visit_str<E>(self, text: &str) -> Result<Initrd, E> {
        Ok(Initrd { file: text.to_owned(), name: None, args: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Initrd, A::Error> {
        let (mut file, mut name, mut args) = (None, None, Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "file" => file = Some(map.next_value()?),
                "name" => name = Some(map.next_value()?),
                "args" => args = map.next_value()?,
                _ => return Err(de::Error::unknown_field(&key, &FIELDS)),
            }
        }
        let file = file.ok_or_else(|| de::Error::missing_field("file"))?;
        Ok(Initrd { file, name, args })
    }
}
