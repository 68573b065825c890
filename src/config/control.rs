//! Where the commands reach the running server.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{
    error::{ConfigError, Page},
    resolve::Desk,
    shape::Control,
};

/// Linux's `sun_path` less the NUL.
const LONGEST: usize = 107;

/// The socket alone, of a config that need not be right elsewhere.
pub(super) fn socket(main: &Page<'_>, written: Spanned<PathBuf>) -> Result<PathBuf, ConfigError> {
    let mut desk = Desk::new(main);
    let socket = desk.socket(written);
    match ConfigError::of(desk.problems) {
        Some(error) => Err(error),
        None => Ok(socket),
    }
}

/// Where the commands reach the server, and what to say of how that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ControlSocket {
    /// The socket.
    pub path: PathBuf,
    /// Absent where the config could be read.
    pub note: Option<String>,
}

/// The socket alone, of a config that is no TOML: an operator must be able to hold a machine while
/// the file is broken elsewhere. Takes the last line that names it, else the default.
pub(super) fn socket_of_broken(main: &Page<'_>, broken: &toml::de::Error) -> ControlSocket {
    let mut section = String::new();
    let mut found = None;
    for (index, line) in main.text.lines().enumerate() {
        if line.trim_start().starts_with('[') {
            section = line.to_owned();
            continue;
        }
        let alone = format!("{section}\n{line}\n");
        let Ok(file) = toml::from_str::<MaybeSocket>(&alone) else { continue };
        let Some(written) = file.control.and_then(|control| control.socket) else { continue };
        // As written here: its place is in the two lines.
        let page = Page::new(0, &main.name, &alone);
        if let Ok(path) = socket(&page, written) {
            found = Some((index + 1, path));
        }
    }
    let problem = main.syntax(broken);
    let note = |from: &str| Some(format!("{problem} (the control socket is taken from {from})"));
    match found {
        Some((line, path)) => ControlSocket { path, note: note(&format!("line {line}")) },
        None => ControlSocket {
            path: Control::default().socket.into_inner(),
            note: note("the default, because no line names it"),
        },
    }
}

#[derive(Deserialize)]
struct MaybeSocket {
    control: Option<MaybeControl>,
}

#[derive(Deserialize)]
struct MaybeControl {
    socket: Option<Spanned<PathBuf>>,
}

impl Desk<'_> {
    /// A path that a local socket can be bound to.
    pub(super) fn socket(&mut self, written: Spanned<PathBuf>) -> PathBuf {
        let path = self.folder(written.clone()).path;
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.len() > LONGEST {
            let text = format!(
                "{path:?} has {} bytes, and the system allows a socket {LONGEST}; write a shorter \
                 path",
                bytes.len()
            );
            self.wrong(&written, text);
        } else if path.file_name().is_none() || bytes.ends_with(b"/") || bytes.contains(&0) {
            self.wrong(
                &written,
                format!("{path:?} is no file; write \"/run/bootbox/control.sock\""),
            );
        }
        path
    }
}
