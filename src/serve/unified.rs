//! Unified kernel images: stubs read at load, and an image's files opened for the machine that
//! fetches it, by the same decision as its script.

use std::{collections::BTreeMap, fmt::Display, sync::Arc};

use super::{
    disk::{Area, Held},
    http::{Arrival, Composed},
    releases::Proofs,
    scripts::Renderer,
    site::Site,
    verdict::{Asking, Filling, Teller, Verdict},
};
use crate::{
    catalog::{Group, Profile, Source},
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
        site: &Arc<Site>,
        arrival: Arrival,
    ) -> Result<Composed, Refusal> {
        let stub = site.stubs.get(&name.stub).ok_or(Refusal::NoSuchFile)?;
        let heard = Machine::heard(name.mac, name.uuid, None);
        let machine = self.ledger.with(|book| book.recall(&heard)).told_by_uefi(stub.processor());
        let own = heard.told_by_uefi(stub.processor());
        let asking = Asking { machine, own, teller: Teller::Firmware, site, arrival };
        let fill = |group: &Group, words: &Words| self.filling(name, group, words, site);
        let verdict = match verb {
            Verb::Get => self.verdict(asking, &fill).await,
            Verb::Head => self.foresee(asking, &fill).await,
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

    /// Composes it where the disk may take its time.
    fn filling(
        &self,
        name: &Name,
        group: &Group,
        words: &Words,
        site: &Arc<Site>,
    ) -> Filling<'static, Composed> {
        let profile = Arc::clone(&group.profile);
        let arguments = arguments(group, words)
            .map_err(|error| format!("an argument of profile {} {error}", profile.name));
        let (name, site, proofs) = (name.clone(), Arc::clone(site), self.proofs());
        Box::pin(async move {
            if profile.chains || profile.initrd.iter().any(|initrd| !initrd.args.is_empty()) {
                return Err(format!("profile {} is for iPXE alone", profile.name));
            }
            let arguments = arguments?.join(" ");
            let area = match &profile.kernel {
                Source::Repository(path) => Area::of(path),
                Source::Url(url) => return Err(elsewhere(url)),
            };
            let composed = move || compose(&name.stub, &profile, &arguments, (&*site, &*proofs));
            area.look(composed).await.map_err(|stall| stall.to_string())?
        })
    }
}

/// Opens the files of an image, and composes it.
fn compose(
    stub: &RepositoryPath,
    profile: &Profile,
    arguments: &str,
    from: (&Site, &Proofs),
) -> Result<Composed, String> {
    let stub = from.0.stubs.get(stub).ok_or_else(|| format!("{stub} is not here"))?;
    let kernel = open(&profile.kernel, from)?;
    let head = kernel.head(HEAD).map_err(|error| error.to_string())?;
    stub.processor()
        .starts(&head)
        .map_err(|error| format!("the kernel of profile {} {error}", profile.name))?;
    let initrds: Vec<Held> =
        profile.initrd.iter().map(|initrd| open(&initrd.source, from)).collect::<Result<_, _>>()?;
    let lens: Vec<u64> = initrds.iter().map(|initrd| initrd.stamp.len).collect();
    let image = stub
        .image(arguments, kernel.stamp.len, &lens)
        .map_err(|error| format!("profile {}: {error}", profile.name))?;
    Ok(Composed { image, kernel, initrds })
}

fn open(source: &Source, (site, proofs): (&Site, &Proofs)) -> Result<Held, String> {
    match source {
        Source::Repository(path) => {
            proofs.admits(path)?;
            let opened = site.store.read(path).map_err(|error| format!("{path} {error}"))?;
            Ok(Area::of(path).hold(opened))
        }
        Source::Url(url) => Err(elsewhere(url)),
    }
}

fn elsewhere(url: &impl Display) -> String {
    format!(
        "{url} is elsewhere, and a unified image is made of files of the repository: put it there"
    )
}
