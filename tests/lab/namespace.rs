//! A network namespace, held open by a sleeping child instead of a name, so
//! that nothing of a lab outlives it, not even after `kill -9`.
//! Root makes plain namespaces; anybody else gets them inside a user namespace
//! of their own, which is enough for a boot and touches nothing of the machine.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use super::Failure;

/// No lab needs to live longer than this many seconds.
const LIFETIME: &str = "3600";

/// One network stack of the lab.
pub struct Namespace {
    holder: Child,
    entry: Vec<String>,
}

impl Namespace {
    /// A new network stack (and, when we are not root, a user namespace that owns it).
    pub fn new() -> Result<Self, Failure> {
        if is_root()? {
            return Self::hold(&[], &["--net"], &["--net"]);
        }
        Self::hold(
            &[],
            &["--user", "--map-root-user", "--net"],
            &["--user", "--preserve-credentials", "--net"],
        )
    }

    /// Another network stack that this one may give interfaces to.
    pub fn beside(&self) -> Result<Self, Failure> {
        if is_root()? {
            return Self::new();
        }
        Self::hold(&self.entry, &["--net"], &["--user", "--preserve-credentials", "--net"])
    }

    fn hold(from: &[String], unshare: &[&str], enter: &[&str]) -> Result<Self, Failure> {
        let mut words: Vec<&str> = from.iter().map(String::as_str).collect();
        words.push("unshare");
        words.extend(unshare);
        words.extend(["sh", "-c"]);
        let hold = format!("echo held; exec setpriv --pdeathsig KILL sleep {LIFETIME}");
        words.push(&hold);
        let mut holder = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let target = holder.id().to_string();
        let mut entry = vec!["nsenter".to_owned(), "--target".to_owned(), target];
        entry.extend(enter.iter().map(|&word| word.to_owned()));
        let namespace = Self { holder, entry };
        if said.trim() != "held" {
            return Err(Failure::new(
                "no network namespace could be made (needs root, or user namespaces allowed)",
            ));
        }
        Ok(namespace)
    }

    /// The holder's pid, as `ip link … netns PID` wants it.
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run in here and die with us.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(&self.entry[0]);
        command.args(&self.entry[1..]).args([
            "--",
            "setpriv",
            "--pdeathsig",
            "KILL",
            "--",
            program,
        ]);
        command
    }

    /// Calls `inside` on a thread of its own whose sockets are in here (root only).
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, Failure> {
        let stack = File::open(format!("/proc/{}/ns/net", self.pid()))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&stack, CloneFlags::CLONE_NEWNET)?;
                Ok(inside())
            });
            match thread.join() {
                Ok(entered) => entered.map_err(|error: Errno| {
                    Failure::new(format!("cannot enter the namespace: {error}"))
                }),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs one short command line (words split at spaces) to its end.
    pub fn run(&self, line: &str) -> Result<String, Failure> {
        let output = self.command("timeout").arg("10").args(line.split_whitespace()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(format!("`{line}` failed: {}", said.trim())))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Whether this process is root, read from /proc so that no unsafe call is needed.
pub fn is_root() -> Result<bool, Failure> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}
