//! Unified kernel images: stubs read at load, and an image's files opened for the machine that
//! fetches it, by the same decision as its script.

use std::collections::BTreeMap;

use super::{
    http::{Arrival, Composed},
    scripts::Renderer,
    site::Site,
    store::Opened,
    verdict::{Asking, Teller, Verdict},
};
use crate::{
    catalog::{Group, Source},
    http::{reply::Refusal, request::Verb},
    machine::Machine,
    path::RepositoryPath,
    render::arguments,
    template::Words,
    unified::{HEAD, Name, Stub},
};

/// The stubs that images are made with, by their names.
pub type Stubs = BTreeMap<RepositoryPath, Stub>;

impl Renderer {
    /// The image of the machine it is named after. A HEAD learns how long it would be now, decides
    /// nothing and leaves no trace.
    pub(super) async fn composed(
        &self,
        verb: Verb,
        name: &Name,
        site: &Site,
        arrival: Arrival,
    ) -> Result<Composed, Refusal> {
        let stub = site.stubs.get(&name.stub).ok_or(Refusal::NoSuchFile)?;
        let heard = Machine::heard(name.mac, name.uuid, None);
        let machine = self.ledger.with(|book| book.recall(&heard)).told_by_uefi(stub.processor());
        let asking = Asking { machine, teller: Teller::Firmware, site, arrival };
        let fill = |group: &Group, words: &Words| self.compose(stub, group, words, site);
        let verdict = match verb {
            Verb::Get => self.verdict(asking, &fill).await,
            Verb::Head => self.foresee(asking, &fill),
        };
        match verdict {
            Verdict::Boot(composed) => Ok(composed),
            // A firmware that is given nothing goes on to its next boot device, whichever that is.
            Verdict::Disk { reason, .. } | Verdict::Hold(reason) | Verdict::Nothing(reason) => {
                Err(Refusal::NoBoot(reason))
            }
            Verdict::NotYet(reason) => Err(Refusal::NotReady(reason)),
        }
    }

    fn compose(
        &self,
        stub: &Stub,
        group: &Group,
        words: &Words,
        site: &Site,
    ) -> Result<Composed, String> {
        let profile = &group.profile;
        let arguments = arguments(group, words)
            .map_err(|error| format!("an argument of profile {} {error}", profile.name))?;
        let kernel = self.open(&profile.kernel, site)?;
        let head = kernel.head(HEAD).map_err(|error| error.to_string())?;
        stub.processor()
            .starts(&head)
            .map_err(|error| format!("the kernel of profile {} {error}", profile.name))?;
        let initrds: Vec<Opened> = profile
            .initrd
            .iter()
            .map(|source| self.open(source, site))
            .collect::<Result<_, _>>()?;
        let lens: Vec<u64> = initrds.iter().map(|initrd| initrd.stamp.len).collect();
        let image = stub
            .image(&arguments.join(" "), kernel.stamp.len, &lens)
            .map_err(|error| format!("profile {}: {error}", profile.name))?;
        Ok(Composed { image, kernel, initrds })
    }

    fn open(&self, source: &Source, site: &Site) -> Result<Opened, String> {
        match source {
            Source::Repository(path) => {
                self.proofs().admits(path)?;
                site.store.read(path).map_err(|error| format!("{path} {error}"))
            }
            Source::Url(url) => Err(format!(
                "{url} is elsewhere, and a unified image is made of files of the repository: put it \
                 there"
            )),
        }
    }
}
