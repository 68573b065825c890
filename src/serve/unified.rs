//! Unified kernel images: stubs read at load, and an image's files opened for the machine that
//! fetches it, by the same decision as its script.

use std::{collections::BTreeMap, sync::Arc};

use hyper::body::Bytes;

use super::{
    http::{Arrival, Composed, Portion},
    scripts::{Renderer, Verdict, told_too_little},
    site::Site,
    store::{OpenError, Opened, Store},
};
use crate::{
    catalog::{Catalog, Group, NotTold, Source},
    config::Config,
    firmware::{BootFile, Firmware, Programs},
    http::{reply::Refusal, request::Verb},
    machine::Machine,
    path::RepositoryPath,
    render::arguments,
    template::Words,
    unified::{HEAD, Image, Name, Piece, Processor, Stub, Unfit},
};

/// The stubs that images are made with, by their names.
pub type Stubs = BTreeMap<RepositoryPath, Stub>;

/// The stubs that firmware or groups are given; what is wrong with one is said elsewhere.
pub(super) fn stubs(config: &Config, programs: &Programs, store: &Store) -> Stubs {
    let groups = config.catalog.groups().iter();
    let named = groups.filter_map(|group| group.boot.program.as_ref());
    let usual = Firmware::ALL.into_iter().filter_map(|firmware| programs.get(firmware));
    let stub = |program: &BootFile| {
        let (path, _) = program.stub()?;
        Some((path.clone(), read(store, path).ok()?))
    };
    named.chain(usual).filter_map(stub).collect()
}

/// Why a boot program that is named, and is there, is no stub to make images with; `None` where it is
/// one, or has no stub's name.
pub(super) fn unfit(store: &Store, path: &RepositoryPath) -> Option<String> {
    Processor::of_stub(path.file_name())?;
    read(store, path).err()
}

/// Reads a stub; the error says what is wrong with it, and what to do.
pub(super) fn read(store: &Store, path: &RepositoryPath) -> Result<Stub, String> {
    let processor = Processor::of_stub(path.file_name())
        .ok_or_else(|| format!("{path} has no name that systemd gives to a stub"))?;
    let unread = |error: OpenError| format!("{path}: {error}");
    let opened = store.read(path).map_err(unread)?;
    let bytes = opened.head(Stub::LARGEST + 1).map_err(|error| unread(error.into()))?;
    Stub::read(&bytes, processor)
        .map_err(|unfit: Unfit| format!("{path} {unfit}; put systemd's {} there", processor.stub()))
}

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
        if let Err(NotTold) = site.config.catalog.select_by_firmware(&machine) {
            let reason = told_too_little(machine.mac);
            if verb == Verb::Get {
                self.notes(&machine, &reason);
            }
            return Err(Refusal::NoBoot(reason));
        }
        let make = |group: &Group, words: &Words| self.compose(stub, group, words, site);
        let verdict = match verb {
            Verb::Get => self.verdict(machine, site, arrival, &make).await,
            Verb::Head => self.foresee(machine, site, arrival, &make),
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
        Ok(composed(image, kernel, initrds))
    }

    fn open(&self, source: &Source, site: &Site) -> Result<Opened, String> {
        match source {
            Source::Repository(path) => {
                self.proofs.borrow().admits(path)?;
                site.store.read(path).map_err(|error| format!("{path} {error}"))
            }
            Source::Url(url) => Err(format!(
                "{url} is elsewhere, and a unified image is made of files of the repository: put it \
                 there"
            )),
        }
    }
}

/// Why no group is for a machine of which nothing but its firmware tells.
pub(super) fn no_group(machine: &Machine, catalog: &Catalog) -> String {
    let reason = format!("no group matches {}", machine.mac);
    let heard = Machine::heard(machine.mac, machine.uuid, machine.platform);
    match catalog.may_select(&heard) && !machine.tells_by_ipxe() {
        true => format!(
            "{reason}: without iPXE it tells only mac, uuid, arch and firmware for a group to \
             select by"
        ),
        false => reason,
    }
}

fn composed(image: Image, kernel: Opened, initrds: Vec<Opened>) -> Composed {
    let Image { pieces, len } = image;
    let kernel = Arc::new(kernel);
    let initrds: Vec<Arc<Opened>> = initrds.into_iter().map(Arc::new).collect();
    let portions = pieces
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Bytes(bytes) => Some(Portion::Bytes(bytes.into())),
            Piece::Initrd(index, len) => Some(Portion::File(Arc::clone(initrds.get(index)?), len)),
            Piece::Kernel(len) => Some(Portion::File(Arc::clone(&kernel), len)),
            Piece::Shared(bytes) => Some(Portion::Bytes(Bytes::from_owner(bytes))),
        })
        .collect();
    Composed { portions, len }
}
