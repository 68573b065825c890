//! Looks at profiles that leave `install` out, and asks for the word where it is not certain that
//! the disk is left alone. Reads ESXi's boot.cfg, which may start an unattended installation.

use std::collections::BTreeSet;

use super::{goal::named, site::Site};
use crate::{
    catalog::{Group, Source},
    config::{Problem, leaves_the_disk_alone, names_ignition},
    path::{RepositoryPath, UrlPath},
    render::arguments,
    template::Words,
};

/// The name of ESXi's list of modules and options.
const BOOT_CFG: &str = "boot.cfg";
/// As much of it is read; the module lines of ESXi 8 take 6 KiB.
const MOST: usize = 256 << 10;

/// Findings about all profiles.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    /// The profile surely installs.
    pub(super) problems: Vec<Problem>,
    /// The profile may install.
    pub(super) warnings: Vec<Problem>,
}

/// Looks at each profile that a group boots. Tells of each once.
pub(super) fn look(site: &Site) -> Unsaid {
    let words = Words::specimen();
    let mut found = Unsaid::default();
    let mut told = BTreeSet::new();
    for group in site.config.catalog.variants() {
        let profile = &group.profile;
        if profile.says_install || profile.installs() || told.contains(&profile.name) {
            continue;
        }
        let Some(places) = site.config.profiles.get(&profile.name) else { continue };
        let args = arguments(group, &words).unwrap_or_default();
        let problem = |text| Problem { place: places.name.clone(), text };
        if let Some(text) = unattended(site, group, &words, &args) {
            found.problems.push(problem(text));
        } else if names_ignition(profile) {
            found.warnings.push(problem(format!(
                "profile {:?} does not say whether it installs, and its Ignition config may write \
                 to the disk: add install = \"once\" if it does, or install = \"never\"",
                profile.name
            )));
        } else if profile.chains || !leaves_the_disk_alone(&profile.kernel, &args) {
            let what = match profile.chains {
                true => "its iPXE script",
                false => "its kernel with these args",
            };
            found.warnings.push(problem(format!(
                "profile {:?} does not say whether it installs, and {what} may write to the disk: \
                 add install = \"once\" if it does, or install = \"never\"",
                profile.name
            )));
        } else {
            continue;
        }
        told.insert(&profile.name);
    }
    found
}

/// The problem, where ESXi's boot.cfg starts an installation that asks nobody.
fn unattended(site: &Site, group: &Group, words: &Words, args: &[String]) -> Option<String> {
    boot_cfgs(&group.profile.kernel, words, args).into_iter().find_map(|path| {
        let text = match site.configs.get(&UrlPath::from(&path)) {
            Some(text) => text.render(words, group).ok()?.to_vec(),
            None => site.store.read(&path).ok()?.head(MOST).ok()?,
        };
        let line = kickstart_line(&String::from_utf8_lossy(&text))?;
        Some(format!(
            "profile {:?} installs and does not say so: line {line} of {path} has ks=, which starts \
             an installation that asks nobody; add install = \"once\"",
            group.profile.name
        ))
    })
}

/// Where ESXi's boot loader looks for boot.cfg: what -c names, else beside the loader, else two
/// folders above it, as the loader of UEFI lies in efi/boot.
fn boot_cfgs(kernel: &Source, words: &Words, args: &[String]) -> Vec<RepositoryPath> {
    let tokens: Vec<&str> = args.iter().flat_map(|arg| arg.split_whitespace()).collect();
    let says = tokens.iter().position(|token| *token == "-c").and_then(|at| tokens.get(at + 1));
    let ours = match kernel {
        Source::Repository(path) => Some(UrlPath::from(path)),
        Source::Url(url) => named(url, &words.base_url).into_iter().next(),
    };
    let folder = ours.and_then(|kernel| kernel.file()?.folder());
    let beneath = |folder: Option<&RepositoryPath>, name: &str| match folder {
        Some(folder) => folder.join(name.as_bytes()).ok(),
        None => RepositoryPath::parse(name.as_bytes()).ok(),
    };
    match says {
        Some(name) if name.contains("://") => {
            named(name, &words.base_url).iter().filter_map(UrlPath::file).collect()
        }
        Some(name) => {
            [beneath(folder.as_ref(), name), beneath(None, name)].into_iter().flatten().collect()
        }
        None => {
            let above = folder.as_ref().and_then(RepositoryPath::folder);
            let two_above = above.as_ref().and_then(RepositoryPath::folder);
            let folders = [folder.as_ref(), two_above.as_ref()];
            folders.into_iter().filter_map(|folder| beneath(folder, BOOT_CFG)).collect()
        }
    }
}

