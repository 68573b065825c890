//! Finds the files that an installing script makes its machine fetch from here, and the last one.
//!
//! Known by what the arguments name, and the texts that they name, as they are for this machine. An
//! image decides where one is named; else any text or file that the arguments name; else the last
//! initrd; else the script itself.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use super::site::Site;
use crate::{
    catalog::{Group, Source},
    http::event,
    ledger::Goal,
    path::{RepositoryPath, UrlPath},
    render::arguments,
    template::Words,
};

/// Stands for an image that is made for one machine: no file, and no path begins so.
pub(super) const UNIFIED: &str = "unified image";
/// Installers that take an image beneath the address that `-b` names.
const BY_NAME: [&str; 2] = ["coreos-install", "flatcar-install"];
/// One that takes an image from the URL that `-u` names.
const BY_URL: &str = "coreos-installer";
/// Texts that are followed from one to the next.
const MOST_TEXTS: usize = 16;
/// Ends a URL in a text.
const ENDS: &str = "?#;,\"'<>()`\\|&";

/// How a machine that a profile installs can tell that it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Signs {
    /// The files that it fetches last.
    pub(super) goal: Goal,
    /// Whether an image is what it fetches last.
    pub(super) is_image: bool,
    /// The images that an argument or an installer's command names here.
    pub(super) images: BTreeSet<String>,
    /// Whether one of its texts reports.
    pub(super) reports: bool,
}

/// The goal of the script of a machine of this group. `is_unified` where it is no script, but an
/// image of kernel and initrds.
pub(super) fn signs(site: &Site, group: &Group, words: &Words, is_unified: bool) -> Signs {
    // Requests are compared without their token, and so is what is named.
    let words = &Words { token: None, ..words.clone() };
    let args = arguments(group, words).unwrap_or_default();
    let tokens: Vec<&str> = args.iter().flat_map(|arg| arg.split_whitespace()).collect();
    let named: Vec<UrlPath> =
        tokens.iter().flat_map(|token| paths(token, &words.base_url)).collect();
    let mut found = Found::default();
    for token in &tokens {
        found.image_of(token, &words.base_url);
    }
    // The installer obeys its arguments. A text may be for the system that is installed.
    found.sure = found.images.clone();
    found.follow(site, group, words, &named);
    let text = |path: &UrlPath| {
        site.configs.get(path).is_some()
            || (path.as_bytes().ends_with(b"/")
                && site
                    .configs
                    .iter()
                    .any(|(text, _)| text.as_bytes().starts_with(path.as_bytes())))
    };
    let is_there = |path: &str| site.present.contains(path);
    // An installer that may take its image from elsewhere makes an image of ours no sure sign, and
    // neither is one that is not here.
    let is_image = (found.by_name || found.sure.iter().any(|it| is_there(it))) && !found.elsewhere;
    let mut goal = Goal { images: found.images, ..Goal::default() };
    if !is_image {
        let texts: BTreeSet<String> =
            named.iter().filter(|path| text(path)).map(UrlPath::to_string).collect();
        goal.files = match texts.is_empty() {
            true => named.iter().map(UrlPath::to_string).filter(|it| is_there(it)).collect(),
            false => texts,
        };
    }
    // A name of something that is not here is no file that is ever fetched to its end.
    let is_known = |path: &UrlPath| text(path) || is_there(&path.to_string());
    let is_sure = named.iter().all(is_known) || named.iter().any(text);
    if !is_image && (goal.files.is_empty() || !is_sure) {
        let profile = &group.profile;
        let initrd = profile.initrd.iter().map(|initrd| &initrd.source);
        let boot = [&profile.kernel].into_iter().chain(initrd).rev();
        let mut here = boot.filter_map(|source| match source {
            Source::Repository(path) => Some(UrlPath::from(path).to_string()),
            Source::Url(_) => None,
        });
        let last = if is_unified { Some(UNIFIED.to_owned()) } else { here.next() };
        goal.is_script = last.is_none();
        goal.files.extend(last);
    }
    Signs { goal, is_image, images: found.sure, reports: found.reports }
}

