//! Where the commands reach the running server.

use std::path::PathBuf;

use toml::Spanned;

use super::{
    error::{ConfigError, Page},
    resolve::Desk,
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
