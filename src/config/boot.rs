//! What a config says of boot programs.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{NamedBootFile, resolve::Desk};
use crate::{
    firmware::{BootFile, Firmware},
    path::RepositoryPath,
};

/// What UEFI HTTP Boot can fetch a program by.
const SCHEMES: [&str; 2] = ["http://", "https://"];

impl Desk<'_> {
    /// The boot programs of `[boot.programs]`.
    pub(super) fn programs(
        &mut self,
        written: BTreeMap<Firmware, Spanned<String>>,
    ) -> BTreeMap<Firmware, BootFile> {
        let named = |(firmware, name)| Some((firmware, self.boot_file(&name, Some(firmware))?));
        written.into_iter().filter_map(named).collect()
    }

    /// One boot program, for a firmware or for those of a group.
    pub(super) fn boot_file(
        &mut self,
        written: &Spanned<String>,
        firmware: Option<Firmware>,
    ) -> Option<BootFile> {
        let text = written.get_ref();
        if SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                self.wrong(written, format!("{text:?} has a space; write it as %20"));
                return None;
            }
            return Some(BootFile::Url(text.clone()));
        }
        match RepositoryPath::parse(text.as_bytes()) {
            Ok(path) => {
                let place = self.page.place(written);
                self.boot_files.push(NamedBootFile { path: path.clone(), firmware, place });
                Some(BootFile::Served(path))
            }
            Err(error) => {
                self.wrong(written, format!("{text:?} {error}"));
                None
            }
        }
    }
}
