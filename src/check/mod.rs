//! What the texts that machines are given would make the real tools refuse or drop in silence:
//! Ignition, coreos-cloudinit, iPXE and the kernel's `#!`.
//!
//! Pure: a text, what it is for and who will read it in, faults with their lines out. A fault that
//! is an error means that the text must not reach a machine; where the real tool would take a text
//! that cannot do what its author meant (a misspelt key), we are stricter, never laxer.

pub mod boot;
mod cloud;
mod cloud_init;
mod ignition;
mod ipxe;
mod json;
mod kickstart;
mod kind;
mod looks;
mod near;
mod preseed;
mod script;
mod shape;
mod text;
mod url;
mod xml;
mod yaml;

#[cfg(test)]
mod tests;

use std::fmt;

pub use kind::{Kind, UnknownKind};
pub use shape::{remedy, shape};
pub use text::GZIP;

/// What the shipped examples say where only the operator knows, secrets above all.
pub const PLACEHOLDER: &str = "CHANGE-ME";

/// How to have a text served whatever is found in it.
const MEANT: &str = "if it is meant, declare the file in [[template]] with kind = \"text\"";

/// All that is wrong with a text that is given away as it is, in the order of its lines.
pub fn faults(kind: Kind, text: &[u8], target: &Target) -> Vec<Fault> {
    let mut report = Report::default();
    text::markers(kind, text, &mut report);
    look(kind, text, target, &mut report);
    report.into_faults()
}

/// The same of a text whose words are filled in: braces that are left in it are somebody else's.
pub fn faults_filled(kind: Kind, text: &[u8], target: &Target) -> Vec<Fault> {
    let mut report = Report::default();
    look(kind, text, target, &mut report);
    report.into_faults()
}

fn look(kind: Kind, text: &[u8], target: &Target, report: &mut Report) {
    if text.starts_with(GZIP) && cloud_init::unpacks(kind) {
        cloud_init::check_packed(kind, text, report);
        return;
    }
    let Some(text) = text::read(kind, text, report) else { return };
    if looks::is_misfit(kind, text, report) {
        return;
    }
    match kind {
        Kind::Autoinstall => cloud_init::check_autoinstall(text, report),
        Kind::AutoYast => xml::check_autoyast(text, report),
        Kind::CloudConfig => cloud::check(text, target, report),
        Kind::CloudInit => cloud_init::check(text, report),
        Kind::Ignition => ignition::check(text, target, report),
        Kind::Ipxe => ipxe::check(text, report),
        Kind::Json => {
            json::parse(text, report);
        }
        Kind::Kickstart => kickstart::check(text, report),
        Kind::Preseed => preseed::check(text, report),
        Kind::Script => script::check(text, report),
        Kind::Talos => yaml::check_talos(text, report),
        Kind::Text => {}
        Kind::Xml => xml::check(text, report),
        Kind::Yaml => {
            yaml::documents(text, report);
        }
    }
}

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
