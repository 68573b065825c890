//! What a config says of boot programs.

use std::{collections::BTreeMap, mem};

use toml::Spanned;

use super::{NamedBootFile, error::Place, resolve::Desk};
use crate::{
    catalog::{Group, Install},
    firmware::{BootFile, Firmware},
    path::RepositoryPath,
};

/// What UEFI HTTP Boot can fetch a program by.
const SCHEMES: [&str; 2] = ["http://", "https://"];

impl Desk<'_> {
    /// The boot programs of `[boot.programs]`.
    pub(super) fn programs(
        &mut self,
        written: BTreeMap<Firmware, Spanned<String>>,
    ) -> BTreeMap<Firmware, BootFile> {
        let named = |(firmware, name)| {
            let program = self.boot_file(&name, Some(firmware))?;
            // A Raspberry Pi may fetch the firmware that asks next.
            if firmware != Firmware::RaspberryPi && program.asks_no_more() {
                self.asking_no_more.push((program.clone(), self.page.place(&name)));
            }
            Some((firmware, program))
        };
        written.into_iter().filter_map(named).collect()
    }

    /// Refuses boot programs that would install the machines of a group at each boot: they ask us
    /// for nothing, so nothing would be recorded.
    pub(super) fn unrecorded(&mut self, group: &Group, program_place: Option<Place>) {
        if group.profile.install != Install::Once {
            return;
        }
        let programs = match (&group.boot.program, program_place) {
            (Some(program), Some(place)) if program.asks_no_more() => {
                vec![(program.clone(), place)]
            }
            (Some(_), _) => Vec::new(),
            // Each is told once.
            (None, _) => mem::take(&mut self.asking_no_more),
        };
        for (program, place) in programs {
            let text = format!(
                "the boot program {program} asks bootbox for nothing, as far as its name tells, and \
                 profile {profile} of group {name:?} has install = \"once\": no installation would \
                 be recorded, and each boot would install the machine again; if the program asks \
                 for a script, write ipxe, grub or shim in its name; if it installs nothing, write \
                 install = \"never\" in the profile",
                profile = group.profile.name,
                name = group.name,
            );
            self.wrong_at(place, text);
        }
    }

    /// One boot program, for a firmware or for those of a group.
    pub(super) fn boot_file(
        &mut self,
        written: &Spanned<String>,
        firmware: Option<Firmware>,
    ) -> Option<BootFile> {
        let text = written.get_ref();
        let place = self.page.place(written);
        if let Some(url) = self.url(text, &place, &SCHEMES) {
            return url.ok().map(BootFile::Url);
        }
        match RepositoryPath::parse(text.as_bytes()) {
            Ok(path) => {
                self.boot_files.push(NamedBootFile { path: path.clone(), firmware, place });
                Some(BootFile::Served(path))
            }
            Err(error) => {
                self.wrong(written, format!("{text:?} {error}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        catalog::Offer,
        config::{
            Config,
            tests::{post, problems},
        },
    };

    #[test]
    fn each_mistake_in_a_boot_program_names_its_line() {
        for (from, to, said) in [
            (
                "[firmware]",
                "[boot.programs]\nuefi-x64 = \"../shimx64.efi\"\n[firmware]",
                "b.toml:9: \"../shimx64.efi\" climbs with \"..\"",
            ),
            (
                "profile = \"coreos\"",
                "profile = \"coreos\"\nboot-program = \"http://x/a b.efi\"",
                "b.toml:18: \"http://x/a b.efi\" has a space; write it as %20",
            ),
            (
                "profile = \"coreos\"",
                "profile = \"coreos\"\nboot-program = \"http://x/{{ mac }}.efi\"",
                "b.toml:18: \"http://x/{{ mac }}.efi\" is no template: words are for args; write a \
                 path in the repository, or a whole URL",
            ),
            (
                "[firmware]",
                "[boot.programs]\nuefi-x64 = \"https://x/{{uuid}}\"\n[firmware]",
                "b.toml:9: \"https://x/{{uuid}}\" is no template: words are for args; write a path \
                 in the repository, or a whole URL",
            ),
        ] {
            assert_eq!(problems(&post(from, to)), said);
        }
    }

    #[test]
    fn a_boot_program_that_asks_nobody_installs_nothing_once() {
        let general = |program: &str| {
            post("[firmware]", &format!("[boot.programs]\nuefi-x64 = {program:?}\n[firmware]"))
        };
        let own = |program: &str| {
            let line = format!("profile = \"coreos\"\nboot-program = {program:?}");
            post("profile = \"coreos\"", &line)
        };
        for (text, line) in [(general("uki.efi"), 9), (own("http://192.0.2.9/uki.efi"), 19)] {
            let once = text.replace("name = \"coreos\"", "name = \"coreos\"\ninstall = \"once\"");
            let said = problems(&once);
            let expected = format!("b.toml:{line}: the boot program ");
            assert!(said.starts_with(&expected), "{said}");
            assert!(said.contains("no installation would be recorded"), "{said}");
            let allowed = once.replace("[http]", "[install]\nallow-always = true\n[http]");
            for install in ["never", "always"] {
                let text = allowed.replace("\"once\"", &format!("{install:?}"));
                Config::parse(&text, "b.toml").unwrap();
            }
        }
        for text in [general("shimx64.efi"), own("my-ipxe.efi"), own("linuxx64.efi.stub")] {
            let text = text.replace("name = \"coreos\"", "name = \"coreos\"\ninstall = \"once\"");
            Config::parse(&text, "b.toml").unwrap();
        }
    }

    #[test]
    fn boot_programs_are_named_for_a_firmware_or_for_a_group() {
        let text = post(
            "profile = \"coreos\"",
            "profile = \"coreos\"\nboot-program = \"uki/a.efi\"",
        ) + "[boot]\noffer = \"boot-server\"\n[boot.programs]\nuefi-arm64 = \"https://x/a.efi\"\n\
           uefi-x64 = \"/shimx64.efi\"\n";
        let config = Config::parse(&text, "b.toml").unwrap();
        let named: Vec<String> =
            config.named_programs.iter().map(|(it, file)| format!("{it}: {file}")).collect();
        assert_eq!(named, ["UEFI x64: shimx64.efi", "UEFI ARM64: https://x/a.efi"]);
        let group = &config.catalog.groups()[0];
        assert_eq!(group.boot.program.as_ref().unwrap().to_string(), "uki/a.efi");
        assert_eq!((config.offer, group.boot.offer), (Offer::BootServer, None));
        let lines: Vec<_> = config.boot_files.iter().map(|file| file.place.line.unwrap()).collect();
        assert_eq!(lines, [25, 18], "what must be there when it is loaded");
        let wrong = text.replace("uefi-arm64", "arm64");
        assert!(
            problems(&wrong)
                .starts_with("b.toml:24: \"arm64\" is no key here; write one of \"bios\"")
        );
    }
}
