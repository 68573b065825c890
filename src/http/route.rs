//! What a name stands for: a script of ours, or a file.

use super::{
    reply::Refusal,
    request::{Query, QueryError, Request},
};
use crate::path::RepositoryPath;

/// What answers a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Route {
    /// A boot program or a file of the repository.
    File(RepositoryPath),
    /// A text that is rendered for whoever asks.
    Script(Script),
}

/// A script for iPXE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Script {
    /// `/boot.ipxe`: the same for every machine, has it ask for its own.
    Boot,
    /// `/ipxe`: this machine's.
    Machine(Query),
    /// `/ipxe` with a query that names no machine: its console is told why.
    Nobody(QueryError),
}

impl Route {
    /// Finds what answers.
    pub fn of(request: &Request<'_>) -> Result<Self, Refusal> {
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
        Route::of(&Request { verb: Verb::Get, path: path.to_vec(), query })
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
            (b"/coreos/", PathError::Directory),
            (b"/a\0.efi", PathError::Control(0)),
            (&[b'/'; 2000], PathError::TooLong),
        ] {
            assert_eq!(route(path, ""), Err(Refusal::Path(error)));
        }
    }
}
