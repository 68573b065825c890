//! Asks bash whether it could read a script at all, where there is a bash. Only when texts are
//! loaded: no machine waits for it.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::printable::is_hidden;

/// The time that a script may take to be read; bash needs a few milliseconds.
const LONGEST: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);
/// More than bash has to say, in bytes.
const MOST: u64 = 4096;

/// A place that bash cannot read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SyntaxFault {
    /// From 1.
    pub(super) line: usize,
    /// In bash's words.
    pub(super) said: String,
    /// Whether bash or sh is surely what reads the script.
    pub(super) is_certain: bool,
}

/// The fault that keeps a shell from reading a script, as far as bash can tell.
pub(super) fn fault(text: &str) -> Option<SyntaxFault> {
    let reader = reader(text)?;
    let said = said(text, reader == Reader::Sh)?;
    let (line, said) = first(&said)?;
    let line = line.clamp(1, text.lines().count().max(1));
    Some(SyntaxFault { line, said, is_certain: reader != Reader::Unknown })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reader {
    Bash,
    Sh,
    /// A script without `#!`, which is given to some shell.
    Unknown,
}

fn reader(text: &str) -> Option<Reader> {
    let Some(rest) = text.strip_prefix("#!") else { return Some(Reader::Unknown) };
    let mut words = rest.lines().next().unwrap_or("").split_whitespace();
    let mut program = base(words.next()?);
    if program == "env" {
        program = words.find(|word| !word.starts_with('-') && !word.contains('=')).map(base)?;
    }
    match program {
        "bash" => Some(Reader::Bash),
        "sh" | "ash" | "dash" => Some(Reader::Sh),
        _ => None,
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The words of bash for a script that it refuses; none if it takes it, is not there, or takes long.
fn said(text: &str, is_posix: bool) -> Option<String> {
    let mut bash = Command::new("/bin/bash");
    bash.args(is_posix.then_some("--posix")).args(["--norc", "--noprofile", "-n"]);
    // Nothing of ours is its business, and BASH_ENV names a file that it would run.
    bash.env_clear().env("LC_ALL", "C").current_dir("/");
    bash.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = bash.spawn().ok()?;
    let (stdin, stderr) = (child.stdin.take()?, child.stderr.take()?);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut stdin = stdin;
            // It stops to read at the first mistake.
            let _ = stdin.write_all(text.as_bytes());
        });
        let listener = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.take(MOST).read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let is_refused = ended(&mut child).is_some_and(|code| code != 0);
        listener.join().ok().filter(|_| is_refused)
    })
}

/// Its exit code; none if it had to be ended.
fn ended(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    while begin.elapsed() < LONGEST {
        match child.try_wait() {
            Ok(Some(status)) => return status.code(),
            Ok(None) => thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// `bash: line 6: syntax error: unexpected end of file`, among warnings.
fn first(said: &str) -> Option<(usize, String)> {
    said.lines().find_map(|line| {
        let (_, rest) = line.split_once("line ")?;
        let (number, words) = rest.split_once(": ")?;
        let is_error = words.contains("syntax error") || words.contains("unexpected EOF");
        let words: String = words.chars().filter(|&c| !is_hidden(c)).take(120).collect();
        is_error.then_some((number.parse().ok()?, words))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_bash_cannot_read_is_told_with_its_line() {
        for (text, line, words) in [
            ("#!/bin/bash\nif true; then\n  echo a\nreboot\n", 4, "unexpected end of file"),
            ("#!/bin/sh\necho a\nfi\n", 3, "near unexpected token `fi'"),
            ("#!/usr/bin/env -S bash -e\nfor a in b; do\necho\n", 3, "end of file"),
            ("#!/bin/bash\n\necho \"never closed\n", 3, "unexpected EOF"),
            ("set -e\ndone\n", 2, "near unexpected token `done'"),
        ] {
            let found = fault(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found.line, line, "{text}: {found:?}");
            assert!(found.said.contains(words), "{text}: {found:?}");
            assert_eq!(found.is_certain, text.starts_with("#!"), "{text}");
        }
    }

    #[test]
    fn what_bash_takes_or_another_program_reads_is_no_fault() {
        let long = format!("#!/bin/bash\n{}", "echo a b c d e f g\n".repeat(20_000));
        for text in [
            "#!/bin/bash\nset -euo pipefail\nif [[ -b /dev/sda ]]; then echo; fi\n",
            "#!/bin/sh\ncat <<X\nnever closed\n",
            "#!/usr/bin/python3\nif True:\n    pass\nfi = 1; done = 2\n",
            "#!/usr/bin/env perl\nif (1) {\n}\n",
            "",
            "#!",
            long.as_str(),
        ] {
            let begin: String = text.chars().take(60).collect();
            assert_eq!(fault(text), None, "{begin}");
        }
    }

    #[test]
    fn nothing_of_a_script_is_run() {
        let folder = std::env::temp_dir().join(format!("bootbox-shell-{}", std::process::id()));
        let text = format!("#!/bin/bash\nmkdir {0:?}\n$(mkdir {0:?})\nfi\n", folder);
        assert!(fault(&text).is_some());
        assert!(!folder.exists());
    }
}
