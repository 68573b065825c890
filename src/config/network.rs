//! What a config says of the network: where to serve, and whom.

use std::{collections::BTreeSet, time::Duration};

use toml::Spanned;

use super::{NamedInterface, resolve::Desk};
use crate::catalog::{Field, Pattern};

/// Linux's IFNAMSIZ less the NUL.
const LONGEST_INTERFACE: usize = 15;
/// The longest that an offer is held back, in milliseconds: some firmware asks only for so long.
const LONGEST_DELAY: u16 = 10_000;

impl Desk<'_> {
    pub(super) fn interfaces(&mut self, names: &[Spanned<String>]) -> Vec<NamedInterface> {
        let mut known: Vec<NamedInterface> = Vec::new();
        for written in names {
            let name = written.get_ref();
            let plain = !name.bytes().any(|byte| byte == b'/' || !byte.is_ascii_graphic());
            if name.is_empty() || name.len() > LONGEST_INTERFACE || !plain {
                self.wrong(
                    written,
                    format!("{name:?} is no interface; write one that `ip link` shows"),
                );
            } else if known.iter().any(|known| known.name == *name) {
                self.wrong(written, format!("interface {name} is listed twice"));
            } else {
                let place = self.page.place(written);
                known.push(NamedInterface { name: name.clone(), place });
            }
        }
        known
    }

    /// Who is answered at all.
    pub(super) fn allow(&mut self, written: &Spanned<Vec<Spanned<String>>>) -> Vec<Pattern> {
        if written.get_ref().is_empty() {
            self.wrong(written, "allow has no value, so no machine is answered; leave it out");
        }
        let mut patterns = Vec::new();
        for glob in written.get_ref() {
            match Pattern::parse(&Field::Mac, glob.get_ref()) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.wrong(glob, format!("{:?} {error}", glob.get_ref())),
            }
        }
        patterns
    }

    /// Names of this server, as a request's `Host` has them but for its port.
    pub(super) fn http_names(&mut self, written: &Spanned<Vec<String>>) -> BTreeSet<String> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        for name in written.get_ref() {
            if !name.split('.').all(is_part) {
                let text = format!(
                    "{name:?} is no name of a server; write one like \"boot.example\", without http:// \
                     and port"
                );
                self.wrong(written, text);
            }
        }
        written.get_ref().iter().map(|name| name.to_ascii_lowercase()).collect()
    }

    pub(super) fn reply_delay(&mut self, written: &Spanned<u16>) -> Duration {
        let delay = *written.get_ref();
        if delay > LONGEST_DELAY {
            let text = format!("{delay} ms; write a number from 0 to {LONGEST_DELAY}");
            self.wrong(written, text);
        }
        Duration::from_millis(delay.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{post, problems};

    #[test]
    fn each_mistake_in_whom_to_answer_names_its_line() {
        for (to, said) in [
            (
                "[]\nmode = \"watch\"",
                "b.toml:4: \"watch\" is no value of mode; write \"observe\" or \"serve\"",
            ),
            (
                "[]\nallow = []",
                "b.toml:4: allow has no value, so no machine is answered; leave it out",
            ),
            (
                "[]\nallow = [\"52:54:00:*\", \"x*\"]",
                "b.toml:4: \"x*\" is no part of a hardware address; write it like \"52:54:00:*\"",
            ),
            ("[]\nreply-delay-ms = 10001", "b.toml:4: 10001 ms; write a number from 0 to 10000"),
        ] {
            assert_eq!(problems(&post("[\"eth1\"]", to)), said);
        }
    }
    #[test]
    fn a_name_of_the_server_is_a_name_alone() {
        for name in ["http://boot", "boot:80", "", "a..b", "boot.example/x", "*.example"] {
            let names = format!("[http]\nnames = [\"Boot.example\", \"box_1\", {name:?}]");
            let said = format!(
                "b.toml:5: {name:?} is no name of a server; write one like \"boot.example\", without \
                 http:// and port"
            );
            assert_eq!(problems(&post("[http]", &names)), said);
        }
    }
}
