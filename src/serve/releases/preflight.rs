//! What `check` can say of releases without reading them whole.

use std::collections::BTreeMap;

use super::{
    scan::{of_subject, subject},
    verifier::Verifier,
};
use crate::{
    catalog::{Profile, Source},
    config::{Config, Problem},
    release::{Finding, Gate, cautions, gate},
    serve::site::Site,
};

/// What is wrong with the releases that profiles boot, and what only may be.
#[derive(Debug, Default)]
pub struct Preflight {
    /// Profiles that would not be served, and a keyring that cannot be used.
    pub problems: Vec<Problem>,
    /// What an operator may not expect.
    pub warnings: Vec<String>,
}

impl Preflight {
    /// Looks at each profile's release.
    pub fn of(site: &Site) -> Self {
        let mut preflight = Self::default();
        let verifier = site.config.keyring.as_ref().and_then(|keyring| {
            let refused = |error: super::KeyringError| {
                let place = keyring.place.clone();
                preflight.problems.push(Problem { place, text: error.to_string() });
            };
            Verifier::new(&keyring.path, None).map_err(refused).ok()
        });
        for profile in site.config.catalog.profiles() {
            preflight.add(site, profile, verifier.as_ref());
        }
        preflight
    }

    fn add(&mut self, site: &Site, profile: &Profile, verifier: Option<&Verifier>) {
        let subject = subject(profile);
        let releases = of_subject(&site.store, &subject);
        let mut findings = BTreeMap::new();
        // A keyring that cannot be used is told once, and not again for every profile.
        if let Some(verifier) = verifier.filter(|_| profile.verify) {
            let parts = releases.iter().flat_map(|release| release.parts.values());
            findings.extend(parts.filter(|part| part.is_signed()).filter_map(|part| {
                let verdict = verifier.glance(&site.store, part)?;
                Some((part.path.clone(), Finding::Done(verdict)))
            }));
        }
        let name = &profile.name;
        match gate(&subject, &releases, &findings) {
            Gate::Closed(reason) => {
                let text = format!("profile {name} would not be served: {reason}");
                self.problems.push(problem(&site.config, profile, text));
            }
            Gate::Open | Gate::Pending(_) => {}
        }
        let cautions = cautions(&subject, &releases);
        self.warnings.extend(cautions.into_iter().map(|text| format!("profile {name}: {text}")));
    }
}

/// A problem at the line that names the kernel; a URL has no line of its own.
fn problem(config: &Config, profile: &Profile, text: String) -> Problem {
    let is_kernel = |path| matches!(&profile.kernel, Source::Repository(kernel) if kernel == path);
    let named = config.files.iter().find(|file| is_kernel(&file.path));
    let place = named.map(|file| &file.place).or(config.keyring.as_ref().map(|ring| &ring.place));
    Problem { place: place.unwrap_or(&config.repository.place).clone(), text }
}
