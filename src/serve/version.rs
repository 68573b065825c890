//! Which release a folder of releases has: what `current/version.txt` says where there is no such file.

use super::{
    releases::{below, of_subject, subject},
    store::Store,
};
use crate::{
    catalog::Profile,
    path::RepositoryPath,
    release::{Family, Release, newest, version_txt},
};

/// The release that the profile of the asking machine boots, if it is one of this folder; else the
/// newest that can be installed from it.
pub(super) fn current(
    store: &Store,
    profile: Option<&Profile>,
    base: Option<&RepositoryPath>,
) -> Option<String> {
    let text = |release: &Release| version_txt(release.family, &release.version);
    let is_named = |release: &&Release| {
        release.base().as_ref() == base && !release.is_current() && release.doubt.is_none()
    };
    let booted = profile.and_then(|profile| {
        let subject = subject(profile);
        of_subject(store, &subject).iter().find(is_named).map(text)
    });
    booted.or_else(|| {
        let releases = below(store, base);
        // Who has both, and asks with neither, has gone over to the successor.
        [Family::Flatcar, Family::CoreOs]
            .into_iter()
            .find_map(|family| newest(&releases, family).map(text))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::{config::Config, serve::store::Store};

    const ALL: [&str; 4] =
        ["_pxe.vmlinuz", "_pxe_image.cpio.gz", "_image.bin.bz2", "_image.bin.bz2.sig"];

    struct Tree(PathBuf);

    impl Tree {
        fn release(&self, folder: &str, family: &str, ends: &[&str]) {
            let folder = self.0.join(folder);
            fs::create_dir_all(&folder).unwrap();
            for end in ends {
                fs::write(folder.join(format!("{family}_production{end}")), "x").unwrap();
            }
        }

        fn current(&self, kernel: Option<&str>, base: Option<&str>) -> Option<String> {
            let path = |path: &str| RepositoryPath::parse(path.as_bytes()).unwrap();
            let store = Store::open(None, Some(&self.0)).unwrap();
            let group = kernel.map(|kernel| {
                let text = format!(
                    "[[profile]]\nname = \"p\"\nkernel = {kernel:?}\n[[group]]\nname = \"g\"\n\
                     profile = \"p\"\n"
                );
                Config::parse(&text, "b.toml").unwrap().catalog.groups()[0].clone()
            });
            let profile = group.as_ref().map(|group| &*group.profile);
            let text = current(&store, profile, base.map(path).as_ref())?;
            text.lines().next().map(str::to_owned)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_profile_of_the_asking_machine_counts_and_else_the_newest_that_can_be_installed() {
        let name = format!("bootbox-version-{}", std::process::id());
        let tree = Tree(std::env::temp_dir().join(name));
        tree.release("coreos/899.17.0", "coreos", &ALL);
        tree.release("coreos/1122.2.0", "coreos", &ALL);
        tree.release("coreos/4000.0.0", "flatcar", &ALL[..3]);
        tree.release("1010.5.0", "coreos", &ALL);
        let coreos = |version: &str| Some(format!("COREOS_VERSION={version}"));
        let old = Some("/coreos/899.17.0/coreos_production_pxe.vmlinuz");
        for (kernel, base, expected) in [
            (None, Some("/coreos"), coreos("1122.2.0")),
            (old, Some("/coreos"), coreos("899.17.0")),
            (old, None, coreos("1010.5.0")),
            (Some("/vmlinuz"), Some("/coreos"), coreos("1122.2.0")),
            (None, None, coreos("1010.5.0")),
            (None, Some("/none"), None),
        ] {
            assert_eq!(tree.current(kernel, base), expected, "{kernel:?} {base:?}");
        }
        tree.release("coreos/4000.0.0", "flatcar", &ALL);
        assert_eq!(
            tree.current(None, Some("/coreos")),
            Some("FLATCAR_VERSION=4000.0.0".to_owned())
        );
    }
}