/// The paths that arguments and texts of installing groups name beneath our address, as far as they
/// are in the repository and the same for all machines of a group.
pub(super) fn present(site: &Site) -> BTreeSet<String> {
    let words = Words::specimen();
    let mut looked_at = BTreeSet::new();
    let groups = site.config.catalog.variants().filter(|group| group.profile.installs());
    for group in groups {
        let args = arguments(group, &words).unwrap_or_default();
        let tokens = || args.iter().flat_map(|arg| arg.split_whitespace());
        let named: Vec<UrlPath> =
            tokens().flat_map(|token| paths(token, &words.base_url)).collect();
        let mut found = Found::default();
        tokens().for_each(|token| found.image_of(token, &words.base_url));
        found.follow(site, group, &words, &named);
        looked_at.extend(named.iter().map(UrlPath::to_string));
        looked_at.extend(found.images);
    }
    looked_at.into_iter().filter(|path| is_in_repository(site, path)).collect()
}

fn is_in_repository(site: &Site, path: &str) -> bool {
    let Ok(path) = RepositoryPath::parse(path.trim_matches('/').as_bytes()) else { return false };
    site.store.read(&path).is_ok() || site.store.list(Some(&path)).is_ok()
}

/// Images and reports in the texts of a machine.
#[derive(Debug, Default)]
struct Found {
    images: BTreeSet<String>,
    /// Those of them that an argument or an installer's command names.
    sure: BTreeSet<String>,
    /// An image beneath one of our folders, by the name that its maker gave it.
    by_name: bool,
    /// An installer that is told no image of ours.
    elsewhere: bool,
    reports: bool,
}

impl Found {
    /// Reads the texts at these paths, and those that they name.
    fn follow(&mut self, site: &Site, group: &Group, words: &Words, named: &[UrlPath]) {
        let mut paths_left: Vec<UrlPath> = named.to_vec();
        let mut done = BTreeSet::new();
        while let Some(path) = paths_left.pop() {
            if done.len() >= MOST_TEXTS || !done.insert(path.clone()) {
                continue;
            }
            let Some(text) = site.configs.get(&path) else { continue };
            let Ok(text) = text.render(words, group) else { continue };
            let text = String::from_utf8_lossy(&text);
            paths_left.extend(self.read(&text, &words.base_url));
        }
    }

    /// Reads one text; the answer is the paths that it names beneath our address.
    fn read(&mut self, text: &str, base_url: &str) -> Vec<UrlPath> {
        self.reports |= text.contains(event::PATH);
        let text = with_variables(&text.replace("\\\n", " "), base_url);
        let is_comment = |line: &&str| line.trim_start().starts_with('#');
        for line in text.lines().filter(|line| !is_comment(line)) {
            let commands = line.split("||").flat_map(|part| part.split("&&"));
            commands.flat_map(|part| part.split(';')).for_each(|it| self.command(it, base_url));
        }
        paths(&text, base_url)
    }

    /// Reads one command, or another line of a text, for an image.
    fn command(&mut self, command: &str, base_url: &str) {
        let tokens: Vec<&str> = command.split_whitespace().map(unquoted).collect();
        let runs = |program: &str| {
            tokens.iter().any(|token| token.rsplit('/').next().is_some_and(|name| name == program))
        };
        let (by_name, by_url) = (BY_NAME.into_iter().any(runs), runs(BY_URL));
        let (mut names_ours, mut own) = (false, BTreeSet::new());
        for (at, token) in tokens.iter().enumerate() {
            let next = tokens.get(at + 1).copied().unwrap_or_default();
            names_ours |= by_name
                && token.strip_prefix("-b").is_some_and(|value| {
                    unquoted(value).starts_with(base_url)
                        || (value.is_empty() && next.starts_with(base_url))
                });
            if is_image_key(token) || (by_url && *token == "-u") {
                own.extend(paths(next, base_url).iter().map(UrlPath::to_string));
            }
            own.extend(image_in(token, base_url));
        }
        self.by_name |= names_ours;
        let installs =
            (by_name && tokens.contains(&"-d")) || (by_url && tokens.contains(&"install"));
        self.elsewhere |= installs && !names_ours && own.is_empty();
        if by_name || by_url {
            self.sure.extend(own.iter().cloned());
        }
        self.images.extend(own);
    }

    fn image_of(&mut self, token: &str, base_url: &str) {
        self.images.extend(image_in(token, base_url));
    }
}

/// The image of a token like `coreos.inst.image_url=URL`.
fn image_in(token: &str, base_url: &str) -> Vec<String> {
    match token.split_once('=') {
        Some((key, value)) if is_image_key(key) => {
            paths(value, base_url).iter().map(UrlPath::to_string).collect()
        }
        Some(_) | None => Vec::new(),
    }
}

