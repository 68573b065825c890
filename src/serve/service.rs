//! The service that systemd runs by bootbox.service, as its unit and drop-ins have it: who it is,
//! and what it sees. Reads the files, and asks systemd nothing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use nix::unistd::{Group, User};

use super::access::{HOMES, Lack, Reader, TEMPORARY};

const NAME: &str = "bootbox.service";
/// In the order in which systemd looks (systemd.unit(5)).
const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const SHIPPED: &str = include_str!("../../etc/bootbox.service");

/// The lines of a unit that matter here.
#[derive(Debug)]
pub struct Service {
    /// The unit's file.
    pub name: String,
    reader: Reader,
    hides_homes: bool,
    hides_temporary: bool,
    /// Paths that are there all the same.
    bound: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    /// The config that it is started with; absent where it names none.
    config: Option<PathBuf>,
}

impl Service {
    /// The service as it is installed here.
    pub fn installed() -> Option<Self> {
        let (name, mut text) = FOLDERS.iter().find_map(|folder| {
            let file = Path::new(folder).join(NAME);
            Some((file.display().to_string(), fs::read_to_string(&file).ok()?))
        })?;
        let mut more = BTreeMap::new();
        for folder in FOLDERS.iter().rev() {
            let files = fs::read_dir(Path::new(folder).join(format!("{NAME}.d")));
            for file in files.into_iter().flatten().flatten() {
                if file.path().extension().is_some_and(|end| end == "conf") {
                    more.insert(file.file_name(), file.path());
                }
            }
        }
        for file in more.values() {
            text.push('\n');
            text.push_str(&fs::read_to_string(file).unwrap_or_default());
        }
        Some(Self::parse(&name, &text))
    }

    /// The service as it is shipped.
    pub fn shipped() -> Self {
        Self::parse(NAME, SHIPPED)
    }

    /// Whether it reads this config.
    pub fn reads(&self, config: &Path) -> bool {
        let own = self.config.as_deref().unwrap_or(Path::new(super::site::USUAL));
        own == config
            || own.canonicalize().ok().is_some_and(|own| config.canonicalize().ok() == Some(own))
    }

    fn parse(name: &str, text: &str) -> Self {
        let keys = keys(text);
        let last = |key: &str| keys.get(key).and_then(|values| values.last()).map(String::as_str);
        let words = |key: &str| -> Vec<String> {
            let values = keys.get(key).into_iter().flatten();
            values.flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
        };
        let paths = |key: &str| -> Vec<PathBuf> {
            let path = |word: &String| {
                let word = word.trim_start_matches(['-', '+']);
                PathBuf::from(word.split(':').nth(1).unwrap_or(word))
            };
            words(key).iter().map(path).collect()
        };
        let below = |key: &str, base: &'static str| -> Vec<PathBuf> {
            words(key).iter().map(|word| Path::new(base).join(word)).collect()
        };
        let user = last("User").and_then(|user| User::from_name(user).ok().flatten());
        let is_dynamic = last("DynamicUser").is_some_and(is_yes);
        let gid = |name: &String| Some(Group::from_name(name).ok().flatten()?.gid.as_raw());
        let mut gids: Vec<u32> = words("SupplementaryGroups").iter().filter_map(gid).collect();
        gids.extend(last("Group").and_then(|name| gid(&name.to_owned())));
        let uid = match (&user, is_dynamic || last("User").is_some()) {
            (Some(user), _) => {
                gids.push(user.gid.as_raw());
                Some(user.uid.as_raw())
            }
            (None, true) => None,
            (None, false) => {
                gids.push(0);
                Some(0)
            }
        };
        let mut bound = paths("BindPaths");
        bound.extend(paths("BindReadOnlyPaths"));
        let mut writable = below("StateDirectory", "/var/lib");
        writable.extend(below("RuntimeDirectory", "/run"));
        writable.extend(paths("ReadWritePaths"));
        writable.extend(paths("BindPaths"));
        let start = words("ExecStart");
        let config = start.iter().enumerate().find_map(|(index, word)| {
            let after = word.strip_prefix("--config=").map(PathBuf::from);
            after.or_else(|| {
                (word == "--config").then(|| start.get(index + 1).map(PathBuf::from))?
            })
        });
        Self {
            name: name.to_owned(),
            reader: Reader { uid, gids },
            hides_homes: last("ProtectHome").is_some_and(|it| is_yes(it) || it == "tmpfs"),
            // A user of its own has a /tmp of its own, too (systemd.exec(5)).
            hides_temporary: is_dynamic || last("PrivateTmp").is_some_and(is_yes),
            bound,
            writable,
            config,
        }
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The line of its sandbox that hides this path.
    pub(super) fn hides(&self, path: &Path) -> Option<Lack> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.bound.iter().any(|bound| path.starts_with(bound) || real.starts_with(bound)) {
            return None;
        }
        let below = |folders: &'static [&str]| {
            folders.iter().find(|folder| path.starts_with(folder) || real.starts_with(folder))
        };
        if let Some(below) = below(&HOMES).filter(|_| self.hides_homes) {
            return Some(Lack::Hidden { below, by: "ProtectHome" });
        }
        let below = below(&TEMPORARY).filter(|_| self.hides_temporary)?;
        Some(Lack::Hidden { below, by: "PrivateTmp" })
    }

    /// The words for a file that must be written where the service may not.
    pub(super) fn unwritable(&self, key: &str, path: &Path) -> Option<String> {
        if self.reader.uid.is_some() || self.writable.iter().any(|folder| path.starts_with(folder))
        {
            return None;
        }
        let folders: Vec<_> = self.writable.iter().map(|it| it.display().to_string()).collect();
        Some(format!(
            "{key} {}: the service may write only below {}; name a file there",
            path.display(),
            folders.join(" and ")
        ))
    }
}

