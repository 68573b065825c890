//! What a config says of boot programs.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{NamedBootFile, resolve::Desk};
use crate::{
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
        let named = |(firmware, name)| Some((firmware, self.boot_file(&name, Some(firmware))?));
        written.into_iter().filter_map(named).collect()
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
