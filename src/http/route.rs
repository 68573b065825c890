//! What a name stands for: a script of ours, or a file.

use super::{
    named::Named,
    reply::Refusal,
    request::{Claim, Query, QueryError, Request},
};
use crate::{
    path::{RepositoryPath, UrlPath},
    token::Token,
};

/// What the old installers ask for, to learn which release is current.
const VERSION: &[u8] = b"/current/version.txt";

/// What answers a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Route {
    /// A text that is made for the machine that asks.
    Config(Asked),
    /// A boot program or a file of the repository.
    File(RepositoryPath),
    /// A text that is rendered for whoever asks.
    Script(Script),
}

/// A config, and who asks for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    /// Its path.
    pub path: UrlPath,
    /// The token of its URL.
    pub token: Option<Token>,
    /// Who its query says it is for.
    pub claim: Claim,
}

impl Asked {
    /// The folder of whose releases the current one is asked for; `None` inside is the root.
    pub fn release(&self) -> Option<Option<RepositoryPath>> {
        let base = self.path.as_bytes().strip_suffix(VERSION)?;
        Some(RepositoryPath::parse(base).ok())
    }
}

/// A script for iPXE, or a config for GRUB.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Script {
    /// `/boot.ipxe`: the same for every machine, has it ask for its own.
    Boot,
    /// What a boot loader asks for by a name of its own, where there is no such file.
    Named(Named),
    /// `/ipxe`: this machine's.
    Machine(Query),
    /// `/ipxe` with a query that names no machine: its console is told why.
    Nobody(QueryError),
}

impl Route {
    /// Finds what answers, where these paths have configs.
    pub fn of(
        request: &Request<'_>,
        is_config: impl Fn(&UrlPath) -> bool,
    ) -> Result<Self, Refusal> {
        let path = UrlPath::parse(&request.path).map_err(Refusal::Path)?;
        if is_config(&path) || path.as_bytes().ends_with(VERSION) {
            let claim = Claim::parse(request.query);
            return Ok(Self::Config(Asked { path, token: request.token, claim }));
        }
        let path = RepositoryPath::parse(&request.path).map_err(Refusal::Path)?;
        Ok(match path.as_bytes() {
            b"boot.ipxe" => Self::Script(Script::Boot),
            b"ipxe" => Self::Script(match Query::parse(request.query) {
                Ok(query) => Script::Machine(query),
                Err(error) => Script::Nobody(error),
            }),
            _ => Self::File(path),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::request::Verb, path::PathError};

    fn route(path: &[u8], query: &str) -> Result<Route, Refusal> {
        let request = Request { verb: Verb::Get, path: path.to_vec(), token: None, query };
        Route::of(&request, |path| path.as_bytes() == b"/coreos/" || path.as_bytes() == b"/x.json")
    }

    #[test]
    fn a_config_is_known_by_its_path_and_a_folder_may_be_one() {
        for (path, clean) in
            [("/coreos/", "/coreos/"), ("/coreos//", "/coreos/"), ("//x.json", "/x.json")]
        {
            let Ok(Route::Config(asked)) = route(path.as_bytes(), "mac=525400123456") else {
                panic!("{path}")
            };
            assert_eq!(asked.path.to_string(), clean);
            assert!(matches!(asked.claim, Claim::Machine(_)));
            assert_eq!(asked.release(), None);
        }
        assert!(matches!(route(b"/coreos", ""), Ok(Route::File(_))));
        for (path, base) in [
            ("/coreos//current/version.txt", Some("/coreos")),
            ("/a/b/current/version.txt", Some("/a/b")),
            ("/current/version.txt", None),
        ] {
            let Ok(Route::Config(asked)) = route(path.as_bytes(), "") else { panic!("{path}") };
            let base = base.map(|base| RepositoryPath::parse(base.as_bytes()).unwrap());
            assert_eq!(asked.release(), Some(base));
        }
    }

    #[test]
    fn two_names_are_ours_and_the_rest_are_files() {
        assert_eq!(route(b"//boot.ipxe", "x=1"), Ok(Route::Script(Script::Boot)));
        let machine = Query::parse("mac=525400123456").unwrap();
        let script = Route::Script(Script::Machine(machine));
        assert_eq!(route(b"/ipxe", "mac=52:54:00:12:34:56"), Ok(script));
        let nobody = Route::Script(Script::Nobody(QueryError::NoMac));
        assert_eq!(route(b"/ipxe", ""), Ok(nobody));
        for file in ["/ipxe/x", "/a//boot.ipxe", "/ipxe.efi"] {
            assert!(matches!(route(file.as_bytes(), ""), Ok(Route::File(_))), "{file}");
        }
    }

    #[test]
    fn nothing_outside_the_root_is_a_route() {
        for (path, error) in [
            (&b"/../etc/passwd"[..], PathError::Parent),
            (b"/a/../../b", PathError::Parent),
            (b"/", PathError::Directory),
            (b"/coreos/x/", PathError::Directory),
            (b"/a\0.efi", PathError::Control(0)),
            (&[b'/'; 2000], PathError::TooLong),
        ] {
            assert_eq!(route(path, ""), Err(Refusal::Path(error)));
        }
    }
}
