//! A child process of the lab and the transcript of what it wrote.
//! Every child is ended by its own pid when its owner is dropped, and by the
//! kernel if the test program itself is killed. Waiting is always for a line
//! or a number of seconds, never a bare sleep.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;

/// A running child and everything it printed, stdout and stderr as one text.
pub struct Process {
    name: String,
    child: Child,
    started: Instant,
    transcript: Transcript,
}

impl Process {
    /// Starts `command`, copying what it prints to `log` (appended to, so that
    /// a restarted server keeps one history).
    pub fn spawn(name: &str, command: Command, log: &Path) -> Result<Self, Failure> {
        Self::start(name, command, Stdio::null(), log)
    }

    /// The same, with a standard input to type at.
    pub fn spawn_interactive(name: &str, command: Command, log: &Path) -> Result<Self, Failure> {
        Self::start(name, command, Stdio::piped(), log)
    }

    fn start(name: &str, mut command: Command, input: Stdio, log: &Path) -> Result<Self, Failure> {
        let (reader, writer) = io::pipe()?;
        command.stdin(input).stdout(writer.try_clone()?).stderr(writer);
        let started = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start {name}: {error}")))?;
        // The command holds our copies of the pipe; without this the transcript never ends.
        drop(command);
        let transcript = Transcript::follow(name, reader, log)?;
        Ok(Self { name: name.to_owned(), child, started, transcript })
    }

    /// What it printed so far.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Writes a line to its standard input.
    pub fn type_line(&mut self, line: &str) -> Result<(), Failure> {
        match &mut self.child.stdin {
            Some(input) => Ok(writeln!(input, "{line}")?),
            None => Err(Failure::new(format!("{} reads nothing", self.name))),
        }
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Its process id (namespace entry replaces itself, so this is the program's own).
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a complete line holding `needle`.
    pub fn wait_for(&self, needle: &str, limit: Duration) -> Result<Sighting, Failure> {
        self.transcript.wait_for(needle, 0, limit)
    }

    /// SIGKILL: what a power cut or the OOM killer does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then waits for the end; its exit code, or none when a signal ended it.
    pub fn terminate(&mut self, limit: Duration) -> Result<Option<i32>, Failure> {
        self.signal("TERM")?;
        self.wait_for_end(limit)
    }

    /// Sends a signal by name ("HUP", "TERM").
    pub fn signal(&self, signal: &str) -> Result<(), Failure> {
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal])
            .arg(self.pid().to_string())
            .status()?;
        if sent.success() {
            return Ok(());
        }
        Err(Failure::new(format!("{}: no SIG{signal} sent", self.name)))
    }

    /// Whether it is gone.
    pub fn has_ended(&mut self) -> Result<bool, Failure> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until it ends by itself.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<Option<i32>, Failure> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(Failure::new(format!(
            "{} did not end in {limit:?}; last lines:\n{}",
            self.name,
            self.transcript.tail(20)
        )))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where and when a line was seen.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The whole line, without control sequences.
    pub line: String,
    /// When its first byte arrived here.
    pub at: Instant,
    /// Where it ends in the text: the place to look for what came later.
    pub end: usize,
}

/// The text of a console or a log, growing while its owner writes.
#[derive(Clone)]
pub struct Transcript {
    name: String,
    file: PathBuf,
    shared: Arc<(Mutex<Page>, Condvar)>,
}

#[derive(Default)]
struct Page {
    /// Plain text: no carriage returns, no escape sequences.
    text: String,
    /// Where each line starts, and when.
    lines: Vec<(usize, Instant)>,
    ended: bool,
    escape: Escape,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Escape {
    #[default]
    None,
    Started,
    Sequence,
}

impl Transcript {
    fn follow(name: &str, mut source: PipeReader, file: &Path) -> Result<Self, Failure> {
        let mut copy = File::options().create(true).append(true).open(file)?;
        let transcript =
            Self { name: name.to_owned(), file: file.to_owned(), shared: Arc::default() };
        let shared = Arc::clone(&transcript.shared);
        thread::spawn(move || {
            let (page, written) = &*shared;
            let mut chunk = [0; 4096];
            loop {
                let length = source.read(&mut chunk).unwrap_or(0);
                let mut page = page.lock().unwrap();
                page.write(&chunk[..length], Instant::now());
                page.ended = length == 0;
                written.notify_all();
                if page.ended {
                    break;
                }
                drop(page);
                let _ = copy.write_all(&chunk[..length]);
            }
        });
        Ok(transcript)
    }

