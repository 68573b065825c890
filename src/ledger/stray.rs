//! An image that is sent where nobody known installs: whose it may be.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{Book, Install};
use crate::{
    catalog::{Catalog, Source},
    machine::Mac,
    path::RepositoryPath,
    release::Release,
};

/// An image on its way to an address that is no installing machine's: the second card of one, one
/// that a person gave it, or a neighbour who looks around.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stray {
    /// Where it goes.
    pub to: Ipv4Addr,
    /// Profiles whose machines surely do not install it, or may be installed again in any case.
    unconcerned: BTreeSet<String>,
}

impl Stray {
    /// This image, on its way to that address.
    pub fn new(to: Ipv4Addr, image: &RepositoryPath, catalog: &Catalog) -> Self {
        let profiles = catalog.groups().iter().map(|group| &group.profile);
        let unconcerned = profiles.filter(|profile| {
            let kernel = match &profile.kernel {
                Source::Repository(kernel) => Some(kernel),
                Source::Url(_) => None,
            };
            profile.install != Install::Once || !Release::may_install(kernel, image)
        });
        Self { to, unconcerned: unconcerned.map(|profile| profile.name.clone()).collect() }
    }

    /// The machines that may be the one that fetches it, each once an attempt: who fetches images
    /// all day has nobody left to cast a doubt on.
    pub fn may_be(&self, book: &Book) -> Vec<Mac> {
        let concerned = book.open().filter(|record| {
            let attempt = record.state.attempt();
            attempt.is_some_and(|attempt| !self.unconcerned.contains(&attempt.profile))
        });
        concerned.map(|record| record.machine.mac).collect()
    }
}
