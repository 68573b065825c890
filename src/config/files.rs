//! The files that a profile boots: paths and URLs, with words of metadata in them.

use std::{collections::BTreeSet, sync::Arc};

use toml::Spanned;

use super::{
    NamedFile, ProfilePlaces,
    error::Place,
    resolve::{Desk, OURS, unfit},
    shape,
};
use crate::{
    catalog::{Initrd, Profile, Source},
    path::RepositoryPath,
    template::{Metadata, Template, Words},
};

/// The schemes that iPXE fetches files by.
const SCHEMES: [&str; 5] = ["http://", "https://", "tftp://", "ftp://", "nfs://"];

/// The files of a profile as they are written, with words.
pub(super) struct Files {
    kernel: String,
    initrd: Vec<String>,
}

impl Files {
    /// Whether they are other ones in each group.
    fn have_words(&self) -> bool {
        self.initrd.iter().chain([&self.kernel]).any(|text| text.contains("{{"))
    }
}

impl Desk<'_> {
    /// The kernel or the script of a profile, and whether it is a script.
    pub(super) fn kernel(&mut self, written: &shape::Profile) -> (Spanned<String>, bool) {
        match (&written.kernel, &written.chain) {
            (Some(kernel), None) => (kernel.clone(), false),
            (None, Some(script)) => {
                let rest = !written.initrd.is_empty() || !written.args.is_empty();
                if rest {
                    let text = "a profile that chains to a script has no initrd and no args; the \
                                script names them";
                    self.wrong(script, text);
                }
                (script.clone(), true)
            }
            (Some(_), Some(script)) => {
                self.wrong(script, "a profile has a kernel or chains to a script; keep one");
                (script.clone(), true)
            }
            // Its shape has one of the two.
            (None, None) => (Spanned::new(0..0, String::new()), false),
        }
    }

    /// The files of a profile, as they are without words; what has words is read for each group.
    pub(super) fn files(
        &mut self,
        kernel: &Spanned<String>,
        initrd: &[Spanned<super::initrd::Initrd>],
    ) -> (Files, Source, Vec<Initrd>) {
        let files = Files {
            kernel: kernel.get_ref().clone(),
            initrd: initrd.iter().map(|it| it.get_ref().file.clone()).collect(),
        };
        // A profile whose kernel is wrong still stands, so that groups do not miss it too.
        let nothing = || Source::Url(String::new());
        let place = self.page.place(kernel);
        let source = match kernel.get_ref().as_str() {
            "" => None,
            text => self.unfilled(text, &place),
        };
        let mut names = BTreeSet::new();
        let found = initrd.iter().map(|written| {
            let place = self.page.place(written);
            let source = self.unfilled(&written.get_ref().file, &place).unwrap_or_else(nothing);
            let name = self.initrd_name(written, &mut names);
            let args = written.get_ref().args.iter();
            let args = args.filter_map(|arg| self.arg(arg, &place)).collect();
            Initrd { source, name, args }
        });
        let found = found.collect();
        (files, source.unwrap_or_else(nothing), found)
    }

    fn initrd_name(
        &mut self,
        written: &Spanned<super::initrd::Initrd>,
        names: &mut BTreeSet<String>,
    ) -> Option<String> {
        let name = written.get_ref().name.clone()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        if name.is_empty() || name.starts_with('-') || !name.chars().all(fits) {
            let text = format!(
                "{name:?} is no name for an initrd; write letters, digits, \".\", \"_\", \"-\" and \
                 \"+\""
            );
            self.wrong(written, text);
        } else if !names.insert(name.clone()) {
            let text = format!("two initrds are named {name:?}; names are unique in a profile");
            self.wrong(written, text);
        }
        Some(name)
    }

    /// A file without words; one with words is looked at with each group.
    fn unfilled(&mut self, text: &str, place: &Place) -> Option<Source> {
        if !text.contains("{{") {
            return self.source(text, place);
        }
        if let Err(error) = Template::parse_path(text) {
            let instead = "a path has no words of the machine; write {{ metadata.x }}";
            self.wrong_at(place.clone(), format!("{text:?} {error}: {instead}"));
        }
        None
    }

    /// The profile with the files that it has for this metadata.
    pub(super) fn filled(
        &mut self,
        profile: &Arc<Profile>,
        files: &Files,
        places: &ProfilePlaces,
        (whom, metadata): (&str, &Metadata),
    ) -> Arc<Profile> {
        if !files.have_words() {
            return Arc::clone(profile);
        }
        let texts = [&files.kernel].into_iter().chain(&files.initrd);
        let becomes: Option<Vec<String>> = texts
            .map(|text| {
                let template = Template::parse_path(text).ok()?;
                template.render(&Words::specimen(), metadata).ok()
            })
            .collect();
        let key = becomes.map(|becomes| (profile.name.clone(), becomes));
        if let Some(known) = key.as_ref().and_then(|key| self.fillings.get(key)) {
            return Arc::clone(known);
        }
        let mut filled = (**profile).clone();
        if let Some(kernel) = self.fill(&files.kernel, &places.kernel, (whom, metadata)) {
            filled.kernel = kernel;
        }
        for ((text, place), initrd) in
            files.initrd.iter().zip(&places.initrd).zip(&mut filled.initrd)
        {
            if let Some(source) = self.fill(text, place, (whom, metadata)) {
                initrd.source = source;
            }
        }
        let filled = Arc::new(filled);
        self.fillings.extend(key.map(|key| (key, Arc::clone(&filled))));
        filled
    }

    /// `None` where it has no words, or is wrong, which is told.
    fn fill(
        &mut self,
        text: &str,
        place: &Place,
        (whom, metadata): (&str, &Metadata),
    ) -> Option<Source> {
        if !text.contains("{{") {
            return None;
        }
        // Where it is no template at all, that is said already.
        let template = Template::parse_path(text).ok()?;
        match template.render(&Words::specimen(), metadata) {
            Ok(filled) => self.source(&filled, place),
            Err(error) => {
                self.wrong_at(place.clone(), format!("{text:?}, for {whom}, {error}"));
                None
            }
        }
    }

    fn source(&mut self, text: &str, place: &Place) -> Option<Source> {
        let wrong = |desk: &mut Self, said: String| {
            desk.wrong_at(place.clone(), said);
            None
        };
        if let Some(url) = self.url(text, place, &SCHEMES) {
            return url.ok().map(Source::Url);
        }
        if !text.starts_with('/') {
            let instead = "write a path in the repository from / on, or a URL";
            return wrong(self, format!("{text:?} is neither a path nor a URL; {instead}"));
        }
        match RepositoryPath::parse(text.as_bytes()) {
            Ok(path) if OURS.contains(&path.as_bytes()) => {
                wrong(self, format!("{text:?} is a script of bootbox's own; name another file"))
            }
            Ok(path) if path.as_bytes().starts_with(b"~") => {
                wrong(self, format!("{text:?} begins with \"~\", as tokens do; name another file"))
            }
            Ok(path) => {
                self.files.push(NamedFile { path: path.clone(), place: place.clone() });
                Some(Source::Repository(path))
            }
            Err(error) => wrong(self, format!("{text:?} {error}")),
        }
    }

    /// Reads a text that begins as a URL; where it is none, the problem is noted.
    pub(super) fn url(
        &mut self,
        text: &str,
        place: &Place,
        schemes: &[&str],
    ) -> Option<Result<String, NotAUrl>> {
        schemes.iter().find(|&&scheme| text.starts_with(scheme))?;
        if text.contains(['{', '}']) {
            let instead = "words are for args; write a path in the repository, or a whole URL";
            self.wrong_at(place.clone(), format!("{text:?} is no template: {instead}"));
            return Some(Err(NotAUrl));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            self.wrong_at(place.clone(), format!("{text:?} has a space; write it as %20"));
            return Some(Err(NotAUrl));
        }
        Some(Ok(text.to_owned()))
    }

    pub(super) fn arg(&mut self, text: &str, place: &Place) -> Option<Template> {
        if let Some(problem) = unfit(text) {
            self.wrong_at(place.clone(), format!("{text:?}: {problem}"));
            return None;
        }
        let wrong = |error| self.wrong_at(place.clone(), format!("{text:?} {error}"));
        Template::parse(text).map_err(wrong).ok()
    }
}