    /// A place in the text, to wait only for what comes after it.
    pub fn mark(&self) -> usize {
        self.shared.0.lock().unwrap().text.len()
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.shared.0.lock().unwrap().text.clone()
    }

    /// The last `count` lines that are not blank, indented for a report.
    pub fn tail(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let kept = &lines[lines.len().saturating_sub(count)..];
        kept.iter().map(|line| format!("    | {line}\n")).collect()
    }

    /// Waits for a complete line holding `needle`, looking from `mark` on.
    pub fn wait_for(
        &self,
        needle: &str,
        mark: usize,
        limit: Duration,
    ) -> Result<Sighting, Failure> {
        let deadline = Instant::now() + limit;
        let (page, written) = &*self.shared;
        let mut page = page.lock().unwrap();
        loop {
            if let Some(sighting) = page.find(needle, mark) {
                return Ok(sighting);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || page.ended {
                break;
            }
            page = written.wait_timeout(page, left).unwrap().0;
        }
        let why = if page.ended { "it ended" } else { "time is up" };
        drop(page);
        Err(Failure::new(format!(
            "{}: no line with {needle:?} in {limit:?} ({why}); all of it in {}; last lines:\n{}",
            self.name,
            self.file.display(),
            self.tail(25)
        )))
    }

    /// The complete lines past `cursor`, which moves on; waits up to `limit` for one.
    pub fn next_lines(&self, cursor: &mut usize, limit: Duration) -> Vec<String> {
        let (page, written) = &*self.shared;
        let page = page.lock().unwrap();
        let page = written
            .wait_timeout_while(page, limit, |page| {
                !page.ended && !page.text[*cursor..].contains('\n')
            })
            .unwrap()
            .0;
        let Some(end) = page.text[*cursor..].rfind('\n') else {
            return Vec::new();
        };
        let lines = page.text[*cursor..*cursor + end].lines();
        let lines = lines.map(str::to_owned).collect();
        *cursor += end + 1;
        lines
    }
}

impl Page {
    fn write(&mut self, bytes: &[u8], now: Instant) {
        for &byte in bytes {
            self.escape = match (self.escape, byte) {
                (_, 0x1b) => Escape::Started,
                (Escape::Started, b'[') => Escape::Sequence,
                (Escape::Started, _) => Escape::None,
                (Escape::Sequence, b'@'..=b'~') => Escape::None,
                (Escape::Sequence, _) => Escape::Sequence,
                (Escape::None, _) => {
                    self.put(byte, now);
                    Escape::None
                }
            };
        }
    }

    fn put(&mut self, byte: u8, now: Instant) {
        if self.text.is_empty()
            || (self.text.ends_with('\n')
                && self.lines.last().is_none_or(|last| last.0 < self.text.len()))
        {
            self.lines.push((self.text.len(), now));
        }
        match byte {
            b'\n' | b'\t' | b' '..=b'~' => self.text.push(char::from(byte)),
            b'\r' | 0x08 => {}
            _ => self.text.push('\u{fffd}'),
        }
    }

    fn find(&self, needle: &str, mark: usize) -> Option<Sighting> {
        let at = mark + self.text.get(mark..)?.find(needle)?;
        let end = at + self.text[at..].find('\n')?;
        let line = self.lines.partition_point(|&(start, _)| start <= at) - 1;
        let (start, time) = self.lines[line];
        Some(Sighting { line: self.text[start..end].trim().to_owned(), at: time, end })
    }
}
