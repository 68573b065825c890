//! What a firmware is told to fetch.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use super::{Firmware, Means, Platform};
use crate::{
    machine::Machine,
    path::RepositoryPath,
    unified::{Name, Processor},
};

/// What stands in the names of boot programs that ask for more.
const COME_BACK: [&str; 5] = ["grub", "ipxe", "shim", "snponly", "undionly"];

/// Whether the boot program of this name asks us for more, as far as its name tells: a kernel that
/// is its own boot program does not.
pub fn comes_back(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or_default();
    COME_BACK.iter().any(|&program| name.contains(program))
}

/// What a firmware is told to fetch and start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BootFile {
    /// A file that we serve, by TFTP and by HTTP: from `[firmware] dir`, embedded, or from the
    /// repository.
    Served(RepositoryPath),
    /// A file elsewhere, which only firmware that boots by HTTP can fetch.
    Url(String),
}

impl BootFile {
    /// How it is named to a firmware that asks by these means; `None` where that cannot fetch it.
    pub fn name(&self, means: Means, base_url: impl FnOnce() -> String) -> Option<String> {
        match (self, means) {
            // Over HTTP alone.
            (Self::Served(path), Means::Pxe) if Name::read(path).is_some() => None,
            (Self::Served(path), Means::Pxe) => {
                Some(String::from_utf8_lossy(path.as_bytes()).into_owned())
            }
            (Self::Served(path), Means::Http) => Some(format!("{}/{}", base_url(), path.in_url())),
            (Self::Url(url), Means::Http) => Some(url.clone()),
            (Self::Url(_), Means::Pxe) => None,
        }
    }

    /// The stub that it is, and what for: no program by itself, but unified images are made with it.
    pub fn stub(&self) -> Option<(&RepositoryPath, Processor)> {
        match self {
            Self::Served(path) => Some((path, Processor::of_stub(path.file_name())?)),
            Self::Url(_) => None,
        }
    }

    /// Whether it asks us for more, as far as its name tells.
    pub fn comes_back(&self) -> bool {
        match self {
            Self::Served(path) => comes_back(&String::from_utf8_lossy(path.as_bytes())),
            Self::Url(url) => comes_back(url),
        }
    }

    /// Whether it is the last that we hear of a machine, as far as its name tells. A unified image is
    /// made when it is asked for.
    pub fn asks_no_more(&self) -> bool {
        self.stub().is_none() && !self.comes_back()
    }

    /// What this machine is given: the image that is its own, where this is a stub.
    pub fn for_machine(&self, machine: &Machine) -> Cow<'_, Self> {
        let image = self.stub().and_then(|(stub, _)| {
            Name { stub: stub.clone(), mac: machine.mac, uuid: machine.uuid }.path()
        });
        image.map_or(Cow::Borrowed(self), |path| Cow::Owned(Self::Served(path)))
    }

    /// Whether another server has it, as far as it is named: so it is not seen to be fetched.
    pub fn is_elsewhere(&self, base_url: impl FnOnce() -> String) -> bool {
        match self {
            Self::Served(_) => false,
            Self::Url(url) => {
                let path = url.strip_prefix(&base_url());
                path.is_none_or(|path| !path.starts_with('/'))
            }
        }
    }

    fn is_efi(&self) -> bool {
        let name = match self {
            Self::Served(path) => path.as_bytes(),
            Self::Url(url) => url.split(['?', '#']).next().unwrap_or(url).as_bytes(),
        };
        name.to_ascii_lowercase().ends_with(b".efi")
    }
}

/// As a config names it.
impl fmt::Display for BootFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served(path) => f.write_str(&String::from_utf8_lossy(path.as_bytes())),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// The boot program of each firmware that has one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Programs {
    programs: BTreeMap<Firmware, BootFile>,
    /// Of what is named for groups, where it says so itself.
    made_for: BTreeMap<RepositoryPath, Firmware>,
}

impl Programs {
    /// What the operator names, else the first of the usual ones that is there.
    pub fn new(
        named: &BTreeMap<Firmware, BootFile>,
        mut is_there: impl FnMut(&RepositoryPath) -> bool,
    ) -> Self {
        let mut usual = |firmware: Firmware| {
            let mut names = firmware.usual_programs().iter();
            names
                .find_map(|name| RepositoryPath::parse(name.as_bytes()).ok().filter(&mut is_there))
                .map(BootFile::Served)
        };
        let program = |firmware| {
            let program = named.get(&firmware).cloned().or_else(|| usual(firmware));
            program.map(|program| (firmware, program))
        };
        let programs = Firmware::ALL.into_iter().filter_map(program).collect();
        Self { programs, made_for: BTreeMap::new() }
    }

    /// The boot program of this firmware.
    pub fn get(&self, firmware: Firmware) -> Option<&BootFile> {
        self.programs.get(&firmware)
    }

    /// Takes down which firmware a program is made for.
    pub fn note(&mut self, program: RepositoryPath, made_for: Firmware) {
        self.made_for.insert(program, made_for);
    }

    /// Whether this file is known to be a program for UEFI, whatever its name.
    pub fn is_uefi(&self, path: &RepositoryPath) -> bool {
        self.made_for.contains_key(path)
    }

