//! The texts that machines are given: templates, and what arguments name at our own address.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use super::{
    closed::closed,
    error::Place,
    resolve::{Desk, OURS},
    shape,
};
use crate::{
    catalog::{Profile, Source},
    check::{Kind, Target},
    machine::{Mac, Machine},
    path::{RepositoryPath, UrlPath},
    template::{Metadata, Template, Words},
};

/// Arguments that name a config, and who reads it. Others may name a file of any size.
const KEYS: [(&str, Reader); 17] = [
    ("autoyast", Reader::AutoYast),
    ("autoyast2", Reader::AutoYast),
    ("cloud-config-url", Reader::CloudInit),
    ("cloud_config_url", Reader::CloudInit),
    ("config_url", Reader::Other),
    ("coreos.config.url", Reader::Ignition),
    ("coreos.inst.ignition_url", Reader::Ignition),
    ("flatcar.config.url", Reader::Ignition),
    ("harvester.install.config_url", Reader::Other),
    ("ignition.config.url", Reader::Ignition),
    ("inst.auto", Reader::Other),
    ("inst.ks", Reader::Anaconda),
    ("k3os.install.config_url", Reader::Other),
    ("ks", Reader::Kickstart),
    ("preseed/url", Reader::Debian),
    ("talos.config", Reader::Talos),
    ("url", Reader::Debian),
];

/// What on a machine reads a config.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reader {
    /// Anaconda of today.
    Anaconda,
    /// SUSE's installer.
    AutoYast,
    /// cloud-init.
    CloudInit,
    /// coreos-cloudinit, of CoreOS and Flatcar.
    CoreosCloudinit,
    /// Debian's installer.
    Debian,
    /// Ignition.
    Ignition,
    /// Any reader of kickstart files: ESXi and old Anacondas, too.
    Kickstart,
    /// cloud-init, of what a seed has beside the user-data.
    MetaData,
    /// An installer that takes what it finds.
    Other,
    /// Talos.
    Talos,
}

impl Reader {
    /// The reader of the text that this argument of a profile names.
    fn of(key: &str, profile: &Profile) -> Option<Self> {
        let &(_, reader) = KEYS.iter().find(|(known, _)| *known == key)?;
        // Debian's short form; for others url= names an image.
        if key == "url" && !is_automatic(profile) {
            return None;
        }
        let is_coreos = reader == Self::CloudInit && has_coreos_cloudinit(profile);
        Some(if is_coreos { Self::CoreosCloudinit } else { reader })
    }

    /// What a text must be for it that looks like this.
    pub fn kind(self, looks: Kind) -> Kind {
        match (self, looks) {
            (Self::Anaconda | Self::Kickstart, _) => Kind::Kickstart,
            // It fills in ERB templates by itself, which are no XML yet.
            (Self::AutoYast, Kind::Text) => looks,
            (Self::AutoYast, _) => Kind::AutoYast,
            // The key coreos: tells a CoreOS whose kernel has another name.
            (Self::CloudInit, Kind::Autoinstall | Kind::CloudConfig | Kind::Script) => looks,
            (Self::CloudInit, _) => Kind::CloudInit,
            // It tells the two by their first lines, and passes over what is for Ignition.
            (Self::CoreosCloudinit, Kind::Ignition | Kind::Script) => looks,
            (Self::CoreosCloudinit, _) => Kind::CloudConfig,
            (Self::Debian, _) => Kind::Preseed,
            (Self::Ignition, _) => Kind::Ignition,
            (Self::MetaData, _) => Kind::Yaml,
            (Self::Other, _) => looks,
            (Self::Talos, _) => Kind::Talos,
        }
    }

    /// Whether it surely reads no other kind.
    pub fn is_strict(self) -> bool {
        !matches!(self, Self::Kickstart | Self::MetaData | Self::Other)
    }
}

/// Whether user-data is read by coreos-cloudinit where this profile is booted.
pub fn has_coreos_cloudinit(profile: &Profile) -> bool {
    let is_known = match &profile.kernel {
        Source::Repository(path) => Target::of(&path.to_string()) != Target::Unknown,
        Source::Url(url) => Target::of(url) != Target::Unknown,
    };
    // Fedora CoreOS and its installer have arguments of their own with the same beginning.
    let is_theirs = |word: &str| {
        word.starts_with("flatcar.")
            || (word.starts_with("coreos.")
                && !["coreos.inst", "coreos.live"].iter().any(|start| word.starts_with(start)))
    };
    is_known || words_of(profile).iter().any(|word| is_theirs(word))
}

fn is_automatic(profile: &Profile) -> bool {
    words_of(profile).iter().any(|word| matches!(word.as_str(), "auto" | "auto=true"))
}

fn words_of(profile: &Profile) -> Vec<String> {
    let sources = profile.args.iter().map(Template::source);
    sources.flat_map(|it| it.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// A repository file that is a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Declared {
    /// Where machines ask for it.
    pub path: UrlPath,
    /// What it is made from.
    pub file: RepositoryPath,
    /// What it is for, where that is said.
    pub kind: Option<Kind>,
    /// The line that declares it.
    pub place: Place,
}

/// A path at our own address that an argument of a group's profile names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mention {
    /// The group.
    pub group: String,
    /// The path, without its query.
    pub path: UrlPath,
    /// Who reads it, where the argument is known to name a config.
    pub reader: Option<Reader>,
    /// The argument's name.
    pub key: String,
    /// The line of the argument.
    pub place: Place,
}