/// The line of a boot.cfg whose kernel options name a kickstart file.
fn kickstart_line(text: &str) -> Option<usize> {
    let names_kickstart = |line: &str| {
        let (key, options) = line.split_once('=')?;
        let has_ks = options.split_whitespace().any(|option| option.starts_with("ks="));
        (key.trim() == "kernelopt" && has_ks).then_some(())
    };
    (1..).zip(text.lines()).find_map(|(number, line)| names_kickstart(line).map(|()| number))
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        path::{Path, PathBuf},
        process,
    };

    use super::*;
    use crate::{config::Config, serve::store::Store};

    fn folder(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("bootbox-unsaid-{name}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Problems and warnings about a profile with these lines.
    fn said(folder: &Path, lines: &str) -> (Vec<String>, Vec<String>) {
        let text = format!(
            "[[profile]]\nname = \"p\"\n{lines}\n[[group]]\nname = \"g\"\nprofile = \"p\"\n\
             selector.mac = \"52:54:00:00:00:01\"\n"
        );
        let store = Store::open(None, Some(folder)).unwrap();
        let mut site = Site::of(store);
        site.config = Config::parse(&text, "b.toml").unwrap();
        let Unsaid { problems, warnings } = look(&site);
        let texts = |found: Vec<Problem>| found.iter().map(Problem::to_string).collect();
        (texts(problems), texts(warnings))
    }

    #[test]
    fn a_profile_that_may_install_is_asked_for_the_word() {
        let folder = folder("asked");
        for (lines, asks) in [
            ("kernel = \"/k\"\nargs = [\"console=ttyS0\"]", true),
            ("kernel = \"/k\"\nargs = [\"console=ttyS0\"]\ninstall = \"never\"", false),
            ("kernel = \"/k\"\nargs = [\"boot=live\"]", false),
            ("kernel = \"/k\"\nargs = [\"inst.ks=http://192.0.2.1/ks\"]", false),
            ("kernel = \"/k\"\nargs = [\"ignition.config.url=http://192.0.2.1/i\"]", true),
            ("chain = \"/menu.ipxe\"", true),
        ] {
            let (problems, warnings) = said(&folder, lines);
            assert!(problems.is_empty(), "{lines}: {problems:?}");
            assert_eq!(warnings.len(), usize::from(asks), "{lines}: {warnings:?}");
            let says = |it: &String| it.contains("add install = \"once\" if it does");
            assert!(warnings.iter().all(says), "{lines}: {warnings:?}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_kickstart_named_in_esxi_s_boot_cfg_is_an_installation() {
        let folder = folder("esxi");
        fs::create_dir_all(folder.join("esxi/efi/boot")).unwrap();
        let cfg = |options: &str| {
            let text = format!("bootstate=0\nkernel=b.b00\nkernelopt={options}\nmodules=a\n");
            fs::write(folder.join("esxi/boot.cfg"), text).unwrap();
        };
        let kernel = "kernel = \"/esxi/efi/boot/bootx64.efi\"\n";
        let args = |value: &str| format!("{kernel}args = {value}");
        let ways = [
            kernel.to_owned(),
            args("[\"-c\", \"/esxi/boot.cfg\"]"),
            args("[\"-c {{ base_url }}/esxi/boot.cfg\"]"),
        ];
        cfg("runweasel ks=http://192.0.2.1/ks.cfg");
        for lines in &ways {
            let (problems, warnings) = said(&folder, lines);
            assert!(warnings.is_empty(), "{lines}: {warnings:?}");
            assert_eq!(problems.len(), 1, "{lines}");
            assert!(problems[0].contains("line 3 of /esxi/boot.cfg has ks="), "{problems:?}");
            let (none, _) = said(&folder, &format!("{lines}\ninstall = \"once\""));
            assert!(none.is_empty(), "{none:?}");
        }
        cfg("runweasel");
        for lines in &ways {
            let (problems, warnings) = said(&folder, lines);
            assert_eq!((problems.len(), warnings.len()), (0, 1), "{lines}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
