//! The kind of a text: by a word of the config, else by its name and how it begins.

use std::{fmt, str::FromStr};

/// The kind of a text: which tool reads it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// YAML for Ubuntu's installer, below the key `autoinstall` of a cloud-init config.
    Autoinstall,
    /// XML for SUSE's installer.
    AutoYast,
    /// YAML for coreos-cloudinit.
    CloudConfig,
    /// User-data for cloud-init, in any form that it takes.
    CloudInit,
    /// JSON for Ignition.
    Ignition,
    /// A script for iPXE.
    Ipxe,
    /// JSON for anything else.
    Json,
    /// Commands and sections for Anaconda or ESXi.
    Kickstart,
    /// Answers for Debian's installer.
    Preseed,
    /// A program that begins with `#!`.
    Script,
    /// YAML for Talos.
    Talos,
    /// Anything else; only what no reader could take is a fault.
    Text,
    /// XML for anything else.
    Xml,
    /// YAML for anything else.
    Yaml,
}

pub(super) const KINDS: [(&str, Kind); 14] = [
    ("autoinstall", Kind::Autoinstall),
    ("autoyast", Kind::AutoYast),
    ("cloud-config", Kind::CloudConfig),
    ("cloud-init", Kind::CloudInit),
    ("ignition", Kind::Ignition),
    ("ipxe", Kind::Ipxe),
    ("json", Kind::Json),
    ("kickstart", Kind::Kickstart),
    ("preseed", Kind::Preseed),
    ("script", Kind::Script),
    ("talos", Kind::Talos),
    ("text", Kind::Text),
    ("xml", Kind::Xml),
    ("yaml", Kind::Yaml),
];

impl Kind {
    /// Told by a file's name, and by how its text begins. User-data is cloud-init's unless it has a
    /// key that only coreos-cloudinit has.
    pub fn of(path: &[u8], text: &[u8]) -> Self {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path).to_ascii_lowercase();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|s| name.ends_with(s.as_bytes()));
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let first = text.split(|&byte| byte == b'\n').next().unwrap_or(text).trim_ascii();
        let is_named = |names: &[&str]| names.iter().any(|known| known.as_bytes() == name);
        if ends(&[".ign"]) || (ends(&[".json"]) && mentions(text, b"\"ignition")) {
            Self::Ignition
        } else if first == b"#!ipxe" || ends(&[".ipxe"]) {
            Self::Ipxe
        } else if first.starts_with(b"#!") || ends(&[".sh"]) {
            Self::Script
        } else if is_cloud_init(text)
            || ends(&["cloud-config.yaml", "cloud-config.yml"])
            || is_named(&["user-data", "vendor-data"])
        {
            match ["autoinstall:", "coreos:"].map(|key| has_line(text, key)) {
                [true, _] => Self::Autoinstall,
                [_, true] => Self::CloudConfig,
                [false, false] => Self::CloudInit,
            }
        } else {
            Self::of_installer(&name, text, first)
        }
    }

    fn of_installer(name: &[u8], text: &[u8], first: &[u8]) -> Self {
        let ends = |suffixes: &[&str]| suffixes.iter().any(|s| name.ends_with(s.as_bytes()));
        let is_xml = first.starts_with(b"<?xml") || ends(&[".xml"]);
        if is_xml && mentions(text, b"<profile") {
            Self::AutoYast
        } else if is_xml {
            Self::Xml
        } else if has_line(text, "d-i ") || has_line(text, "d-i\t") || ends(&["preseed.cfg"]) {
            Self::Preseed
        } else if ends(&[".ks", "ks.cfg"])
            || (has_line(text, "%packages") && has_line(text, "%end"))
        {
            Self::Kickstart
        } else if has_line(text, "version: v1alpha1") && has_line(text, "machine:") {
            Self::Talos
        } else if ends(&[".yaml", ".yml"]) || name == b"meta-data" || name == b"network-config" {
            Self::Yaml
        } else if ends(&[".json"]) {
            Self::Json
        } else {
            Self::Text
        }
    }

    /// Whether it is in YAML.
    pub fn is_yaml(self) -> bool {
        match self {
            Self::Autoinstall | Self::CloudConfig | Self::CloudInit | Self::Talos | Self::Yaml => {
                true
            }
            Self::AutoYast
            | Self::Ignition
            | Self::Ipxe
            | Self::Json
            | Self::Kickstart
            | Self::Preseed
            | Self::Script
            | Self::Text
            | Self::Xml => false,
        }
    }
}

/// Whether it begins as one of the forms that cloud-init takes, programs left out.
pub(super) fn is_cloud_init(text: &[u8]) -> bool {
    let begin: Vec<u8> = text.trim_ascii_start().iter().take(64).copied().collect();
    let begin = begin.to_ascii_lowercase();
    HEADERS.iter().any(|header| begin.starts_with(header.as_bytes()))
}

/// The first words of cloud-init's forms, programs left out. It looks at no case, and passes
/// over space before.
pub(super) const HEADERS: [&str; 6] = [
    "#cloud-boothook",
    "#cloud-config",
    "#include",
    "#part-handler",
    "#upstart-job",
    "## template: jinja",
];

/// Whether a text has these bytes; a config that is no JSON any more is still meant for Ignition.
pub(super) fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Whether a line begins so, without space before.
pub(super) fn has_line(text: &[u8], begin: &str) -> bool {
    text.split(|&byte| byte == b'\n').any(|line| line.starts_with(begin.as_bytes()))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KINDS.iter().find(|(_, kind)| kind == self).map_or("text", |(word, _)| word);
        f.write_str(word)
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        let found = KINDS.iter().find(|(known, _)| *known == word);
        found.map(|&(_, kind)| kind).ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

/// A word that is no kind of text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
        write!(f, "\"{}\" is no kind of text; the kinds are {}", self.0, known.join(", "))
    }
}

impl std::error::Error for UnknownKind {}
