//! The boot programs of a site: each is opened once, when the site is loaded, and looked at for what
//! it is made for and whether images can be made with it.

use std::collections::BTreeMap;

use super::{
    store::{OpenError, Store},
    unified::Stubs,
};
use crate::{
    config::{Config, NamedBootFile, Problem},
    firmware::{Firmware, Programs, made_for},
    path::RepositoryPath,
    unified::{HEAD, Processor, Stub},
};

/// What firmware is given, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) programs: Programs,
    pub(super) stubs: Stubs,
    /// Of what the config names: it is nowhere, or for another firmware.
    pub(super) problems: Vec<Problem>,
    /// Of what is there by itself, and that those are missing which nearly every LAN needs.
    pub(super) warnings: Vec<String>,
}

impl Shelf {
    pub(super) fn look(config: &Config, store: &Store) -> Self {
        let mut desk = Desk { store, looked_at: BTreeMap::new() };
        let (mut problems, mut made_for) = (Vec::new(), Vec::new());
        for file in &config.boot_files {
            let looked = desk.look(&file.path);
            problems.extend(wrong(file, looked));
            made_for.extend(looked.as_ref().ok().and_then(|it| Some((&file.path, it.made_for?))));
        }
        let mut warnings = Vec::new();
        let is_there = |path: &RepositoryPath| match desk.look(path) {
            Ok(Program { stub: Some(Err(unfit)), .. }) => {
                warnings.push(unfit.clone());
                false
            }
            Ok(_) => true,
            Err(_) => false,
        };
        let mut programs = Programs::new(&config.named_programs, is_there);
        for (path, firmware) in made_for {
            programs.note(path.clone(), firmware);
        }
        warnings.extend(missing(&programs));
        Self { programs, stubs: desk.stubs(), problems, warnings }
    }
}

/// A boot program that is there.
struct Program {
    /// As it says itself.
    made_for: Option<Firmware>,
    /// Absent where it has no stub's name; the error says what is wrong with it, and what to do.
    stub: Option<Result<Stub, String>>,
}

struct Desk<'a> {
    store: &'a Store,
    looked_at: BTreeMap<RepositoryPath, Result<Program, OpenError>>,
}

impl Desk<'_> {
    fn look(&mut self, path: &RepositoryPath) -> &Result<Program, OpenError> {
        let store = self.store;
        self.looked_at.entry(path.clone()).or_insert_with(|| Program::read(path, store))
    }

    fn stubs(self) -> Stubs {
        let stub = |(path, looked): (_, Result<Program, _>)| Some((path, looked.ok()?.stub?.ok()?));
        self.looked_at.into_iter().filter_map(stub).collect()
    }
}

impl Program {
    fn read(path: &RepositoryPath, store: &Store) -> Result<Self, OpenError> {
        let opened = store.read(path)?;
        let processor = Processor::of_stub(path.file_name());
        let bytes = opened.head(processor.map_or(HEAD, |_| Stub::LARGEST + 1))?;
        let made_for = made_for(&bytes[..bytes.len().min(HEAD)]);
        let stub = processor.map(|processor| {
            Stub::read(&bytes, processor).map_err(|unfit| {
                format!("{path} {unfit}; put systemd's {} there", processor.stub())
            })
        });
        Ok(Self { made_for, stub })
    }
}

/// What is wrong with a boot program that the config names.
fn wrong(file: &NamedBootFile, looked: &Result<Program, OpenError>) -> Option<Problem> {
    let path = &file.path;
    let text = match looked {
        Err(error) => format!(
            "boot program {path}: {error}; put it into [firmware] dir or beneath [repository] root, \
             or name another"
        ),
        Ok(program) => match (program.made_for, file.firmware, &program.stub) {
            (Some(made_for), Some(named_for), _) if made_for != named_for => {
                format!("boot program {path} is for {made_for}, not for {named_for}; name another")
            }
            (_, _, Some(Err(unfit))) => unfit.clone(),
            (_, _, Some(Ok(_)) | None) => return None,
        },
    };
    Some(Problem { place: file.place.clone(), text })
}

fn missing(programs: &Programs) -> impl Iterator<Item = String> {
    [Firmware::Bios, Firmware::Efi64].into_iter().filter_map(|firmware| {
        let name = firmware.usual_programs().first()?;
        programs.get(firmware).is_none().then(|| {
            format!(
                "no {name}, so {firmware} machines will not be answered: build with it (run \
                 firmware/fetch, then build), or put it into [firmware] dir"
            )
        })
    })
}
