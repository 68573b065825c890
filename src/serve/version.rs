//! Which release a folder of releases has: what `current/version.txt` says where there is no such file.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

use super::store::Store;
use crate::{catalog::Source, path::RepositoryPath};

/// Folders that are looked at.
const MOST: usize = 1000;

/// A family of releases whose files carry its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Family {
    CoreOs,
    Flatcar,
}

impl Family {
    const ALL: [Self; 2] = [Self::Flatcar, Self::CoreOs];

    fn prefix(self) -> &'static str {
        match self {
            Self::CoreOs => "coreos_production",
            Self::Flatcar => "flatcar_production",
        }
    }

    /// The file, as far as the installers read it.
    pub(super) fn text(self, version: &str) -> String {
        let name = match self {
            Self::CoreOs => "COREOS",
            Self::Flatcar => "FLATCAR",
        };
        format!("{name}_VERSION={version}\n{name}_VERSION_ID={version}\n")
    }
}

/// The release that a profile boots, if it is one of this folder.
pub(super) fn booted(kernel: &Source, base: Option<&RepositoryPath>) -> Option<(Family, String)> {
    let Source::Repository(kernel) = kernel else { return None };
    let family = Family::ALL
        .into_iter()
        .find(|family| kernel.file_name().starts_with(family.prefix().as_bytes()))?;
    let release = kernel.folder()?;
    let version = String::from_utf8(release.file_name().to_vec()).ok()?;
    (release.folder().as_ref() == base && numbers(&version).is_some()).then_some((family, version))
}

/// The newest release of this folder that has all its files.
pub(super) fn newest(
    root: &Path,
    store: &Store,
    base: Option<&RepositoryPath>,
) -> Option<(Family, String)> {
    let folder = base.map_or_else(
        || root.to_owned(),
        |base| root.join(Path::new(OsStr::from_bytes(base.as_bytes()))),
    );
    let entries = fs::read_dir(folder).ok()?.take(MOST);
    let mut versions: Vec<(Vec<u64>, String)> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some((numbers(&name)?, name)))
        .collect();
    versions.sort();
    versions.into_iter().rev().find_map(|(_, version)| {
        let family = Family::ALL.into_iter().find(|family| has_all(*family, store, base, &version));
        family.map(|family| (family, version))
    })
}

/// Looked up beneath the root by the store, whatever the folder's name leads to.
fn has_all(family: Family, store: &Store, base: Option<&RepositoryPath>, version: &str) -> bool {
    let prefix = family.prefix();
    ["_pxe.vmlinuz", "_pxe_image.cpio.gz", "_image.bin.bz2", "_image.bin.bz2.sig"].iter().all(
        |end| {
            let name = format!("{version}/{prefix}{end}");
            let path = match base {
                Some(base) => base.join(name.as_bytes()),
                None => RepositoryPath::parse(name.as_bytes()),
            };
            path.is_ok_and(|path| store.read(&path).is_ok())
        },
    )
}

/// `1122.2.0`, as numbers.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let numbers: Option<Vec<u64>> = version.split('.').map(|part| part.parse().ok()).collect();
    let is_plain = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    numbers.filter(|numbers| numbers.len() == 3 && is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepositoryPath {
        RepositoryPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_profile_tells_its_release_where_it_is_of_that_folder() {
        let coreos = Some((Family::CoreOs, "1122.2.0".to_owned()));
        for (kernel, base, release) in [
            ("/coreos/1122.2.0/coreos_production_pxe.vmlinuz", Some("/coreos"), coreos.clone()),
            ("/coreos/1122.2.0/coreos_production_pxe.vmlinuz", Some("/flatcar"), None),
            ("/1122.2.0/coreos_production_pxe.vmlinuz", None, coreos),
            ("/coreos/1122.2.0/vmlinuz", Some("/coreos"), None),
            ("/coreos/alpha/coreos_production_pxe.vmlinuz", Some("/coreos"), None),
            ("/coreos_production_pxe.vmlinuz", None, None),
        ] {
            let kernel = Source::Repository(path(kernel));
            assert_eq!(booted(&kernel, base.map(path).as_ref()), release, "{kernel:?}");
        }
    }

    #[test]
    fn the_newest_complete_release_counts_by_its_numbers() {
        let root = std::env::temp_dir().join(format!("bootbox-version-{}", std::process::id()));
        let release = |version: &str, family: &str, ends: &[&str]| {
            let folder = root.join("coreos").join(version);
            fs::create_dir_all(&folder).unwrap();
            for end in ends {
                fs::write(folder.join(format!("{family}_production{end}")), "").unwrap();
            }
        };
        let all = ["_pxe.vmlinuz", "_pxe_image.cpio.gz", "_image.bin.bz2", "_image.bin.bz2.sig"];
        release("899.17.0", "coreos", &all);
        release("1122.2.0", "coreos", &all);
        release("4000.0.0", "flatcar", &all[..3]);
        release("current", "coreos", &all);
        let store = Store::open(None, Some(&root)).unwrap();
        let newest = |base: Option<&str>| newest(&root, &store, base.map(path).as_ref());
        assert_eq!(newest(Some("/coreos")), Some((Family::CoreOs, "1122.2.0".to_owned())));
        release("4000.0.0", "flatcar", &all);
        assert_eq!(newest(Some("/coreos")), Some((Family::Flatcar, "4000.0.0".to_owned())));
        assert_eq!((newest(None), newest(Some("/none"))), (None, None));
        assert_eq!(
            Family::Flatcar.text("1.2.3"),
            "FLATCAR_VERSION=1.2.3\nFLATCAR_VERSION_ID=1.2.3\n"
        );
        fs::remove_dir_all(&root).unwrap();
    }
}
