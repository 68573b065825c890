//! Finds at load what a loader would not start, or would change on its way to the kernel: by the
//! first bytes of each file, by URLs, names and args.

use std::collections::BTreeSet;

use super::store::{Content, Store};
use crate::{
    catalog::{Profile, Source},
    check::{
        Severity,
        boot::{HEAD, Looks},
    },
    config::{Config, Place, Problem, ProfilePlaces},
    firmware::{BootFile, Firmware, Programs},
};

/// Settings that iPXE fills in by itself. A name with a "/", ":" or "." is a setting of a card, of
/// another type, or of SMBIOS by number.
const SETTINGS: [&str; 26] = [
    "asset",
    "board-serial",
    "buildarch",
    "busid",
    "busloc",
    "bustype",
    "chip",
    "dhcp-server",
    "dns",
    "domain",
    "filename",
    "gateway",
    "hostname",
    "ifname",
    "ip",
    "mac",
    "manufacturer",
    "netmask",
    "next-server",
    "platform",
    "product",
    "root-path",
    "serial",
    "user-class",
    "uuid",
    "version",
];

/// Problems and warnings of the profiles.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Surely fails.
    pub(super) problems: Vec<Problem>,
    /// May fail.
    pub(super) warnings: Vec<Problem>,
}

/// Looks at every profile that a group boots.
pub(super) fn look(config: &Config, store: &Store, programs: &Programs) -> Looked {
    let mut desk = Desk {
        store,
        built_in: is_built_in(store, programs),
        looked: Looked::default(),
        seen: BTreeSet::new(),
    };
    for profile in config.catalog.profiles() {
        let Some(places) = config.profiles.get(&profile.name) else { continue };
        let is_text = |source: &Source| match source {
            Source::Repository(path) => {
                config.templates.iter().any(|it| it.path.file().as_ref() == Some(path))
            }
            Source::Url(_) => false,
        };
        if !is_text(&profile.kernel) {
            desk.kernel(profile, &places.kernel);
        }
        desk.initrds(profile, places);
        for (arg, place) in profile.args.iter().zip(&places.args) {
            desk.arg(&arg.source(), place);
        }
    }
    desk.looked
}

/// Whether some machine is given the iPXE that is built in.
fn is_built_in(store: &Store, programs: &Programs) -> bool {
    [Firmware::Bios, Firmware::Efi64].into_iter().any(|firmware| match programs.get(firmware) {
        Some(BootFile::Served(path)) => {
            store.read(path).is_ok_and(|opened| matches!(opened.content, Content::Embedded(_)))
        }
        Some(BootFile::Url(_)) | None => false,
    })
}

struct Desk<'a> {
    store: &'a Store,
    built_in: bool,
    looked: Looked,
    /// What is told of a profile is told once, however many groups boot it.
    seen: BTreeSet<(Place, String)>,
}

impl Desk<'_> {
    fn tell(&mut self, severity: Severity, place: &Place, text: String) {
        if !self.seen.insert((place.clone(), text.clone())) {
            return;
        }
        let problem = Problem { place: place.clone(), text };
        match severity {
            Severity::Error => self.looked.problems.push(problem),
            Severity::Warning => self.looked.warnings.push(problem),
        }
    }

    fn looks(&self, source: &Source) -> Option<Looks> {
        match source {
            // One that is not there is told elsewhere.
            Source::Repository(path) => {
                Some(Looks::of(&self.store.read(path).ok()?.head(HEAD).ok()?))
            }
            Source::Url(_) => None,
        }
    }

    fn kernel(&mut self, profile: &Profile, place: &Place) {
        self.url(&profile.kernel, place);
        let name = shown(&profile.kernel);
        if profile.chains {
            let text = match self.looks(&profile.kernel) {
                Some(Looks::Linux) => "is a kernel; write kernel = for it",
                Some(Looks::Empty) => "has no bytes; copy it again",
                Some(Looks::Html) => "is a web page that was saved in its place; fetch it again",
                Some(Looks::Unknown) => "does not begin with #!ipxe; write it as the first line",
                Some(_) | None => return,
            };
            return self.tell(Severity::Error, place, format!("{name} {text}"));
        }
        if let Some((severity, text)) = self.looks(&profile.kernel).and_then(Looks::kernel_fault) {
            self.tell(severity, place, format!("{name} {text}"));
        } else if name.ends_with(".c32") {
            let fault = Looks::Com32.kernel_fault();
            fault.into_iter().for_each(|(severity, text)| {
                self.tell(severity, place, format!("{name} {text}"));
            });
        }
    }

    fn initrds(&mut self, profile: &Profile, places: &ProfilePlaces) {
        for (initrd, place) in profile.initrd.iter().zip(&places.initrd) {
            self.url(&initrd.source, place);
            let name = shown(&initrd.source);
            if profile.is_wimboot() && initrd.name.is_none() && initrd.args.is_empty() {
                let file = name.rsplit('/').next().unwrap_or_default();
                let text = format!(
                    "wimboot knows its files by their names; write {{ file = {name:?}, name = \
                     {file:?} }}"
                );
                self.tell(Severity::Error, place, text);
            }
            if let Some((severity, text)) = self.looks(&initrd.source).and_then(Looks::initrd_fault)
            {
                self.tell(severity, place, format!("{name} {text}"));
            }
        }
    }

    fn url(&mut self, source: &Source, place: &Place) {
        let Source::Url(url) = source else { return };
        let scheme = url.split(':').next().unwrap_or_default();
        if self.built_in && matches!(scheme, "https" | "ftp") {
            let text = format!(
                "{url}: the iPXE that is built in has no {scheme} and would try it 20 times; write \
                 http, put the file into the repository, or put an iPXE with {scheme} into [firmware] \
                 dir"
            );
            self.tell(Severity::Warning, place, text);
        }
    }

    fn arg(&mut self, arg: &str, place: &Place) {
        let mut rest = arg;
        while let Some((_, after)) = rest.split_once("${") {
            let name = after.split('}').next().unwrap_or_default();
            let is_setting = name.contains(['/', ':', '.']) || SETTINGS.contains(&name);
            if !is_setting {
                let text = format!(
                    "{arg:?}: iPXE fills in ${{{name}}} itself, and it has nothing of that name; \
                     write what is meant, or {{{{ metadata.x }}}}"
                );
                self.tell(Severity::Warning, place, text);
            }
            rest = after;
        }
        if let Some(c) = arg.chars().find(|c| !c.is_ascii()) {
            let text = format!(
                "{arg:?}: UEFI's iPXE passes the bytes of {c:?} on as letters of their own; write \
                 ASCII alone"
            );
            self.tell(Severity::Warning, place, text);
        }
        if arg.contains("  ") && arg.contains('"') {
            let text = format!("{arg:?}: iPXE makes one space of several, in quotes, too");
            self.tell(Severity::Warning, place, text);
        }
    }
}

