//! TOML in, a [`Config`] that is valid by construction out.
//!
//! Every problem is found here, with its line and what to write instead; only what needs the disk
//! or the network (files, folders, interfaces) is left to `serve::site`. Never reads a file.

mod boot;
mod closed;
mod control;
mod error;
mod files;
mod initrd;
mod install;
mod live;
mod machines;
mod network;
mod patterns;
mod placeholder;
mod reach;
mod reader;
mod resolve;
mod select;
mod shape;
mod texts;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use crate::{
    catalog::{Catalog, Offer, Pattern},
    firmware::{BootFile, Firmware},
    path::RepositoryPath,
};
use closed::Closed;
pub use control::ControlSocket;
use error::Page;
pub use error::{ConfigError, Place, Problem};
pub use install::{installs, names_ignition};
pub use live::leaves_the_disk_alone;
pub use reach::Reaches;
use reader::Read;
pub use shape::{Access, Mode, Solicitations};
pub use texts::{Declared, Mention, Reader, has_coreos_cloudinit};

/// Everything an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read, as the operator calls it.
    pub name: String,
    /// Whether no key stands in it: it is empty, or all comments.
    pub is_blank: bool,
    /// Interfaces to serve on; when empty, the only one that has an IPv4 address.
    pub interfaces: Vec<NamedInterface>,
    /// Whether iPXE's question for an IPv6 router is answered.
    pub answer_router_solicitations: Solicitations,
    /// Whether machines are answered.
    pub mode: Mode,
    /// The machines that are answered at all; absent where all are.
    pub allow: Option<Vec<Pattern>>,
    /// How long an offer is held back.
    pub reply_delay: Duration,
    /// The form in which boot files are offered by PXE, where a group does not say.
    pub offer: Offer,
    /// Whether firmware that may come by HTTP Boot is left alone when it asks by PXE.
    pub prefer_http: bool,
    /// TCP port of HTTP.
    pub http_port: u16,
    /// Names under which install scripts may report, in lower case.
    pub http_names: BTreeSet<String>,
    /// How it is known which machine asks for a config.
    pub config_access: Access,
    /// The folder that is served at `/`.
    pub repository: Folder,
    /// Whose signatures on releases count: OpenPGP certificates.
    pub keyring: Option<Keyring>,
    /// A folder with boot programs of the operator's own.
    pub boot_programs: Option<Folder>,
    /// Where the commands reach the running server.
    pub control_socket: PathBuf,
    /// The file that remembers what each machine has done; outside of what is served.
    pub ledger: Folder,
    /// Attempts to install a machine before it is held.
    pub most_attempts: u32,
    /// The boot programs that the operator names for a firmware.
    pub named_programs: BTreeMap<Firmware, BootFile>,
    /// The boot programs that are named, for a firmware or for a group.
    pub boot_files: Vec<NamedBootFile>,
    /// What each machine should boot.
    pub catalog: Catalog,
    /// Where each machine that has values of its own is written, by its number in the catalog.
    pub machines: Vec<Place>,
    /// Machines that have values and are in no group.
    pub unused_machines: Vec<Problem>,
    /// The repository files that profiles name.
    pub files: Vec<NamedFile>,
    /// Where each profile is written, by its name.
    pub profiles: BTreeMap<String, ProfilePlaces>,
    /// The repository files that are templates.
    pub templates: Vec<Declared>,
    /// What arguments name at our own address.
    pub mentions: Vec<Mention>,
    /// The groups that install on more machines than anybody has named.
    pub reaches: Reaches,
    /// What of that only a token opens, where configs are given by token.
    closed: BTreeSet<Closed>,
}

/// An interface, and where it is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedInterface {
    /// The kernel's name.
    pub name: String,
    /// The line that names it.
    pub place: Place,
}

/// A folder, and where it is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folder {
    /// Absolute.
    pub path: PathBuf,
    /// The default stands in no line.
    pub place: Place,
}

/// A file outside the repository, and where it is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keyring {
    /// Absolute.
    pub path: PathBuf,
    /// The line that names it.
    pub place: Place,
}

/// Where releases are, and what is known of their signatures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Releases {
    /// The folder that they are beneath.
    pub repository: Folder,
    /// Whose signatures count.
    pub keyring: Option<Keyring>,
    /// The ledger's file; what was verified is remembered beside it.
    pub ledger: PathBuf,
}

/// A file that must be there before a machine asks for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedFile {
    /// Where in the repository.
    pub path: RepositoryPath,
    /// The line that names it.
    pub place: Place,
}

