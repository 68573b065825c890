//! What a config says about disks: the ledger, and which profiles install.

use std::path::PathBuf;

use toml::Spanned;

use super::{Folder, resolve::Desk};
use crate::{
    catalog::{Install, Profile, Source},
    machine::{SharedUuids, Uuid},
    path::UrlPath,
    template::Template,
};

/// What a kernel line of an installer has, by its beginning.
const STARTS: [(&str, &str); 18] = [
    ("FAI_ACTION=install", "FAI"),
    ("agama.auto=", "Agama"),
    ("autoyast=", "SUSE"),
    ("coreos.inst.", "Fedora CoreOS"),
    ("coreos.inst=", "Fedora CoreOS"),
    ("elemental.", "Elemental"),
    ("harvester.install.", "Harvester"),
    ("inst.auto=", "Agama"),
    ("inst.ks=", "Anaconda"),
    ("k3os.mode=install", "k3OS"),
    ("ks=", "Anaconda and ESXi"),
    ("preseed/file=", "Debian"),
    ("preseed/url=", "Debian"),
    ("rancher.cloud_init.", "RancherOS"),
    ("rancher.install", "RancherOS"),
    ("rd.kiwi.install.", "SUSE's images by KIWI"),
    ("script=", "Arch"),
    ("talos.config=", "Talos"),
];
/// The same, whole words.
const WORDS: [&str; 4] =
    ["automatic-ubiquity", "autoinstall", "install-mode", "proxmox-start-auto-installer"];
/// A script that CoreOS and Flatcar run, and it installs; cloud-init knows the same word.
const SCRIPTS: [&str; 2] = ["cloud-config-url=", "cloud_config_url="];
/// What Ubuntu's line says to keep cloud-init from it.
const NOTHING: &str = "/dev/null";
/// Kernels that start an installer whose answers lie in files that are not read here: Windows' and
/// ESXi's.
const KERNELS: [&str; 4] = ["wimboot", "wimboot.x86_64.efi", "mboot.c32", "mboot.efi"];
/// What names a config for Ignition.
const IGNITION: [&str; 4] =
    ["coreos.config.url=", "flatcar.config.url=", "ignition.config.url=", "ignition.config.file="];

/// Whether a kernel line starts something that writes to the disk.
pub fn installs<T: AsRef<str>>(args: &[T]) -> bool {
    let words: Vec<&str> = args.iter().flat_map(|arg| arg.as_ref().split_whitespace()).collect();
    // Debian's short form: preseed/url is url where everything is automatic.
    let is_automatic = words.iter().any(|word| matches!(*word, "auto" | "auto=true"));
    words.iter().any(|word| {
        STARTS.iter().any(|(start, _)| word.starts_with(start))
            || WORDS.contains(word)
            || SCRIPTS
                .iter()
                .any(|start| word.strip_prefix(start).is_some_and(|url| url != NOTHING))
            || (is_automatic && word.starts_with("url="))
    })
}

/// Whether a kernel of this name starts an installer, whatever its arguments.
fn is_installer(kernel: &Source) -> bool {
    KERNELS.contains(&&*file_name(kernel))
}

