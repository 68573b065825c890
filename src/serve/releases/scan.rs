//! Looks for releases beneath the repository's root, within limits.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    os::fd::AsFd as _,
};

use nix::{dir::Type, sys::stat::fstat};

use super::super::store::{Content, OpenError, Store};
use crate::{
    catalog::{Profile, Source},
    path::RepositoryPath,
    release::{Presence, Release, Subject, is_of_a_release},
};

/// Folders below folders that are looked into: a mirror has three or four.
const DEEPEST: usize = 8;
/// Names that are looked at, the repository over.
const MOST_ENTRIES: usize = 1_000_000;
/// Things to say of what could not be looked at.
const MOST_NOTES: usize = 20;
/// The longest `version.txt` that is read, in bytes.
const LONGEST_TEXT: u64 = 64 << 10;

/// What there is in a repository.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of their folders.
    pub releases: Vec<Release>,
    /// What was not looked at, and why.
    pub notes: Vec<String>,
}

/// Folders of releases that are looked into while a machine waits.
const MOST_BELOW: usize = 200;

/// A folder that is still to be looked into.
struct Waiting {
    folder: Option<RepositoryPath>,
    /// Device and inode of the folders it is in: a symlink may lead back to one.
    above: Vec<(u64, u64)>,
}

/// Finds every release below the repository's root. Follows symlinks, never out of it.
pub fn scan(store: &Store) -> io::Result<Found> {
    let mut found = Found::default();
    let mut waiting = VecDeque::from([Waiting { folder: None, above: Vec::new() }]);
    let mut entries = 0;
    while let Some(Waiting { folder, mut above }) = waiting.pop_front() {
        let Looked { identity, count, names, folders } = match look(store, folder.as_ref()) {
            Ok(looked) => looked,
            // A symlink to a file, or to nothing.
            Err(OpenError::NotFound | OpenError::NotAFile) if folder.is_some() => continue,
            Err(error) => match folder {
                None => return Err(io::Error::other(error.to_string())),
                Some(folder) => {
                    found.note(format!("{folder} {error}"));
                    continue;
                }
            },
        };
        if above.contains(&identity) {
            continue;
        }
        entries += count;
        if entries > MOST_ENTRIES {
            found.note(format!("only the first {MOST_ENTRIES} names were looked at"));
            break;
        }
        if let Some(folder) = &folder {
            found.releases.extend(releases_of(store, folder, &names));
        }
        above.push(identity);
        if above.len() > DEEPEST {
            continue;
        }
        for name in folders {
            let path = match &folder {
                Some(folder) => folder.join(&name),
                None => RepositoryPath::parse(&name),
            };
            // Nobody can ask for what is no path, either.
            if let Ok(path) = path {
                waiting.push_back(Waiting { folder: Some(path), above: above.clone() });
            }
        }
    }
    found
        .releases
        .sort_by(|one, other| (&one.folder, one.family).cmp(&(&other.folder, other.family)));
    Ok(found)
}

impl Found {
    fn note(&mut self, note: String) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(note);
        }
    }
}

/// One folder's content, as far as it matters.
struct Looked {
    identity: (u64, u64),
    /// Names of any kind.
    count: usize,
    /// Files of releases.
    names: Vec<Vec<u8>>,
    /// What is, or may be, a folder.
    folders: Vec<Vec<u8>>,
}

fn look(store: &Store, folder: Option<&RepositoryPath>) -> Result<Looked, OpenError> {
    let mut dir = store.list(folder)?;
    let stat = fstat(dir.as_fd())?;
    let identity = (stat.st_dev, stat.st_ino);
    let mut looked = Looked { identity, count: 0, names: Vec::new(), folders: Vec::new() };
    for entry in dir.iter().take(MOST_ENTRIES + 1) {
        let entry = entry?;
        looked.count += 1;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        // Some file systems do not tell the kind: trying does.
        let may_be_folder =
            matches!(entry.file_type(), None | Some(Type::Directory | Type::Symlink));
        if is_of_a_release(name) {
            looked.names.push(name.to_owned());
        } else if may_be_folder {
            looked.folders.push(name.to_owned());
        }
    }
    looked.folders.sort();
    Ok(looked)
}

