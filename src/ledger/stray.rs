//! An image that is sent where nobody known installs: whose it may be.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{Book, Install, Piece, Record};
use crate::{
    catalog::{Catalog, Source},
    machine::Mac,
    path::{RepositoryPath, UrlPath},
    release::Release,
};

/// A file that an installer needs, on its way to an address of no installing machine: a
/// second card's, one that a person gave it, or a neighbour's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stray {
    /// Where it goes.
    pub to: Ipv4Addr,
    path: UrlPath,
    /// Profiles whose machines surely do not install it, or may be installed again in any case;
    /// absent where it concerns only those who are known to fetch it last.
    unconcerned: Option<BTreeSet<String>>,
}

impl Stray {
    /// This image, on its way to that address.
    pub fn new(to: Ipv4Addr, image: &RepositoryPath, catalog: &Catalog) -> Self {
        let profiles = catalog.profiles().iter();
        let (unconcerned, concerned): (Vec<_>, Vec<_>) = profiles.partition(|profile| {
            let kernel = match &profile.kernel {
                Source::Repository(kernel) => Some(kernel),
                Source::Url(_) => None,
            };
            profile.install != Install::Once || !Release::may_install(kernel, image)
        });
        // A profile may have other paths in each group.
        let is_other = |name: &String| concerned.iter().all(|profile| profile.name != *name);
        let names = unconcerned.into_iter().map(|profile| profile.name.clone());
        let unconcerned = names.filter(is_other).collect();
        Self { to, path: UrlPath::from(image), unconcerned: Some(unconcerned) }
    }

    /// This file or text, on its way to that address; `None` where it is nobody's goal. A kernel or
    /// an initrd is none: who boots one has asked for its script from the same address.
    pub fn of(to: Ipv4Addr, path: &UrlPath, catalog: &Catalog, book: &Book) -> Option<Self> {
        if let Some(image) = path.file().filter(|file| Piece::of(file.as_bytes()) == Piece::Image) {
            return Some(Self::new(to, &image, catalog));
        }
        let stray = Self { to, path: path.clone(), unconcerned: None };
        let mut profiles = catalog.profiles().iter();
        let file = path.file();
        let boots = file.is_some_and(|file| profiles.any(|profile| profile.boots_with(&file)));
        // A machine that is being installed fetches for itself. The address of another one may be
        // somebody else's by now.
        let holder = book.at(to);
        let is_concerned = !boots
            && holder.is_none_or(|holder| !holder.fetches_for_itself())
            && book.open().any(|record| stray.fits(record));
        is_concerned.then_some(stray)
    }

    fn fits(&self, record: &Record) -> bool {
        let Some((profile, goal)) = record.unsettled() else { return false };
        let names = |path| goal.is_some_and(|goal| goal.has_file(path) || goal.has_image(path));
        match &self.unconcerned {
            Some(unconcerned) => !unconcerned.contains(profile),
            None => names(&self.path),
        }
    }

    /// The machines that may be the one that fetches it, each once an attempt: who fetches images
    /// all day has nobody left to cast a doubt on.
    pub fn may_be(&self, book: &Book) -> Vec<Mac> {
        let concerned = book.open().filter(|record| self.fits(record));
        concerned.map(|record| record.machine.mac).collect()
    }
}