impl Desk<'_> {
    pub(super) fn templates(&mut self, written: Vec<shape::Template>) -> Vec<Declared> {
        let mut paths = BTreeSet::new();
        let mut found: Vec<Declared> = Vec::new();
        for written in written {
            let Some(declared) = self.template(&written) else { continue };
            if paths.insert(declared.path.clone()) {
                self.documents.insert(declared.path.clone());
                found.push(declared);
            } else {
                let text = format!("{} is a template already; keep one", declared.path);
                self.wrong(&written.path, text);
            }
        }
        found
    }

    fn template(&mut self, written: &shape::Template) -> Option<Declared> {
        let text = written.path.get_ref();
        let path = match UrlPath::parse(text.as_bytes()) {
            Ok(path) => path,
            Err(error) => {
                self.wrong(&written.path, format!("{text:?} {error}"));
                return None;
            }
        };
        if let Some(problem) = unfit(text, &path) {
            self.wrong(&written.path, format!("{text:?} {problem}"));
            return None;
        }
        let kind = match written.kind.as_ref().map(|kind| (kind, kind.get_ref().parse::<Kind>())) {
            None => None,
            Some((_, Ok(kind))) => Some(kind),
            Some((kind, Err(error))) => {
                self.wrong(kind, error.to_string());
                None
            }
        };
        let file = match &written.file {
            Some(file) => match RepositoryPath::parse(file.get_ref().as_bytes()) {
                Ok(found) => found,
                Err(error) => {
                    self.wrong(file, format!("{:?} {error}", file.get_ref()));
                    return None;
                }
            },
            None => match path.file() {
                Some(file) => file,
                None => {
                    let example = format!("{path}install.sh");
                    let text = format!("{text:?} is a folder; add file = {example:?} or the like");
                    self.wrong(&written.path, text);
                    return None;
                }
            },
        };
        let place = self.page.place(written.file.as_ref().unwrap_or(&written.path));
        Some(Declared { path, file, kind, place })
    }

    /// Notes what an argument names beneath `{{ base_url }}`. A path that is another one on each
    /// machine names no file that is known now.
    pub(super) fn mention(
        &mut self,
        group: &str,
        place: &Place,
        (profile, arg): (&Profile, &Template),
        metadata: &Metadata,
    ) {
        let documents = &self.documents;
        self.closed.extend(closed(arg, metadata, |path| documents.contains(path)));
        let paths = |words: &Words| arg.render(words, metadata).map(|arg| paths(&arg, words));
        let words = Words::specimen();
        let (Ok(one), Ok(other)) = (paths(&words), paths(&other(&words))) else { return };
        for named in one.into_iter().filter(|named| other.contains(named)) {
            let mention = |path: UrlPath, reader: Option<Reader>| {
                let (group, place) = (group.to_owned(), place.clone());
                Mention { group, path, reader, key: named.key.clone(), place }
            };
            let reader = Reader::of(&named.key, profile);
            // A folder of AutoYaST's is one of rules.
            let is_folder = named.path.file().is_none();
            let reader = reader.filter(|&reader| reader != Reader::AutoYast || !is_folder);
            let key = (group.to_owned(), named.path.clone(), named.key.clone());
            if !self.mentioned.insert(key) {
                continue;
            }
            self.mentions.push(mention(named.path.clone(), reader));
            if named.is_seed {
                for (name, reader) in SEED {
                    let path = UrlPath::parse(&[named.path.as_bytes(), name.as_bytes()].concat());
                    self.mentions.extend(path.ok().map(|path| mention(path, Some(reader))));
                }
            }
        }
    }
}

/// The files of a seed's folder without which cloud-init takes no seed.
const SEED: [(&str, Reader); 2] =
    [("meta-data", Reader::MetaData), ("user-data", Reader::CloudInit)];

fn unfit(text: &str, path: &UrlPath) -> Option<&'static str> {
    if !text.starts_with('/') {
        return Some("is no path of ours; write it from / on, without http://");
    }
    if text.contains(['?', '#', '{', '%']) {
        return Some("is no plain path; leave out \"?\", \"#\", \"%\" and words");
    }
    if path.file().is_some_and(|path| OURS.contains(&path.as_bytes())) {
        return Some("is a script of bootbox's own; take another path");
    }
    text.trim_start_matches('/').starts_with('~').then_some("begins with \"~\", as tokens do")
}

/// A path that an argument names.
#[derive(Eq, PartialEq)]
struct Named {
    key: String,
    path: UrlPath,
    /// Whether it is the folder of a seed of cloud-init's.
    is_seed: bool,
}