fn shown(source: &Source) -> String {
    match source {
        Source::Repository(path) => path.to_string(),
        Source::Url(url) => url.split(['?', '#']).next().unwrap_or(url).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    struct Tree(PathBuf);

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_a_loader_would_not_start_is_named() {
        let linux = [&[0; 0x202][..], b"HdrS", &[0; 64]].concat();
        let tree = Tree(std::env::temp_dir().join(format!("bootbox-boot-{}", std::process::id())));
        let _ = fs::create_dir_all(&tree.0);
        for (name, bytes) in [
            ("linux", &linux[..]),
            ("initrd", b"070701"),
            ("empty", b""),
            ("page", b"<!DOCTYPE html>"),
            ("menu", b"#!ipxe\nshell\n"),
            ("wimboot", b"MZ"),
            ("mboot.c32", b"ELF"),
        ] {
            fs::write(tree.0.join(name), bytes).unwrap();
        }
        let store = Store::new(None, Some(Store::open_folder(&tree.0).unwrap()));
        let said = |profile: &str| {
            let text = format!(
                "[[profile]]\nname = \"p\"\n{profile}\n[[group]]\nname = \"g\"\nprofile = \"p\"\n\
                 [[group]]\nname = \"h\"\nprofile = \"p\"\nselector.serial = \"7\"\n"
            );
            let config = Config::parse(&text, "b").unwrap();
            let looked = look(&config, &store, &Programs::default());
            let shown = |found: Vec<Problem>| {
                found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            };
            (shown(looked.problems), shown(looked.warnings))
        };
        let nothing = (String::new(), String::new());
        assert_eq!(
            said("kernel = \"/linux\"\ninitrd = [\"/initrd\"]\nargs = [\"a=${uuid}\"]"),
            nothing
        );
        assert_eq!(said("chain = \"/menu\""), nothing);
        let named = "kernel = \"/wimboot\"\ninitrd = [{ file = \"/page2\", name = \"BCD\" }]";
        assert_eq!(said(named), nothing);
        for (profile, error, warning) in [
            (
                "kernel = \"/initrd\"\ninitrd = [\"/linux\"]",
                "are kernel and initrd swapped?",
                "swapped",
            ),
            ("kernel = \"/empty\"", "b:3: /empty has no bytes", ""),
            ("kernel = \"/linux\"\ninitrd = [\"/page\"]", "b:4: /page is a web page", ""),
            ("kernel = \"/menu\"", "", "write chain = instead"),
            ("chain = \"/linux\"", "write kernel = for it", ""),
            ("kernel = \"/mboot.c32\"", "COM32", ""),
            ("kernel = \"/wimboot\"\ninitrd = [\"/initrd\"]", "name = \"initrd\" }", ""),
            (
                "kernel = \"/linux\"\nargs = [\"a=${nonsense}\"]",
                "",
                "b:4: \"a=${nonsense}\": iPXE fills",
            ),
            ("kernel = \"/linux\"\nargs = [\"a=\u{e9}\"]", "", "write ASCII alone"),
        ] {
            let (problems, warnings) = said(profile);
            for (found, expected) in [(problems, error), (warnings, warning)] {
                assert!(found.contains(expected), "{profile}: {found}");
                assert_eq!(found.lines().count(), usize::from(!expected.is_empty()), "{found}");
            }
        }
    }
}