fn is_image_key(token: &str) -> bool {
    let key = token.trim_matches(|c: char| "\"':,-".contains(c));
    key.ends_with("image_url") || key.ends_with("image-url")
}

fn unquoted(token: &str) -> &str {
    token.trim_matches(|c: char| "\"'".contains(c))
}

/// The text with shell variables filled in whose value begins with our address.
fn with_variables(text: &str, base_url: &str) -> String {
    let mut filled = text.to_owned();
    for line in text.lines() {
        for token in line.split([' ', '\t', ';']) {
            let Some((name, value)) = token.split_once('=') else { continue };
            let value = unquoted(value);
            let is_name = !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && value.starts_with(base_url);
            if is_name {
                filled = filled.replace(&format!("${{{name}}}"), value);
                filled = filled.replace(&format!("${name}/"), &format!("{value}/"));
                filled = filled.replace(&format!("${name}\""), &format!("{value}\""));
                filled = filled.replace(&format!("${name} "), &format!("{value} "));
            }
        }
    }
    filled
}

/// The paths beneath our address that an argument names.
pub(super) fn named(token: &str, base_url: &str) -> Vec<UrlPath> {
    paths(token, base_url)
}

/// The paths beneath our address in a text.
fn paths(text: &str, base_url: &str) -> Vec<UrlPath> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(base_url) {
        let rest = &text[at + base_url.len()..];
        let rest = rest.strip_prefix(":80").unwrap_or(rest);
        let end = rest.find(|c: char| c.is_whitespace() || ENDS.contains(c)).unwrap_or(rest.len());
        if rest.starts_with('/') && end > 1 {
            let path: Vec<u8> = percent_decode_str(&rest[..end]).collect();
            found.extend(UrlPath::parse(&path).ok());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, serve::store::Store, token::Token};

    const BASE: &str = "http://192.0.2.1";

    /// The image and the report of a text.
    fn found(text: &str) -> (Vec<String>, bool, bool) {
        let mut found = Found::default();
        found.read(text, BASE);
        (found.images.into_iter().collect(), found.by_name, found.reports)
    }

    #[test]
    fn an_image_is_known_by_what_a_text_names() {
        let named = |path: &str| (vec![path.to_owned()], false, false);
        let by_name = (Vec::new(), true, false);
        let nothing = (Vec::new(), false, false);
        for (text, expected) in [
            ("coreos-install -d /dev/sda -b http://192.0.2.1/coreos", &by_name),
            (
                "base=\"http://192.0.2.1\"\nflatcar-install -d /dev/sda \\\n  -b \"$base/f\"",
                &by_name,
            ),
            ("B='http://192.0.2.1/f'\n/usr/bin/coreos-install -b ${B} -C stable", &by_name),
            ("coreos-install -d /dev/sda -C stable", &nothing),
            ("coreos-install -b https://stable.example/ -o 'http://192.0.2.1/x'", &nothing),
            (
                "coreos-installer install --image-url http://192.0.2.1/a.raw.gz /dev/sda",
                &named("/a.raw.gz"),
            ),
            ("coreos-installer install -u http://192.0.2.1/a.raw.gz /dev/sda", &named("/a.raw.gz")),
            ("image-url: http://192.0.2.1/x/b.img?y", &named("/x/b.img")),
            ("image-url: http://192.0.2.9/x/b.img", &nothing),
            ("  # coreos-install -d /dev/sda -b http://192.0.2.1/coreos", &nothing),
            ("curl -X POST http://192.0.2.1/v1/event?state=installed", &(Vec::new(), false, true)),
        ] {
            assert_eq!(found(text), *expected, "{text}");
        }
    }

    #[test]
    fn an_installer_that_may_take_its_image_from_elsewhere_is_told() {
        for (text, expected) in [
            ("coreos-install -d /dev/sda -b http://192.0.2.1/coreos", false),
            (
                "coreos-install -d /dev/sda -b http://192.0.2.1/c || coreos-install -d /dev/sda",
                true,
            ),
            ("coreos-install -d /dev/sda \\\n  -b http://192.0.2.1/c; reboot", false),
            ("# coreos-install -d /dev/sda", false),
            ("echo coreos-install failed", false),
            ("flatcar-install -d /dev/sda -C stable", true),
            ("coreos-installer install --image-url http://192.0.2.1/i /dev/sda", false),
            (
                "coreos-installer install -u http://192.0.2.1/i /dev/sda || coreos-installer \
                 install --stream stable /dev/sda",
                true,
            ),
        ] {
            let mut found = Found::default();
            found.read(text, BASE);
            assert_eq!(found.elsewhere, expected, "{text}");
        }
    }

    #[test]
    fn what_a_script_leads_to_is_the_same_with_a_token() {
        let text = "[[profile]]\nname = \"p\"\nkernel = \"/k\"\ninstall = \"once\"\n\
                    args = [\"inst.ks={{ base_url }}/ks.cfg\"]\n\
                    [[group]]\nname = \"g\"\nprofile = \"p\"\nevery-machine = true\n";
        let mut site = Site::of(Store::new(None, None));
        site.config = Config::parse(text, "b.toml").unwrap();
        site.present = ["/ks.cfg".to_owned()].into();
        let group = &site.config.catalog.groups()[0];
        let token = Some(Token::new([7; 16]));
        for words in [Words::specimen(), Words { token, ..Words::specimen() }] {
            let goal = signs(&site, group, &words, false).goal;
            assert_eq!(goal.files.into_iter().collect::<Vec<_>>(), ["/ks.cfg"]);
        }
    }

    /// One row is one way in which a script leads to something that no machine ever fetches.
    #[test]
    fn only_what_is_there_to_be_fetched_is_the_last_of_an_installer() {
        let goal = |args: &str, present: &[&str]| {
            let text = format!(
                "[[profile]]\nname = \"p\"\nkernel = \"/k\"\ninitrd = [\"/i\"]\ninstall = \"once\"\n\
                 args = [{args}]\n[[group]]\nname = \"g\"\nprofile = \"p\"\nevery-machine = true\n"
            );
            let mut site = Site::of(Store::new(None, None));
            site.config = Config::parse(&text, "b.toml").unwrap();
            site.present = present.iter().map(|&path| path.to_owned()).collect();
            let signs = signs(&site, &site.config.catalog.groups()[0], &Words::specimen(), false);
            let files: Vec<String> = signs.goal.files.into_iter().collect();
            (files.join(" "), signs.is_image)
        };
        let image = r#""coreos.inst.image_url={{ base_url }}/r.raw.gz""#;
        let data = r#""inst.ks=https://x/ks", "log={{ base_url }}/log", "d={{ base_url }}/data""#;
        for (args, present, files, is_image) in [
            (r#""report={{ base_url }}/v1/event""#, &[][..], "/i", false),
            (r#""inst.ks=https://x/ks", "log={{ base_url }}/log""#, &[], "/i", false),
            (r#""inst.ks={{ base_url }}/ks.cfg""#, &["/ks.cfg"], "/ks.cfg", false),
            (data, &["/data"], "/data /i", false),
            (image, &["/r.raw.gz"], "", true),
            (image, &[], "/i", false),
        ] {
            assert_eq!(goal(args, present), (files.to_owned(), is_image), "{args} {present:?}");
        }
    }

    #[test]
    fn an_image_that_only_a_text_for_later_names_is_no_sure_sign() {
        for (text, is_sure) in [
            ("{\"contents\": \"image_url=http://192.0.2.1/ipa.raw\"}", false),
            ("coreos-installer install -u http://192.0.2.1/i.raw /dev/sda", true),
        ] {
            let mut found = Found::default();
            found.read(text, BASE);
            assert_eq!((found.images.len(), found.sure.len()), (1, usize::from(is_sure)), "{text}");
        }
    }

    #[test]
    fn a_token_names_an_image_by_its_key() {
        for (token, expected) in [
            ("coreos.inst.image_url=http://192.0.2.1/ocp/r.raw.gz", Some("/ocp/r.raw.gz")),
            ("coreos.inst.image_url=http://192.0.2.1:80/r.raw.gz", Some("/r.raw.gz")),
            ("coreos.inst.image_url=https://elsewhere/r.raw.gz", None),
            ("coreos.live.rootfs_url=http://192.0.2.1/rootfs.img", None),
        ] {
            let mut found = Found::default();
            found.image_of(token, BASE);
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(found.images, expected, "{token}");
        }
    }
}