/// The name of a kernel's file, without its folders.
pub(super) fn file_name(kernel: &Source) -> String {
    let path = match kernel {
        Source::Repository(path) => UrlPath::from(path).to_string(),
        Source::Url(url) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
    };
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Whether a profile names an Ignition config, which may write to the disk.
pub fn names_ignition(profile: &Profile) -> bool {
    let is_ignition = |word: &str| IGNITION.iter().any(|start| word.starts_with(start));
    profile.args.iter().any(|arg| arg.source().split_whitespace().any(is_ignition))
}

/// What is wrong with an argument that turns out to be an installer's only for one group.
pub(super) fn hides_an_installer(profile: &Profile, arg: &str) -> Option<String> {
    let is_hidden = !profile.says_install && !profile.installs() && installs(&[arg]);
    is_hidden.then(|| {
        format!(
            "that installs, and profile {} does not say so; write install = \"once\" there",
            profile.name
        )
    })
}

impl Desk<'_> {
    pub(super) fn attempts(&mut self, written: &Spanned<u32>) -> u32 {
        let count = *written.get_ref();
        if !(1..=100).contains(&count) {
            self.wrong(written, format!("{count} attempts; write a number from 1 to 100"));
        }
        count
    }

    /// UUIDs that name no machine.
    pub(super) fn uuids(&mut self, written: &[Spanned<String>]) -> SharedUuids {
        let mut uuids = Vec::new();
        for text in written {
            match text.get_ref().parse::<Uuid>() {
                Ok(uuid) => uuids.push(uuid),
                Err(error) => self.wrong(text, format!("{:?} {error}", text.get_ref())),
            }
        }
        SharedUuids::new(uuids)
    }

    pub(super) fn ledger(&mut self, written: Spanned<PathBuf>, repository: &Folder) -> Folder {
        let path = written.get_ref();
        if path.starts_with(&repository.path) {
            let text = format!(
                "{path:?} lies below [repository] root, which anyone may read; \
                 write a path outside of it"
            );
            self.wrong(&written, text);
        } else if path.file_name().is_none() {
            self.wrong(&written, format!("{path:?} names no file; add one, like ledger.redb"));
        }
        self.folder(written)
    }

    pub(super) fn install(
        &mut self,
        written: Option<&Spanned<Install>>,
        kernel: &Source,
        args: &[Template],
    ) -> Install {
        let Some(written) = written else {
            let args: Vec<String> = args.iter().map(Template::source).collect();
            return match is_installer(kernel) || installs(&args) {
                true => Install::Once,
                false => Install::Never,
            };
        };
        if *written.get_ref() == Install::Always && !self.allows_always {
            let text = "\"always\" installs at every network boot, whatever is on the disk; where \
                        that is meant, say it twice: add allow-always = true to [install]";
            self.wrong(written, text);
        }
        *written.get_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_is_known_by_its_kernel_s_name() {
        for (kernel, expected) in [
            ("http://192.0.2.1/win/wimboot", true),
            ("http://192.0.2.1/wimboot.x86_64.efi?v=2", true),
            ("http://192.0.2.1/esxi/mboot.c32", true),
            ("http://192.0.2.1/wimboot/vmlinuz", false),
            ("http://192.0.2.1/vmlinuz-wimboot", false),
            ("", false),
        ] {
            assert_eq!(is_installer(&Source::Url(kernel.to_owned())), expected, "{kernel}");
        }
    }

    #[test]
    fn an_installer_is_known_by_its_kernel_line() {
        for args in [
            &["cloud-config-url={{ base_url }}/coreos/"][..],
            &["console=tty0 cloud_config_url=http://192.0.2.1/x"],
            &["coreos.inst.install_dev=/dev/sda"],
            &["auto=true", "url=http://192.0.2.1/preseed.cfg"],
            &["auto url=192.0.2.1"],
            &["root=/dev/nfs nfsroot=192.0.2.1:/srv/fai FAI_ACTION=install"],
            &["rd.kiwi.install.pxe rd.kiwi.install.image=http://192.0.2.1/i.raw"],
            &["boot=casper automatic-ubiquity url=http://192.0.2.1/p.seed"],
            &["preseed/url=http://192.0.2.1/p"],
            &["ip=dhcp", "autoinstall", "cloud-config-url=/dev/null"],
            &["inst.ks=http://192.0.2.1/ks.cfg"],
            &["ks=http://192.0.2.1/ks.cfg"],
            &["elemental.install.device=/dev/sda"],
            &["ks=http://192.0.2.1/esxi.cfg", "-c", "boot.cfg"],
            &["inst.auto=http://192.0.2.1/agama.json"],
            &["agama.auto=http://192.0.2.1/agama.json"],
            &["ramdisk_size=16777216 rw quiet proxmox-start-auto-installer"],
            &["rd.cos.disable", "netboot", "install-mode", "config_url=http://192.0.2.1/c"],
            &["archiso_http_srv=http://192.0.2.1/", "script=http://192.0.2.1/install.sh"],
            &["rancher.cloud_init.datasources=[url:http://192.0.2.1/c]"],
            &["talos.platform=metal", "talos.config=http://192.0.2.1/c?uuid="],
        ] {
            assert!(installs(args), "{args:?}");
        }
        for args in [
            &["coreos.config.url={{ base_url }}/coreos/ignition.json", "coreos.first_boot=1"][..],
            &["url=http://192.0.2.1/live.iso", "boot=casper"],
            &["cloud-config-url=/dev/null"],
            &["autoinstaller", "auto", "hacks=1"],
            &[],
        ] {
            assert!(!installs(args), "{args:?}");
        }
    }
}