/// A text begins as a URL and is none; the problem is noted.
pub(super) struct NotAUrl;

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const REST: &str = "[[group]]\nname = \"g\"\nprofile = \"p\"\nmetadata.release = \"12\"\n\
                        selector.mac = \"52:54:00:00:00:01\"\n\
                        [[group]]\nname = \"h\"\nprofile = \"p\"\nmetadata.release = \"13\"\n";

    fn with(profile: &str) -> Result<Config, String> {
        let text = format!("[[profile]]\nname = \"p\"\n{profile}\n{REST}");
        Config::parse(&text, "b.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn words_of_metadata_in_paths_are_filled_in_for_each_group() {
        let config = with(
            "kernel = \"/d{{ metadata.release }}/linux\"\n\
             initrd = [\"http://x/{{ metadata.release }}.gz\", { file = \"/a\", name = \"b\" }]",
        )
        .unwrap();
        let groups = config.catalog.groups();
        let shown: Vec<String> =
            groups.iter().map(|group| format!("{:?}", group.profile)).collect();
        for (shown, number) in shown.iter().zip(["12", "13"]) {
            assert!(shown.contains(&format!("http://x/{number}.gz")), "{shown}");
        }
        let named: Vec<String> = config.files.iter().map(|it| it.path.to_string()).collect();
        assert_eq!(named, ["/a", "/d12/linux", "/d13/linux"]);
        assert_eq!(groups[0].profile.initrd[1].name.as_deref(), Some("b"));
        assert!(config.files.iter().all(|file| file.place.line.is_some()));
    }

    #[test]
    fn each_mistake_in_a_file_of_a_profile_says_what_to_write() {
        for (profile, said) in [
            ("install = \"never\"", "b.toml:1: missing field `kernel`; add it"),
            ("kernel = \"/k\"\nchain = \"/c\"", "b.toml:4: a profile has a kernel or chains"),
            ("chain = \"/c\"\nargs = [\"a\"]", "b.toml:3: a profile that chains to a script has"),
            ("kernel = \"/{{ mac }}\"", "b.toml:3: \"/{{ mac }}\" has the unknown word \"mac\""),
            (
                "kernel = \"/{{ metadata.x }}\"",
                "b.toml:3: \"/{{ metadata.x }}\", for group \"g\", has",
            ),
            ("kernel = \"/{{ metadata.release }}/../../k\"", "b.toml:3: \"/12/../../k\" climbs"),
            (
                "kernel = \"/k\"\ninitrd = [{ name = \"x\" }]",
                "b.toml:4: missing field `file`; add it",
            ),
            (
                "kernel = \"/k\"\ninitrd = [{ file = \"/x\", nam = \"x\" }]",
                "b.toml:4: unknown field `nam`",
            ),
            (
                "kernel = \"/k\"\ninitrd = [{ file = \"/x\", name = \"a b\" }]",
                "b.toml:4: \"a b\" is no name",
            ),
            (
                "kernel = \"/k\"\ninitrd = [{ file = \"/x\", name = \"a\" },\n{ file = \"/y\", name = \"a\" }]",
                "b.toml:5: two initrds are named \"a\"",
            ),
            (
                "kernel = \"/k\"\ninitrd = [{ file = \"/x\", args = [\"a || b\"] }]",
                "b.toml:4: \"a || b\": iPXE takes \"||\" for the end",
            ),
        ] {
            let error = with(profile).unwrap_err();
            assert!(error.starts_with(said), "{profile}: {error}");
        }
    }
}
