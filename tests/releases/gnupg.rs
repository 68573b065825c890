//! A GnuPG of its own in a temporary folder: makes keys and signatures at any date, and gives a
//! second opinion.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// When keys are made, unless a test says otherwise.
pub(crate) const MADE: &str = "20160101T000000";
/// When files are signed.
pub(crate) const SIGNED: &str = "20160901T000000";

/// Ends its agent and removes its folder when it is dropped.
pub(crate) struct Gnupg {
    /// Short: the agent's socket is in it.
    pub(crate) home: PathBuf,
}

/// A certificate with one subkey, which signs.
pub(crate) struct Signer {
    pub(crate) primary: String,
    pub(crate) subkey: String,
}

impl Gnupg {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let home = PathBuf::from(format!("/tmp/bootbox-gpg-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&home).unwrap();
        Self { home }
    }

    /// Makes a certificate of this algorithm, whose subkey expires on this day or `never`.
    pub(crate) fn signer(&self, name: &str, algorithm: &str, expires: &str) -> Signer {
        self.signer_by(&[], name, algorithm, expires)
    }

    /// The same, with more options for its self-signature.
    pub(crate) fn signer_by(
        &self,
        more: &[&str],
        name: &str,
        algorithm: &str,
        expires: &str,
    ) -> Signer {
        let id = format!("{name} <{name}@example.org>");
        let words = ["--quick-gen-key", &id, algorithm, "cert", "never"];
        self.gpg(MADE, &[more, &words].concat());
        let primary = self.fingerprints(name).remove(0);
        self.gpg(MADE, &["--quick-add-key", &primary, algorithm, "sign", expires]);
        let subkey = self.fingerprints(name).remove(1);
        Signer { primary, subkey }
    }

    fn fingerprints(&self, name: &str) -> Vec<String> {
        let list = self.gpg(MADE, &["--with-colons", "--list-keys", name]);
        let list = String::from_utf8(list).unwrap();
        let lines = list.lines().filter(|line| line.starts_with("fpr:"));
        lines
            .map(|line| line.trim_end_matches(':').rsplit(':').next().unwrap().to_owned())
            .collect()
    }

    /// Runs gpg on that date; what it writes.
    pub(crate) fn gpg(&self, date: &str, words: &[&str]) -> Vec<u8> {
        self.gpg_told(date, words, b"")
    }

    pub(crate) fn gpg_told(&self, date: &str, words: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&self.home);
        command.args(["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback"]);
        command.args(["--passphrase", "", "--faked-system-time", &format!("{date}!")]);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut gpg = command.spawn().unwrap();
        gpg.stdin.take().unwrap().write_all(input).unwrap();
        let Output { status, stdout, stderr } = gpg.wait_with_output().unwrap();
        assert!(status.success(), "gpg {words:?}: {}", String::from_utf8_lossy(&stderr));
        stdout
    }

    /// A detached signature by these keys.
    pub(crate) fn sign(&self, by: &[&Signer], data: &[u8], more: &[&str]) -> Vec<u8> {
        let keys: Vec<String> = by.iter().map(|signer| format!("{}!", signer.subkey)).collect();
        let mut words: Vec<&str> = more.to_vec();
        keys.iter().for_each(|key| words.extend(["--local-user", key]));
        words.push("--detach-sign");
        self.gpg_told(SIGNED, &words, data)
    }

    pub(crate) fn export(&self, by: &[&Signer]) -> Vec<u8> {
        let mut words = vec!["--export"];
        words.extend(by.iter().map(|signer| &*signer.primary));
        self.gpg(SIGNED, &words)
    }

    /// Revokes a subkey for a reason of gpg's menu: 1 compromised, 2 superseded, 3 retired.
    pub(crate) fn revoke_subkey(&self, signer: &Signer, date: &str, reason: &str) {
        let answers = format!("key 1\nrevkey\ny\n{reason}\n\ny\nsave\n");
        let words = ["--command-fd", "0", "--edit-key", &signer.primary];
        self.gpg_told(date, &words, answers.as_bytes());
    }

    /// Revokes the certificate, with what gpg laid by when it was made.
    pub(crate) fn revoke(&self, signer: &Signer) {
        let file = self.home.join(format!("openpgp-revocs.d/{}.rev", signer.primary));
        let text = fs::read_to_string(file).unwrap().replace(":-----BEGIN", "-----BEGIN");
        self.gpg_told(SIGNED, &["--import"], text.as_bytes());
    }

    /// What gpgv, with today's clock, says of it: whether it is good, and its status lines.
    pub(crate) fn gpgv(&self, keyring: &[u8], signature: &[u8], data: &[u8]) -> (bool, String) {
        let file = |name: &str, bytes: &[u8]| {
            let path = self.home.join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let [keyring, signature, data] =
            [file("ring", keyring), file("sig", signature), file("data", data)];
        let mut gpgv = Command::new("gpgv");
        gpgv.arg("--homedir").arg(&self.home).args(["--status-fd", "1", "--keyring"]);
        let output = gpgv.args([keyring, signature, data]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.home
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        let _ = end.arg("--homedir").arg(&self.home).args(["--kill", "gpg-agent"]).status();
        let _ = fs::remove_dir_all(&self.home);
    }
}
