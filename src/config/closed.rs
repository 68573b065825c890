//! Which files of the repository only a token opens: what args name beneath `{{ base_url }}`,
//! whatever the argument is called.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use super::{Access, Config};
use crate::{
    path::{RepositoryPath, UrlPath},
    template::{Metadata, Template, Words},
};

/// What an argument names at our own address.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Closed {
    /// A path that has words of the machine between its two ends.
    Between {
        /// With its leading slash.
        start: Vec<u8>,
        /// What comes last.
        end: Vec<u8>,
    },
    /// A file, or a folder with all that is in it.
    Path(UrlPath),
}

impl Closed {
    fn holds(&self, path: &[u8]) -> bool {
        match self {
            Self::Between { start, end } => {
                path.len() >= start.len() + end.len()
                    && path.starts_with(start)
                    && path.ends_with(end)
            }
            Self::Path(own) => {
                let folder = own.as_bytes();
                let rest = path.strip_prefix(folder);
                rest.is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with(b"/") || folder.ends_with(b"/")
                })
            }
        }
    }

    /// The file of this name that it closes, to find it by way of a linked folder.
    fn file(&self, name: &[u8]) -> Option<RepositoryPath> {
        let Self::Path(path) = self else { return None };
        match path.file() {
            Some(file) if file.file_name() == name => Some(file),
            Some(_) => None,
            None => RepositoryPath::parse(&[path.as_bytes(), name].concat()).ok(),
        }
    }
}

impl Config {
    /// Whether a file is sent only to who has a token: an argument names it, and no machine boots it.
    pub fn closes(&self, path: &RepositoryPath) -> bool {
        let url = UrlPath::from(path);
        self.config_access == Access::Token
            && self.closed.iter().any(|closed| closed.holds(url.as_bytes()))
            && !self.boots(path)
    }

    /// The files of this one's name that only a token opens.
    pub fn closed_by_name(&self, path: &RepositoryPath) -> impl Iterator<Item = RepositoryPath> {
        let is_on = self.config_access == Access::Token;
        let named = self.closed.iter().filter(move |_| is_on);
        let found: Vec<_> = named.filter_map(|closed| closed.file(path.file_name())).collect();
        found.into_iter().filter(|file| !self.boots(file))
    }

    /// Whether it is a boot program, a kernel or a RAM disk.
    fn boots(&self, path: &RepositoryPath) -> bool {
        self.files.iter().any(|file| file.path == *path)
            || self.boot_files.iter().any(|file| file.path == *path)
    }
}

/// What an argument names beneath our address, for a group with this metadata. A folder that is a
/// text of its own (`documents`) closes nothing but itself.
pub(super) fn closed(
    arg: &Template,
    metadata: &Metadata,
    documents: impl Fn(&UrlPath) -> bool,
) -> BTreeSet<Closed> {
    let one = Words::specimen();
    let other = super::texts::other(&one);
    let render = |words: &Words| arg.render(words, metadata).ok();
    let (Some(of_one), Some(of_other)) = (render(&one), render(&other)) else {
        return BTreeSet::new();
    };
    let (ones, others) = (named(&of_one, &one.base_url), named(&of_other, &other.base_url));
    let both = ones.into_iter().zip(others);
    both.filter_map(|(one, other)| read(&one, &other))
        .filter(|closed| !matches!(closed, Closed::Path(path) if documents(path)))
        .collect()
}

/// The paths of an argument as they are written, without their queries.
fn named(arg: &str, base_url: &str) -> Vec<String> {
    let beneath = |word: &str| -> Vec<String> {
        let starts = word.match_indices(base_url).map(|(at, _)| &word[at + base_url.len()..]);
        let path = |rest: &str| {
            let end = rest.find(|c| "?#;,\"'".contains(c)).unwrap_or(rest.len());
            rest[..end].to_owned()
        };
        starts.map(path).filter(|path| path.starts_with('/') && path.len() > 1).collect()
    };
    arg.split_whitespace().flat_map(beneath).collect()
}

/// Where two machines differ, and where iPXE fills in a word, any name may stand.
fn read(one: &str, other: &str) -> Option<Closed> {
    let decoded = |path: &str| percent_decode_str(path).collect::<Vec<u8>>();
    let start = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let start = one.find("${").map_or(start, |at| at.min(start));
    if start == one.len() && one.len() == other.len() {
        return UrlPath::parse(&decoded(one)).ok().map(Closed::Path);
    }
    let ends = one.bytes().rev().zip(other.bytes().rev());
    let end = ends.take_while(|(one, other)| one == other).count().min(one.len() - start);
    let end = one.rfind('}').map_or(end, |at| end.min(one.len() - at - 1));
    // Two machines may have a digit of their words in common.
    let start = one.get(..start)?.rfind('/')? + 1;
    let end =
        one.get(one.len() - end..)?.find(['/', '.']).map_or(one.len(), |at| one.len() - end + at);
    Some(Closed::Between { start: decoded(&one[..start]), end: decoded(&one[end..]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "[http]\nconfig-access = \"token\"\n\
        [[template]]\npath = \"/doc/\"\nfile = \"/doc/x\"\n\
        [[profile]]\nname = \"p\"\nkernel = \"/tree/vmlinuz\"\ninitrd = [\"/tree/initrd\"]\n\
        args = [\"autoyast={{ base_url }}/suse/auto.xml\", \"ds=nocloud-net;s={{ base_url }}/seed/\", \
        \"a={{ base_url }}/ks/{{ mac }}.ks b={{ base_url }}/m/${net0/mac:hexhyp}/x\", \
        \"cloud-config-url={{ base_url }}/doc/\", \"inst.repo={{ base_url }}/tree\", \
        \"x={{ base_url }}/{{ metadata.dir }}/y?mac={{ mac }}\"]\nmetadata.dir = \"c%20d\"\n\
        install = \"never\"\n\
        [[group]]\nname = \"g\"\nprofile = \"p\"\n";

    #[test]
    fn what_args_name_is_closed_whatever_key_names_it() {
        let config = Config::parse(CONFIG, "b.toml").unwrap();
        let path = |text: &str| RepositoryPath::parse(text.as_bytes()).unwrap();
        for (file, is_closed) in [
            ("/suse/auto.xml", true),
            ("/suse/auto.xml2", false),
            ("/suse/other.xml", false),
            ("/seed/user-data", true),
            ("/seed/deep/er", true),
            ("/seeds", false),
            ("/ks/52:54:00:00:00:77.ks", true),
            ("/ks/anything.ks", true),
            ("/ks/readme", false),
            ("/m/52-54-00-00-00-77/x", true),
            ("/m/52-54-00-00-00-77/y", false),
            ("/doc/image.bin.bz2", false),
            ("/tree/vmlinuz", false),
            ("/tree/initrd", false),
            ("/tree/install.img", true),
            ("/c d/y", true),
        ] {
            assert_eq!(config.closes(&path(file)), is_closed, "{file}");
        }
        let open = Config::parse(&CONFIG.replace("\"token\"", "\"address\""), "b.toml").unwrap();
        assert!(!open.closes(&path("/suse/auto.xml")));
        let linked: Vec<_> = config.closed_by_name(&path("/link/auto.xml")).collect();
        assert_eq!(linked, [path("/seed/auto.xml"), path("/suse/auto.xml")]);
    }
}