/// The releases that these names of files make.
fn releases_of(store: &Store, folder: &RepositoryPath, names: &[Vec<u8>]) -> Vec<Release> {
    if names.is_empty() {
        return Vec::new();
    }
    let files = names.iter().map(|name| (&name[..], presence(store, folder, name)));
    let text = version_txt(store, Some(folder));
    let current = version_txt(store, sibling(folder, b"current").as_ref());
    Release::in_folder(folder, files, text.as_deref())
        .into_iter()
        .map(|release| release.with_current(current.as_deref()))
        .collect()
}

fn sibling(folder: &RepositoryPath, name: &[u8]) -> Option<RepositoryPath> {
    match folder.folder() {
        Some(base) => base.join(name).ok(),
        None => RepositoryPath::parse(name).ok(),
    }
}

fn presence(store: &Store, folder: &RepositoryPath, name: &[u8]) -> Presence {
    let Ok(path) = folder.join(name) else {
        return Presence::Absent;
    };
    match store.read(&path) {
        Ok(opened) if opened.stamp.len == 0 => Presence::Useless("is empty".to_owned()),
        Ok(opened) => Presence::Found(opened.stamp.len),
        Err(OpenError::NotFound) => Presence::Useless("is a symlink to nothing".to_owned()),
        Err(error) => Presence::Useless(error.to_string()),
    }
}

fn version_txt(store: &Store, folder: Option<&RepositoryPath>) -> Option<String> {
    let path = folder?.join(b"version.txt").ok()?;
    let Content::File(file) = store.read(&path).ok()?.content else {
        return None;
    };
    let mut text = Vec::new();
    file.take(LONGEST_TEXT).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The releases in the folders right below this one; `None` is the root.
pub fn below(store: &Store, base: Option<&RepositoryPath>) -> Vec<Release> {
    let Ok(looked) = look(store, base) else { return Vec::new() };
    let folder = |name: &Vec<u8>| match base {
        Some(base) => base.join(name).ok(),
        None => RepositoryPath::parse(name).ok(),
    };
    let releases = |folder: RepositoryPath| match look(store, Some(&folder)) {
        Ok(looked) => releases_of(store, &folder, &looked.names),
        Err(_) => Vec::new(),
    };
    looked.folders.iter().take(MOST_BELOW).filter_map(folder).flat_map(releases).collect()
}

/// What matters of a profile.
pub fn subject(profile: &Profile) -> Subject<'_> {
    fn in_repository(source: &Source) -> Option<&RepositoryPath> {
        match source {
            Source::Repository(path) => Some(path),
            Source::Url(_) => None,
        }
    }
    Subject {
        kernel: in_repository(&profile.kernel),
        initrd: profile.initrd.iter().filter_map(|initrd| in_repository(&initrd.source)).collect(),
        by_url: profile.initrd.iter().any(|initrd| matches!(initrd.source, Source::Url(_))),
        installs: profile.installs(),
        verify: profile.verify,
    }
}

/// The releases that decide on a profile, looked at now: those of its kernel and initrds, and the
/// one that is installed by a kernel from a folder `current`.
pub fn of_subject(store: &Store, subject: &Subject<'_>) -> Vec<Release> {
    let mut folders: Vec<RepositoryPath> = Vec::new();
    for file in subject.kernel.iter().chain(&subject.initrd) {
        let of_release = is_of_a_release(file.file_name());
        if let Some(folder) = file.folder().filter(|_| of_release)
            && !folders.contains(&folder)
        {
            folders.push(folder);
        }
    }
    let at = |folder: &RepositoryPath| match look(store, Some(folder)) {
        Ok(looked) => releases_of(store, folder, &looked.names),
        Err(_) => Vec::new(),
    };
    let mut releases: Vec<Release> = folders.iter().flat_map(at).collect();
    let versions: Vec<RepositoryPath> = releases
        .iter()
        .filter(|release| release.is_current() && release.doubt.is_none())
        .filter_map(|release| sibling(&release.folder, release.version.as_bytes()))
        .filter(|folder| !folders.contains(folder))
        .collect();
    releases.extend(versions.iter().flat_map(at));
    releases
}
