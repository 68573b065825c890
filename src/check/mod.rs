//! What the texts that machines are given would make the real tools refuse or drop in silence:
//! Ignition, coreos-cloudinit, iPXE and the kernel's `#!`.
//!
//! Pure: a text, what it is for and who will read it in, faults with their lines out. A fault that
//! is an error means that the text must not reach a machine; where the real tool would take a text
//! that cannot do what its author meant (a misspelt key), we are stricter, never laxer.

mod cloud;
mod ignition;
mod ipxe;
mod json;
mod near;
mod script;
mod text;
mod url;

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

/// What the shipped examples say where only the operator knows, secrets above all.
pub const PLACEHOLDER: &str = "CHANGE-ME";

/// All that is wrong with a text, in the order of its lines.
pub fn faults(kind: Kind, text: &[u8], target: &Target) -> Vec<Fault> {
    let mut report = Report::default();
    if let Some(text) = text::read(kind, text, &mut report) {
        match kind {
            Kind::CloudConfig => cloud::check(text, target, &mut report),
            Kind::Ignition => ignition::check(text, target, &mut report),
            Kind::Ipxe => ipxe::check(text, &mut report),
            Kind::Script => script::check(text, &mut report),
            Kind::Text => {}
        }
    }
    report.into_faults()
}

/// What a text is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// YAML for coreos-cloudinit.
    CloudConfig,
    /// JSON for Ignition.
    Ignition,
    /// A script for iPXE.
    Ipxe,
    /// A program that begins with `#!`.
    Script,
    /// Anything else; only what no reader could take is a fault.
    Text,
}

impl Kind {
    /// Told by a file's name, and by how its text begins.
    pub fn of(path: &[u8], text: &[u8]) -> Self {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path).to_ascii_lowercase();
        let first = text.split(|&byte| byte == b'\n').next().unwrap_or(text).trim_ascii();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|s| name.ends_with(s.as_bytes()));
        if ends(&[".ign"]) || (ends(&[".json"]) && mentions(text, b"\"ignition")) {
            Self::Ignition
        } else if first == b"#!ipxe" || ends(&[".ipxe"]) {
            Self::Ipxe
        } else if first.starts_with(b"#!") || ends(&[".sh"]) {
            Self::Script
        } else if first == b"#cloud-config"
            || ends(&["cloud-config.yaml", "cloud-config.yml"])
            || name == b"user-data"
        {
            Self::CloudConfig
        } else {
            Self::Text
        }
    }
}

/// Whether a text has these bytes; a config that is no JSON any more is still meant for Ignition.
fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

const KINDS: [(&str, Kind); 5] = [
    ("cloud-config", Kind::CloudConfig),
    ("ignition", Kind::Ignition),
    ("ipxe", Kind::Ipxe),
    ("script", Kind::Script),
    ("text", Kind::Text),
];

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

/// Whose tools will read a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// CoreOS Container Linux, and its version, such as 1122.2.0, or another word if none is known.
    CoreOs(String),
    /// Fedora CoreOS.
    FedoraCoreOs,
    /// Flatcar Container Linux, and its version if it is known.
    Flatcar(Option<String>),
    /// Anyone.
    Unknown,
}

impl Target {
    /// Told by the kernel that a profile boots.
    pub fn of(kernel_path: &str) -> Self {
        let name = kernel_path.rsplit('/').next().unwrap_or(kernel_path);
        let version = kernel_path.split('/').find(|part| is_release(part)).map(str::to_owned);
        if name.starts_with("flatcar_production") {
            Self::Flatcar(version)
        } else if name.starts_with("coreos_production") {
            Self::CoreOs(version.unwrap_or_else(|| "current".to_owned()))
        } else if name.starts_with("fedora-coreos") {
            Self::FedoraCoreOs
        } else {
            Self::Unknown
        }
    }

    /// Told by the kernel's arguments where its name does not tell.
    pub fn or_by_arg(self, arg: &str) -> Self {
        let begins = |keys: &[&str]| keys.iter().any(|key| arg.starts_with(key));
        if self != Self::Unknown {
            self
        } else if begins(&["flatcar."]) {
            Self::Flatcar(None)
        } else if begins(&["coreos.inst.", "coreos.live."]) {
            Self::FedoraCoreOs
        } else {
            Self::Unknown
        }
    }

    /// The first number of its version, which counts days.
    fn major(&self) -> Option<u32> {
        let version = match self {
            Self::CoreOs(version) => Some(version),
            Self::Flatcar(version) => version.as_ref(),
            Self::FedoraCoreOs | Self::Unknown => None,
        };
        version?.split('.').next()?.parse().ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoreOs(version) => write!(f, "CoreOS {version}"),
            Self::FedoraCoreOs => f.write_str("Fedora CoreOS"),
            Self::Flatcar(None) => f.write_str("Flatcar"),
            Self::Flatcar(Some(version)) => write!(f, "Flatcar {version}"),
            Self::Unknown => f.write_str("the machine"),
        }
    }
}

fn is_release(word: &str) -> bool {
    let numbers: Vec<&str> = word.split('.').collect();
    let digits = |n: &&str| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
    numbers.len() == 3 && numbers.iter().all(digits)
}

/// How bad a fault is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Shown, and served all the same.
    Warning,
    /// Never served.
    Error,
}

/// One thing that the real tool would refuse, or drop in silence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Line within the text, from 1.
    pub line: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, and what to write instead.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// The faults found so far.
#[derive(Debug, Default)]
struct Report(Vec<Fault>);

impl Report {
    fn error(&mut self, line: usize, text: impl Into<String>) {
        self.add(line, Severity::Error, text.into());
    }

    fn warn(&mut self, line: usize, text: impl Into<String>) {
        self.add(line, Severity::Warning, text.into());
    }

    fn add(&mut self, line: usize, severity: Severity, text: String) {
        let fault = Fault { line, severity, text };
        if !self.is_full() && !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    /// Whether to look no further.
    fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.0;
        faults.sort_by_key(|fault| fault.line);
        faults
    }
}

/// Faults told of one text: who has more mends these first.
const MOST: usize = 100;
