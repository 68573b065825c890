//! What an image is fetched by: the stub it is made with, and the machine it is for.

use std::fmt;

use super::Processor;
use crate::{
    machine::{Mac, Uuid},
    path::RepositoryPath,
};

/// How an image's name ends. Firmware without a word about a file's type goes by it, and would not
/// find it where a query followed.
const IMAGE: &str = ".efi";

/// The name of one machine's image: `linuxaa64.efi.stub/52-54-00-12-34-56.efi`, or with the UUID that
/// its firmware told, `linuxaa64.efi.stub/52-54-00-12-34-56/564da6d2-….efi`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    /// The stub, as it is served.
    pub stub: RepositoryPath,
    /// The card that boots.
    pub mac: Mac,
    /// SMBIOS system UUID, absent where it is unset.
    pub uuid: Option<Uuid>,
}

impl Name {
    /// Reads a path; `None` where it is no image's.
    pub fn read(path: &RepositoryPath) -> Option<Self> {
        let text = std::str::from_utf8(path.as_bytes()).ok()?;
        let (folder, last) = text.strip_suffix(IMAGE)?.rsplit_once('/')?;
        let (stub, mac, uuid) = match folder.rsplit_once('/') {
            Some((stub, mac)) if is_stub(stub) => (stub, mac, Some(last.parse().ok()?)),
            Some(_) | None => (folder, last, None),
        };
        let stub = is_stub(stub).then(|| RepositoryPath::parse(stub.as_bytes()).ok())??;
        Some(Self { stub, mac: mac.parse().ok()?, uuid })
    }

    /// The path that is read as this name.
    pub fn path(&self) -> Option<RepositoryPath> {
        self.stub.join(self.to_string().as_bytes()).ok()
    }
}

/// What follows the stub.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mac = self.mac.to_string().replace(':', "-");
        match self.uuid {
            Some(uuid) => write!(f, "{mac}/{uuid}{IMAGE}"),
            None => write!(f, "{mac}{IMAGE}"),
        }
    }
}

fn is_stub(path: &str) -> bool {
    Processor::of_stub(path.rsplit('/').next().unwrap_or(path).as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepositoryPath {
        RepositoryPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_says_whose_image_it_is_and_what_it_is_made_with() {
        let mac = "52:54:00:12:34:56".parse().unwrap();
        let uuid = "564da6d2-1706-6343-dc2d-0123456789ab".parse().ok();
        for (text, stub, uuid) in [
            ("/linuxaa64.efi.stub/52-54-00-12-34-56.efi", "/linuxaa64.efi.stub", None),
            (
                "/a/linuxx64.efi.stub/52-54-00-12-34-56/564da6d2-1706-6343-dc2d-0123456789ab.efi",
                "/a/linuxx64.efi.stub",
                uuid,
            ),
        ] {
            let name = Name { stub: path(stub), mac, uuid };
            assert_eq!(name.path(), Some(path(text)));
            assert_eq!(Name::read(&path(text)), Some(name));
        }
    }

    #[test]
    fn what_names_no_machine_is_a_file() {
        for text in [
            "/linuxaa64.efi.stub",
            "/linuxaa64.efi.stub/x.efi",
            "/linuxaa64.efi.stub/52-54-00-12-34-56",
            "/linuxaa64.efi.stub/52-54-00-12-34-56/x.efi",
            "/linuxaa64.efi.stub/01-00-5e-00-00-01.efi",
            "/linuxaa64.efi/52-54-00-12-34-56.efi",
            "/52-54-00-12-34-56.efi",
            "/a/b/52-54-00-12-34-56.efi",
        ] {
            assert_eq!(Name::read(&path(text)), None, "{text}");
        }
    }
}