    /// Whether a program that is named for a whole group is for this firmware: by its header, else
    /// by its name. UEFI starts what ends in `.efi`, all others do not.
    pub fn fits(&self, file: &BootFile, firmware: Firmware) -> bool {
        if let Some((_, processor)) = file.stub() {
            return firmware.processor() == Some(processor);
        }
        let made_for = match file {
            BootFile::Served(path) => self.made_for.get(path),
            BootFile::Url(_) => None,
        };
        match made_for {
            Some(made_for) => *made_for == firmware,
            None => file.is_efi() == (firmware.platform() == Some(Platform::Uefi)),
        }
    }

    /// The firmware that there is none for.
    pub fn missing(&self) -> impl Iterator<Item = Firmware> {
        Firmware::ALL.into_iter().filter(|firmware| !self.programs.contains_key(firmware))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(name: &str) -> BootFile {
        BootFile::Served(RepositoryPath::parse(name.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_named_comes_before_what_is_usual_and_the_first_usual_name_wins() {
        let there = ["snponly.efi", "x86_64/snponly.efi", "arm64/snponly.efi"];
        let is_there =
            |path: &RepositoryPath| there.iter().any(|name| name.as_bytes() == path.as_bytes());
        let programs = Programs::new(&BTreeMap::new(), is_there);
        assert_eq!(programs.get(Firmware::Efi64), Some(&served("snponly.efi")));
        assert_eq!(programs.get(Firmware::EfiArm64), Some(&served("arm64/snponly.efi")));
        assert_eq!(programs.get(Firmware::Bios), None);
        let named = BTreeMap::from([(Firmware::Efi64, served("shimx64.efi"))]);
        assert_eq!(
            Programs::new(&named, is_there).get(Firmware::Efi64),
            Some(&served("shimx64.efi"))
        );
        assert_eq!(programs.missing().count(), Firmware::ALL.len() - 2);
        let usual = Programs::new(&BTreeMap::new(), |_| true);
        assert!(usual.missing().eq([Firmware::UbootArm32, Firmware::UbootArm64]));
    }

    #[test]
    fn a_stub_is_for_its_processor_and_stands_for_each_machines_image() {
        let stub = served("linuxaa64.efi.stub");
        let programs = Programs::default();
        let fits = |firmware: &Firmware| programs.fits(&stub, *firmware);
        assert!(Firmware::ALL.into_iter().filter(fits).eq([Firmware::EfiArm64]));
        let machine = Machine::heard("52:54:00:12:34:56".parse().unwrap(), None, None);
        let image = served("linuxaa64.efi.stub/52-54-00-12-34-56.efi");
        assert_eq!(*stub.for_machine(&machine), image);
        let program = served("snponly.efi");
        assert_eq!(*program.for_machine(&machine), program);
        let is_there = |path: &RepositoryPath| path.as_bytes() == b"linuxaa64.efi.stub";
        let usual = Programs::new(&BTreeMap::new(), is_there);
        assert_eq!(usual.get(Firmware::EfiArm64), Some(&stub));
        assert_eq!(usual.get(Firmware::Efi64), None);
    }

    #[test]
    fn a_groups_program_is_for_the_firmware_that_its_header_says_or_its_name() {
        let mut programs = Programs::default();
        programs.note(RepositoryPath::parse(b"uki.efi").unwrap(), Firmware::EfiArm64);
        for (name, fits) in [
            ("uki.efi", &[Firmware::EfiArm64][..]),
            ("shim.EFI", &[Firmware::Efi64, Firmware::EfiArm64]),
            ("pxelinux.0", &[Firmware::Bios, Firmware::UbootArm64]),
        ] {
            for firmware in
                [Firmware::Bios, Firmware::Efi64, Firmware::EfiArm64, Firmware::UbootArm64]
            {
                let expected = fits.contains(&firmware);
                assert_eq!(programs.fits(&served(name), firmware), expected, "{name} {firmware}");
            }
        }
    }

    #[test]
    fn a_file_has_a_name_for_tftp_and_a_url_for_http() {
        let base = "http://192.0.2.1:8080";
        for (file, pxe, http) in [
            (served("/snponly.efi"), Some("snponly.efi"), "http://192.0.2.1:8080/snponly.efi"),
            (
                served("/a b/ü#.efi"),
                Some("a b/ü#.efi"),
                "http://192.0.2.1:8080/a%20b/%C3%BC%23.efi",
            ),
            (BootFile::Url("http://x/y".to_owned()), None, "http://x/y"),
            (
                served("linuxaa64.efi.stub/52-54-00-12-34-56.efi"),
                None,
                "http://192.0.2.1:8080/linuxaa64.efi.stub/52-54-00-12-34-56.efi",
            ),
        ] {
            assert_eq!(file.name(Means::Pxe, || base.to_owned()).as_deref(), pxe);
            assert_eq!(file.name(Means::Http, || base.to_owned()).as_deref(), Some(http));
        }
    }

    #[test]
    fn what_a_url_of_ours_names_is_not_elsewhere() {
        for (file, is_elsewhere) in [
            (served("snponly.efi"), false),
            (BootFile::Url("http://192.0.2.1/snponly.efi".to_owned()), false),
            (BootFile::Url("http://192.0.2.10/snponly.efi".to_owned()), true),
            (BootFile::Url("http://192.0.2.1:8080/snponly.efi".to_owned()), true),
        ] {
            assert_eq!(file.is_elsewhere(|| "http://192.0.2.1".to_owned()), is_elsewhere, "{file}");
        }
    }
}