fn is_yes(value: &str) -> bool {
    ["1", "yes", "true", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// The keys of `[Service]`; an empty value takes away what was said before.
fn keys(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut is_ours = false;
    for line in text.replace("\\\n", " ").lines().map(str::trim) {
        if line.starts_with('[') {
            is_ours = line == "[Service]";
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_ours) else { continue };
        if line.starts_with(['#', ';']) {
            continue;
        }
        let values = keys.entry(key.trim().to_owned()).or_default();
        match value.trim() {
            "" => values.clear(),
            value => values.push(value.to_owned()),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_unit_is_read() {
        let service = Service::shipped();
        assert_eq!(*service.reader(), Reader::default());
        let hides = |path: &str| service.hides(Path::new(path)).map(|lack| lack.to_string());
        assert!(hides("/home/me/www").unwrap().contains("below /home (ProtectHome in its unit)"));
        assert!(hides("/root/www").is_some() && hides("/tmp/www").unwrap().contains("PrivateTmp"));
        assert_eq!(hides("/srv/www"), None);
        let ledger = Path::new("/var/lib/bootbox-ledger/ledger.redb");
        assert_eq!(service.unwritable("x", ledger), None);
        assert_eq!(service.unwritable("x", Path::new("/run/bootbox/control.sock")), None);
        assert!(service.unwritable("x", Path::new("/srv/ledger.redb")).is_some());
        assert!(service.reads(Path::new("/etc/bootbox/bootbox.toml")));
        assert!(!service.reads(Path::new("/etc/bootbox/other.toml")));
    }

    #[test]
    fn drop_ins_count_last() {
        let more = "[Service]\nProtectHome=read-only\nBindReadOnlyPaths=/x:/tmp/www\n\
                    ExecStart=\nExecStart=/usr/bin/bootbox serve \\\n  --config /srv/b.toml\n\
                    [Unit]\nPrivateTmp=no\n";
        let service = Service::parse(NAME, &format!("{SHIPPED}\n{more}"));
        let hides = |path: &str| service.hides(Path::new(path)).is_some();
        assert!(!hides("/home/me") && !hides("/tmp/www/k") && hides("/tmp/other"));
        assert!(service.reads(Path::new("/srv/b.toml")));
        let root = Service::parse(NAME, "[Service]\nExecStart=/usr/bin/bootbox serve\n");
        assert_eq!(root.reader().uid, Some(0));
        assert_eq!(root.unwritable("x", Path::new("/srv/ledger.redb")), None);
    }
}
