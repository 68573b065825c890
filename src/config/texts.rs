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
    check::Kind,
    machine::{Mac, Machine},
    path::{RepositoryPath, UrlPath},
    template::{Metadata, Template, Words},
};

/// Arguments that name a config, and who reads it. Others may name a file of any size.
const KEYS: [(&str, Reader); 10] = [
    ("cloud-config-url", Reader::CloudInit),
    ("cloud_config_url", Reader::CloudInit),
    ("coreos.config.url", Reader::Ignition),
    ("coreos.inst.ignition_url", Reader::Ignition),
    ("flatcar.config.url", Reader::Ignition),
    ("ignition.config.url", Reader::Ignition),
    ("inst.ks", Reader::Other),
    ("ks", Reader::Other),
    ("preseed/url", Reader::Other),
    ("talos.config", Reader::Other),
];

/// What on a machine reads a config.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reader {
    /// coreos-cloudinit.
    CloudInit,
    /// Ignition.
    Ignition,
    /// An installer that takes what it finds.
    Other,
}

impl Reader {
    /// What a text must be for it that looks like this.
    pub fn kind(self, looks: Kind) -> Kind {
        match (self, looks) {
            (Self::Ignition, _) => Kind::Ignition,
            // It tells the two by their first lines, and passes over what is for Ignition.
            (Self::CloudInit, Kind::CloudConfig | Kind::Ignition | Kind::Script) => looks,
            (Self::CloudInit, Kind::Ipxe | Kind::Text) => Kind::CloudConfig,
            (Self::Other, _) => looks,
        }
    }
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
        arg: &Template,
        metadata: &Metadata,
    ) {
        let documents = &self.documents;
        self.closed.extend(closed(arg, metadata, |path| documents.contains(path)));
        let paths = |words: &Words| arg.render(words, metadata).map(|arg| paths(&arg, words));
        let words = Words::specimen();
        let (Ok(one), Ok(other)) = (paths(&words), paths(&other(&words))) else { return };
        for (path, reader) in one.into_iter().filter(|path| other.contains(path)) {
            let (group, place) = (group.to_owned(), place.clone());
            self.mentions.push(Mention { group, path, reader, place });
        }
    }
}

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

/// The paths beneath our address, and who reads what is there.
fn paths(arg: &str, words: &Words) -> Vec<(UrlPath, Option<Reader>)> {
    let mut found = Vec::new();
    for word in arg.split_whitespace() {
        let key = word.split_once('=').map_or(word, |(key, _)| key);
        let reader = KEYS.iter().find(|(known, _)| *known == key).map(|&(_, reader)| reader);
        for (at, _) in word.match_indices(&words.base_url) {
            let rest = &word[at + words.base_url.len()..];
            let end = rest.find(|c| "?#;,\"'".contains(c)).unwrap_or(rest.len());
            if !rest.starts_with('/') || end < 2 {
                continue;
            }
            let path: Vec<u8> = percent_decode_str(&rest[..end]).collect();
            found.extend(UrlPath::parse(&path).ok().map(|path| (path, reader)));
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
                "path = \"/x\"\nkind = \"yaml\"",
                "b.toml:9: \"yaml\" is no kind of text; the kinds are cloud-config",
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
        let expected = [("/coreos/ignition.json", true), ("/u/", false), ("/c d/", true)];
        assert_eq!(found, expected.map(|(path, is_config)| (path.to_owned(), is_config)));
        assert!(config.mentions.iter().all(|it| it.group == "g" && it.place.line == Some(4)));
    }
}