/// Where the parts of a profile are written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProfilePlaces {
    /// Its name.
    pub name: Place,
    /// Its kernel.
    pub kernel: Place,
    /// Its initrds, in order.
    pub initrd: Vec<Place>,
    /// Its arguments, in order.
    pub args: Vec<Place>,
}

/// A boot program that must be there before a machine asks for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedBootFile {
    /// Where in what is served.
    pub path: RepositoryPath,
    /// What it is named for; a group's is for the firmware that it is made for.
    pub firmware: Option<Firmware>,
    /// The line that names it.
    pub place: Place,
}

/// A file of the config.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Text {
    /// What the operator calls it, for errors.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

impl Config {
    /// Reads a config of one file; `name` is what the operator calls it, for errors.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        Self::assemble(&Text { name: name.to_owned(), text: text.to_owned() }, &[])
    }

    /// Reads a config and the files beside it that hold only profiles and groups, in this order.
    pub fn assemble(main: &Text, beside: &[Text]) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut fragments = Vec::new();
        let main = Page::new(0, &main.name, &main.text);
        problems.extend(placeholder::placeholders(&main));
        let Read { file, problems: misfits } = reader::read::<shape::File>(&main);
        problems.extend(misfits);
        for (index, text) in beside.iter().enumerate() {
            let page = Page::new(index + 1, &text.name, &text.text);
            problems.extend(placeholder::placeholders(&page));
            let Read { file, problems: misfits } = reader::read::<shape::Fragment>(&page);
            problems.extend(misfits);
            fragments.push((page, file));
        }
        let is_partial = !problems.is_empty();
        let resolved = resolve::resolve(&main, file, fragments, is_partial);
        if let Err(error) = &resolved {
            // A line that does not fit its shape has its problem already.
            let news: Vec<Problem> = error
                .problems
                .iter()
                .filter(|problem| problems.iter().all(|known| known.place != problem.place))
                .cloned()
                .collect();
            problems.extend(news);
        }
        match ConfigError::of(problems) {
            Some(error) => Err(error),
            None => resolved,
        }
    }

    /// Whether `next` is served elsewhere.
    pub fn names_other_interfaces(&self, next: &Self) -> bool {
        let names = |config: &Self| -> Vec<String> {
            config.interfaces.iter().map(|interface| interface.name.clone()).collect()
        };
        names(self) != names(next)
    }

    /// Whether going over to `next` means other sockets, which are opened only at start.
    pub fn needs_restart(&self, next: &Self) -> bool {
        self.names_other_interfaces(next)
            || self.http_port != next.http_port
            || self.answer_router_solicitations != next.answer_router_solicitations
            || self.control_socket != next.control_socket
            || self.ledger.path != next.ledger.path
    }

    /// Where the commands reach the server that runs with this config. Reads nothing else of it.
    pub fn control_socket(main: &Text) -> Result<ControlSocket, ConfigError> {
        let page = Page::new(0, &main.name, &main.text);
        match toml::from_str::<shape::ControlOnly>(&main.text) {
            Ok(file) => {
                let path = control::socket(&page, file.control.socket)?;
                Ok(ControlSocket { path, note: None })
            }
            // Either it is no TOML, or the socket itself is wrong, and then nothing else tells it.
            Err(error) => match toml::from_str::<toml::Table>(&main.text) {
                Ok(_) => Err(ConfigError { problems: vec![page.syntax(&error)] }),
                Err(error) => Ok(control::socket_of_broken(&page, &error)),
            },
        }
    }

    /// Where releases, the keyring for them and the ledger are. Reads nothing else of a config.
    pub fn releases(main: &Text) -> Result<Releases, ConfigError> {
        let page = Page::new(0, &main.name, &main.text);
        match toml::from_str::<shape::ReleasesOnly>(&main.text) {
            Ok(file) => resolve::releases(&page, file),
            Err(error) => Err(ConfigError { problems: vec![page.syntax(&error)] }),
        }
    }

    /// Whether a group's profile writes to disks.
    pub fn installs(&self) -> bool {
        self.catalog.groups().iter().any(|group| group.profile.installs())
    }

    /// What holds when there is no config file: no machine is answered.
    #[expect(clippy::expect_used, reason = "a test parses the empty text")]
    pub fn built_in() -> Self {
        Self::parse("", "built-in defaults").expect("the defaults are valid")
    }
}

#[cfg(test)]
mod tests;