/// The paths beneath our address.
fn paths(arg: &str, words: &Words) -> Vec<Named> {
    let mut found = Vec::new();
    for word in arg.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let is_nocloud =
            key == "ds" && value.trim_start_matches(['"', '\'']).starts_with("nocloud");
        for (at, _) in word.match_indices(&words.base_url) {
            let rest = &word[at + words.base_url.len()..];
            let end = rest.find(|c| "?#;,\"'".contains(c)).unwrap_or(rest.len());
            if !rest.starts_with('/') || end < 2 {
                continue;
            }
            let path: Vec<u8> = percent_decode_str(&rest[..end]).collect();
            let Ok(path) = UrlPath::parse(&path) else { continue };
            // cloud-init writes the names of its files behind what is there.
            let is_whole = !rest[end..].starts_with(['?', '#', ',']);
            let is_seed = is_nocloud && is_whole && path.file().is_none();
            found.push(Named { key: key.to_owned(), path, is_seed });
        }
    }
    found
}

/// Another machine, to see what of an argument is each machine's own.
pub(super) fn other(words: &Words) -> Words {
    let mac = Mac::new([0x52, 0x54, 0, 0, 0, 2]).unwrap_or(words.machine.mac);
    let uuid = "21223344-5566-7788-99aa-bbccddeeff00".parse().ok();
    let ip = [192, 0, 2, 3].into();
    Words { ip, machine: Machine::heard(mac, uuid, None), ..words.clone() }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const BASE: &str = "[[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\n\
                        profile = \"p\"\n";

    fn with(more: &str) -> Result<Config, String> {
        Config::parse(&format!("{BASE}{more}"), "b.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn a_template_is_a_path_and_the_file_it_is_made_from() {
        let config = with(
            "[[template]]\npath = \"/coreos//\"\nfile = \"/coreos/install.sh\"\nkind = \"script\"\n\
             [[template]]\npath = \"/coreos/cloud-config.yaml\"",
        )
        .unwrap();
        let [index, cloud] = config.templates.as_slice() else { panic!("two") };
        assert_eq!(
            (index.path.to_string(), index.file.to_string()),
            ("/coreos/".to_owned(), "/coreos/install.sh".to_owned())
        );
        assert_eq!(index.kind, "script".parse().ok());
        assert_eq!((index.place.line, cloud.place.line), (Some(9), Some(12)));
        assert_eq!(
            (cloud.path.to_string(), cloud.kind),
            ("/coreos/cloud-config.yaml".to_owned(), None)
        );
    }

    #[test]
    fn each_mistake_in_a_template_names_its_line_and_what_to_write() {
        for (template, said) in [
            (
                "path = \"/coreos/\"",
                "b.toml:8: \"/coreos/\" is a folder; add file = \"/coreos/install.sh\"",
            ),
            (
                "path = \"coreos/x\"",
                "b.toml:8: \"coreos/x\" is no path of ours; write it from / on",
            ),
            ("path = \"/a?b\"", "b.toml:8: \"/a?b\" is no plain path"),
            ("path = \"/../x\"", "b.toml:8: \"/../x\" climbs with"),
            ("path = \"/ipxe\"", "b.toml:8: \"/ipxe\" is a script of bootbox's own"),
            ("path = \"/~x\"", "b.toml:8: \"/~x\" begins with \"~\""),
            (
                "path = \"/x\"\nkind = \"yml\"",
                "b.toml:9: \"yml\" is no kind of text; the kinds are autoinstall, autoyast, cloud-config",
            ),
            ("path = \"/x\"\nfile = \"/x/\"", "b.toml:9: \"/x/\" names a directory"),
            ("path = \"/x\"\n[[template]]\npath = \"//x\"", "b.toml:10: /x is a template already"),
        ] {
            let error = with(&format!("[[template]]\n{template}")).unwrap_err();
            assert!(error.starts_with(said), "{template}: {error}");
        }
        let kernel = BASE.replace("\"/k\"", "\"/~k\"");
        assert!(Config::parse(&kernel, "b").unwrap_err().to_string().contains("as tokens do"));
    }

    #[test]
    fn what_arguments_name_at_our_address_is_noted() {
        let args = "args = [\"coreos.config.url={{ base_url }}/coreos//ignition.json?mac={{ mac }}\", \
                    \"ds=nocloud-net;s={{ base_url }}/u/ x={{ base_url }}\", \
                    \"ks={{ base_url }}/{{ mac }}.ks\", \"preseed/url=http://192.0.2.9/x\", \
                    \"cloud-config-url={{ base_url }}/{{ metadata.dir }}/\"]\nmetadata.dir = \"c%20d\"\n";
        let text = BASE.replace("[[group]]", &format!("{args}[[group]]"));
        let config = Config::parse(&text, "b.toml").unwrap();
        let found: Vec<(String, bool)> =
            config.mentions.iter().map(|it| (it.path.to_string(), it.reader.is_some())).collect();
        let expected = [
            ("/coreos/ignition.json", true),
            ("/u/", false),
            ("/u/meta-data", true),
            ("/u/user-data", true),
            ("/c d/", true),
        ];
        assert_eq!(found, expected.map(|(path, is_config)| (path.to_owned(), is_config)));
        assert!(config.mentions.iter().all(|it| it.group == "g" && it.place.line == Some(4)));
    }
}
