//! Opens a name beneath a folder, whatever the name and the symlinks on its way say.
//!
//! openat2(2) does it in one step. Where the system refuses that call (a systemd unit with
//! `DynamicUser` or `RestrictSUIDSGID`, an older container profile, Linux before 5.6), the name is
//! walked folder by folder without following anything, and symlinks are resolved here. Both ways
//! take the same names, and neither leaves the folder.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat},
    sys::stat::{Mode, SFlag, fstat},
};

/// How often a lookup that raced with a rename elsewhere is tried again.
const OPEN_TRIES: usize = 256;
/// Symlinks that are followed for one name, as many as Linux follows.
const MOST_LINKS: usize = 40;
/// Folders below folders that are walked; each is held open until the name is found.
const DEEPEST: usize = 512;

/// How a name is looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// By openat2(2).
    Kernel,
    /// Folder by folder.
    Walk,
}

impl Lookup {
    /// The way that this system allows.
    pub fn probe(folder: &OwnedFd) -> Self {
        // What else goes wrong goes wrong either way.
        match beneath(folder, OsStr::new("."), OFlag::O_PATH | OFlag::O_CLOEXEC) {
            Err(Errno::ENOSYS | Errno::EPERM) => Self::Walk,
            Ok(_) | Err(_) => Self::Kernel,
        }
    }
}

/// A folder that is open, and beneath which names are looked up.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    /// Its path without symlinks, where the system tells it, and the path it was opened by: a
    /// symlink that names either stays inside.
    paths: Vec<PathBuf>,
    lookup: Lookup,
}

impl Root {
    /// Opens a folder.
    pub fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(path, flags, Mode::empty())?;
        let lookup = Lookup::probe(&folder);
        let mut paths: Vec<PathBuf> = path.canonicalize().into_iter().collect();
        if path.is_absolute() && !paths.iter().any(|known| known == path) {
            paths.push(path.to_owned());
        }
        Ok(Self { folder, paths, lookup })
    }

    /// Looks names up in this way.
    pub fn by(self, lookup: Lookup) -> Self {
        Self { lookup, ..self }
    }

    /// Opens what has this name. `EXDEV` and `ELOOP` where a symlink leads out, or in circles.
    pub fn look_up(&self, name: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
        match self.lookup {
            // The kernel says so of a symlink that leads out and in again, too, and of each that
            // is absolute.
            Lookup::Kernel => match beneath(&self.folder, OsStr::from_bytes(name), flags) {
                Err(Errno::EXDEV) => self.walk(name, flags),
                opened => opened,
            },
            Lookup::Walk => self.walk(name, flags),
        }
    }

    fn walk(&self, name: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
        let mut walk = Walk { root: self, above: Vec::new(), rest: Vec::new(), turns: 0 };
        walk.go_on_by(name);
        walk.run(flags | OFlag::O_NOFOLLOW)
    }

    /// The rest of an absolute symlink that names this folder by a path of it.
    fn inside<'a>(&self, target: &'a [u8]) -> Option<&'a [u8]> {
        let rest = |path: &PathBuf| {
            let rest = target.strip_prefix(path.as_os_str().as_bytes())?;
            (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
        };
        self.paths.iter().find_map(rest)
    }
}

/// A name that is walked. Folders stay open on the way, so that `..` is the folder we came by,
/// wherever that has been moved meanwhile.
struct Walk<'a> {
    root: &'a Root,
    /// The folders below the root, the last one innermost.
    above: Vec<OwnedFd>,
    /// The components that are still to be walked, the next one last.
    rest: Vec<Vec<u8>>,
    /// Symlinks that were followed, and looks that raced with a change.
    turns: usize,
}

impl Walk<'_> {
    fn run(mut self, flags: OFlag) -> Result<OwnedFd, Errno> {
        while let Some(component) = self.rest.pop() {
            match (&*component, self.rest.is_empty()) {
                (b".", _) => {}
                (b"..", _) if self.above.pop().is_none() => self.come_back()?,
                (b"..", _) => {}
                (name, true) => match openat(self.here(), name, flags, Mode::empty()) {
                    // What a symlink is, with O_NOFOLLOW: with O_DIRECTORY, too, ENOTDIR.
                    Err(error @ (Errno::ELOOP | Errno::ENOTDIR)) => self.follow(name, error)?,
                    opened => return opened,
                },
                (name, false) => self.enter(name)?,
            }
        }
        openat(self.here(), ".", flags, Mode::empty())
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.above.last().unwrap_or(&self.root.folder).as_fd()
    }

    /// Above the root only the way back to it is known: by the folders of its own path.
    fn come_back(&mut self) -> Result<(), Errno> {
        let path = self.root.paths.first().ok_or(Errno::EXDEV)?.as_os_str().as_bytes();
        let own: Vec<&[u8]> =
            path.split(|&byte| byte == b'/').filter(|it| !it.is_empty()).collect();
        let mut depth = own.len().saturating_sub(1);
        while depth < own.len() {
            match &*self.rest.pop().ok_or(Errno::EXDEV)? {
                b"." => {}
                b".." => depth = depth.saturating_sub(1),
                name if name == own[depth] => depth += 1,
                _ => return Err(Errno::EXDEV),
            }
        }
        Ok(())
    }

    fn enter(&mut self, name: &[u8]) -> Result<(), Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(self.here(), name, flags, Mode::empty()) {
            Ok(_) if self.above.len() >= DEEPEST => Err(Errno::ENAMETOOLONG),
            Ok(folder) => {
                self.above.push(folder);
                Ok(())
            }
            Err(error @ (Errno::ELOOP | Errno::ENOTDIR)) => self.follow(name, error),
            Err(error) => Err(error),
        }
    }

    /// Goes on by the symlink of this name; `refused` is what opening it came to.
    fn follow(&mut self, name: &[u8], refused: Errno) -> Result<(), Errno> {
        self.turns += 1;
        if self.turns > MOST_LINKS {
            return Err(Errno::ELOOP);
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found = openat(self.here(), name, flags, Mode::empty())?;
        let Ok(target) = readlinkat(&found, "") else {
            let is_folder = fstat(&found)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
            // It was a symlink a moment ago.
            return match is_folder || refused == Errno::ELOOP {
                true => {
                    self.rest.push(name.to_owned());
                    Ok(())
                }
                false => Err(refused),
            };
        };
        let target = target.as_bytes();
        match target.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => {
                let inside = self.root.inside(target).ok_or(Errno::EXDEV)?;
                self.above.clear();
                self.go_on_by(inside);
            }
            Some(_) => self.go_on_by(target),
        }
        Ok(())
    }

    fn go_on_by(&mut self, name: &[u8]) {
        // A slash at the end wants a folder.
        if name.ends_with(b"/") {
            self.rest.push(b".".to_vec());
        }
        let components = name.rsplit(|&byte| byte == b'/').filter(|part| !part.is_empty());
        self.rest.extend(components.map(<[u8]>::to_vec));
    }
}

fn beneath(folder: &OwnedFd, name: &OsStr, flags: OFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // With ".." in a symlink, any rename on the system in that moment is EAGAIN (openat2(2)).
    let mut opened = openat2(folder, name, how);
    for _ in 0..OPEN_TRIES {
        if !matches!(opened, Err(Errno::EAGAIN)) {
            break;
        }
        opened = openat2(folder, name, how);
    }
    opened
}

#[cfg(test)]
mod tests;
