//! Programs that stand in for those of a machine: they note how they were called, and fail when told.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    process::{Command, Output},
};

use super::scratch;

/// Notes its call. Fails where the pattern $FAIL is all of the call, the first $TIMES times. Writes
/// what -o names.
const FAKE: &str = r#"#!/bin/sh
call="${0##*/} $*"
echo "$call" >> "$CALLS"
case $call in
$FAIL)
    echo "$call" >> "$CALLS.failed"
    if [ "$(grep -c . "$CALLS.failed")" -le "$TIMES" ]; then
        echo "fake: $call" >&2
        exit 7
    fi
    ;;
esac
echo "$call" >> "$CALLS.done"
previous=
for word; do
    [ "$previous" != -o ] || echo fetched > "$word"
    previous=$word
done
[ ! -e "$CALLS.${0##*/}" ] || . "$CALLS.${0##*/}"
"#;

/// A PATH of fakes, before the system's own programs.
pub(crate) struct Fakes {
    folder: PathBuf,
    fails: String,
    times: u32,
}

impl Fakes {
    /// Stands in for these; a script that asks for another dangerous one must not find it, so no
    /// test runs without fakes of `reboot` and `systemctl`.
    pub(crate) fn of(test: &str, programs: &[&str]) -> Self {
        let folder = scratch(test);
        let fake = folder.join("fake");
        fs::write(&fake, FAKE).unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.join("bin")).unwrap();
        for program in programs.iter().chain(&["reboot", "sleep", "systemctl"]) {
            symlink(&fake, folder.join("bin").join(program)).unwrap();
        }
        Self { folder, fails: "nothing".to_owned(), times: u32::MAX }
    }

    /// Calls of this shell pattern fail, the first so many times.
    pub(crate) fn failing(mut self, call: &str, times: u32) -> Self {
        (self.fails, self.times) = (call.to_owned(), times);
        self
    }

    /// What a fake does besides noting its call, in shell.
    pub(crate) fn does(self, program: &str, shell: &str) -> Self {
        fs::write(self.folder.join(format!("calls.{program}")), shell).unwrap();
        self
    }

    pub(crate) fn run(&self, script: &str) -> Output {
        let file = self.folder.join("script");
        fs::write(&file, script).unwrap();
        Command::new("bash")
            .arg(&file)
            .env("PATH", format!("{}:/usr/bin:/bin", self.folder.join("bin").display()))
            .env("CALLS", self.folder.join("calls"))
            .env("FAIL", &self.fails)
            .env("TIMES", self.times.to_string())
            .env("TMPDIR", &self.folder)
            .current_dir(&self.folder)
            .output()
            .unwrap()
    }

    /// All calls, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.noted("calls")
    }

    /// Those that did not fail.
    pub(crate) fn done(&self) -> Vec<String> {
        self.noted("calls.done")
    }

    fn noted(&self, file: &str) -> Vec<String> {
        let noted = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        noted.lines().map(str::to_owned).collect()
    }
}
