//! Whether a user can read a file, by the modes on the way to it, and who else may change it.
//!
//! Says what to write instead. Never opens anything.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{getegid, geteuid, getgroups};

use super::service::Service;
use crate::config::Config;

/// Folders that a service with `ProtectHome` does not see.
pub(super) const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// Folders of which a service with `PrivateTmp` has its own.
pub(super) const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

const READ: u32 = 0o4;
const WRITE: u32 = 0o2;
const SEARCH: u32 = 0o1;
const STICKY: u32 = 0o1000;

/// The bits of a mode that count for a user.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Reader {
    /// Absent of a user that owns nothing.
    pub(super) uid: Option<u32>,
    pub(super) gids: Vec<u32>,
}

impl Reader {
    /// This process.
    fn own() -> Self {
        let more = getgroups().unwrap_or_default();
        let gids = more.into_iter().chain([getegid()]).map(nix::unistd::Gid::as_raw).collect();
        Self { uid: Some(geteuid().as_raw()), gids }
    }

    fn may(&self, about: &fs::Metadata, bit: u32) -> bool {
        let shift = match (self.uid == Some(about.uid()), self.gids.contains(&about.gid())) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        (about.mode() >> shift) & bit != 0
    }
}

/// An obstacle between a user and a file or folder, and its remedy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Lack {
    /// A unit's `ProtectHome` or `PrivateTmp` hides it.
    Hidden { below: &'static str, by: &'static str },
    /// It is closed.
    Read(PathBuf),
    /// A folder on the way to it is closed.
    Search(PathBuf),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hidden { below, by } => write!(
                f,
                "the service does not see what is below {below} ({by} in its unit); move it, for \
                 example below /var/lib/bootbox"
            ),
            Self::Read(file) => write!(f, "chmod a+r {}", file.display()),
            Self::Search(folder) => write!(f, "chmod a+x {}", folder.display()),
        }
    }
}

/// The obstacle that keeps this user from reading a file, or from opening a folder's files.
pub(super) fn lack(path: &Path, reader: &Reader) -> Option<Lack> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let may = |path: &Path, bit| Some(reader.may(&fs::metadata(path).ok()?, bit));
    // By a symlink, its own way counts, too.
    for path in [path, &real] {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.reverse();
        if let Some(folder) = above.iter().find(|folder| may(folder, SEARCH) == Some(false)) {
            return Some(Lack::Search(folder.to_path_buf()));
        }
    }
    match fs::metadata(&real).ok()?.is_dir() {
        true if may(&real, SEARCH) == Some(false) => Some(Lack::Search(real)),
        false if may(&real, READ) == Some(false) => Some(Lack::Read(real)),
        true | false => None,
    }
}

/// The remedy for a file that this process could not open; begins with "; ".
pub(super) fn advice(path: &Path, error: &io::Error) -> Option<String> {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    if !is_denied && error.kind() != io::ErrorKind::NotFound {
        return None;
    }
    // systemd sets it for what it starts.
    if std::env::var_os("INVOCATION_ID").is_some() {
        let below = |folders: &'static [&str]| folders.iter().find(|it| path.starts_with(it));
        let home = below(&HOMES).map(|below| Lack::Hidden { below, by: "ProtectHome" });
        let hidden = home
            .or_else(|| below(&TEMPORARY).map(|below| Lack::Hidden { below, by: "PrivateTmp" }));
        if let Some(lack) = hidden {
            return Some(format!("; {lack}"));
        }
    }
    match is_denied {
        true => lack(path, &Reader::own()).map(|lack| format!("; {lack}")),
        false => None,
    }
}

/// Files of the config that a service's user cannot read or write, each with its remedy.
pub fn lacks(config: &Config, service: &Service) -> Vec<String> {
    let mut lacks: Vec<String> = Vec::new();
    for path in named(config) {
        if let Some(lack) = service.hides(&path).or_else(|| lack(&path, service.reader())) {
            let text = match &lack {
                Lack::Hidden { .. } => format!("{}: {lack}", path.display()),
                Lack::Read(at) | Lack::Search(at) if *at == path => {
                    format!("{}: the service's user cannot read it: {lack}", path.display())
                }
                Lack::Read(_) | Lack::Search(_) => {
                    format!("{}: the service's user cannot reach it: {lack}", path.display())
                }
            };
            lacks.push(text);
        }
    }
    // One closed folder keeps it from everything below: one line says so.
    let mut said = Vec::new();
    lacks.retain(|text| {
        let what = text.split_once(": ").map_or("", |(_, what)| what).to_owned();
        let is_new = !said.contains(&what);
        said.push(what);
        is_new
    });
    lacks.extend(service.unwritable("[install] ledger", &config.ledger.path));
    lacks.extend(service.unwritable("[control] socket", &config.control_socket));
    lacks
}

/// Files that every user of this machine may change, who then decides what machines boot.
pub(super) fn open_to_all(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for path in named(config) {
        let Ok(real) = path.canonicalize() else { continue };
        let is_open = |path: &&Path| {
            fs::symlink_metadata(path).is_ok_and(|about| {
                about.mode() & WRITE != 0 && (about.mode() & STICKY == 0 || *path == real)
            })
        };
        if let Some(open) = real.ancestors().find(is_open) {
            let open = open.display();
            let text = format!(
                "{open}: every user of this machine may change it, and so what machines boot; \
                 chmod o-w {open}"
            );
            if !warnings.contains(&text) {
                warnings.push(text);
            }
        }
    }
    warnings
}

/// The files that the server reads by this config, as far as they are there.
fn named(config: &Config) -> Vec<PathBuf> {
    let mut named = Vec::new();
    if let Ok(main) = std::path::absolute(&config.name) {
        let beside = main.with_file_name(super::site::BESIDE);
        let files = fs::read_dir(&beside).into_iter().flatten().flatten();
        let is_toml = |file: &PathBuf| file.extension().is_some_and(|end| end == "toml");
        let mut files: Vec<PathBuf> = files.map(|it| it.path()).filter(is_toml).collect();
        files.sort();
        named.extend([main, beside]);
        named.extend(files);
    }
    let root = &config.repository.path;
    let below = |root: &Path, path: &crate::path::RepositoryPath| {
        use std::os::unix::ffi::OsStrExt as _;
        root.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
    };
    named.push(root.clone());
    named.extend(config.files.iter().map(|file| below(root, &file.path)));
    named.extend(config.templates.iter().map(|template| below(root, &template.file)));
    let mentioned = config.mentions.iter().filter_map(|mention| mention.path.file());
    named.extend(mentioned.map(|file| below(root, &file)));
    if let Some(folder) = &config.boot_programs {
        named.push(folder.path.clone());
        named.extend(config.boot_files.iter().map(|file| below(&folder.path, &file.path)));
    }
    named.extend(config.boot_files.iter().map(|file| below(root, &file.path)));
    named.extend(config.keyring.iter().map(|keyring| keyring.path.clone()));
    named.retain(|path| path.exists());
    named.dedup();
    named
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_first_closed_part_of_a_path_is_named() {
        let root = std::env::temp_dir().canonicalize().unwrap();
        let root = root.join(format!("bootbox-access-{}", std::process::id()));
        let (folder, file) = (root.join("a/b"), root.join("a/b/k"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let all = || [&root, &root.join("a"), &folder].iter().for_each(|it| mode(it, 0o755));
        let nobody = Reader::default();
        let own = Reader { uid: Some(fs::metadata(&file).unwrap().uid()), gids: Vec::new() };
        all();
        mode(&file, 0o644);
        assert_eq!(lack(&file, &nobody), None);
        mode(&file, 0o640);
        assert_eq!(lack(&file, &nobody), Some(Lack::Read(file.clone())));
        assert_eq!(lack(&file, &own), None);
        let group = Reader { uid: None, gids: vec![fs::metadata(&file).unwrap().gid()] };
        assert_eq!(lack(&file, &group), None);
        mode(&root.join("a"), 0o700);
        assert_eq!(lack(&file, &nobody), Some(Lack::Search(root.join("a"))));
        all();
        // By a symlink, its own way and the file's count.
        let link = root.join("link");
        std::os::unix::fs::symlink("a/b/k", &link).unwrap();
        mode(&folder, 0o744);
        assert_eq!(lack(&link, &nobody), Some(Lack::Search(folder.clone())));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_all_may_change_is_told_once() {
        let root = std::env::temp_dir().join(format!("bootbox-open-{}", std::process::id()));
        fs::create_dir_all(root.join("k")).unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let file = root.join("k/vmlinuz");
        fs::write(&file, "").unwrap();
        let text = format!(
            "[repository]\nroot = {root:?}\n[[profile]]\nname = \"p\"\nkernel = \"/k/vmlinuz\"\n\
             [[group]]\nname = \"g\"\nprofile = \"p\"\n"
        );
        let config = Config::parse(&text, "b.toml").unwrap();
        let open = || open_to_all(&config).join("\n");
        [&root, &root.join("k")].iter().for_each(|folder| mode(folder, 0o755));
        mode(&file, 0o644);
        assert_eq!(open(), "");
        mode(&file, 0o666);
        assert!(
            open().contains("vmlinuz: every user") && open().lines().count() == 1,
            "{}",
            open()
        );
        mode(&file, 0o644);
        mode(&root, 0o1777);
        assert!(open().contains("chmod o-w") && open().lines().count() == 1, "{}", open());
        fs::remove_dir_all(root).unwrap();
    }
}
