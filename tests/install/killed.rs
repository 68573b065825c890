//! A real machine goes through its story while the server is killed with -9 and started again at
//! random moments: what the ledger has on disk then must be what happened.

// How it went is printed.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bootbox::ledger::{Image, Record, State};
use bootbox::machine::Mac;
use bootbox::serve::{journal::Journal, ledger::Ledger};

use crate::lab::machine::{Hardware, Machine};
use crate::lab::office::Office;
use crate::lab::story::{Plan, STEP, Script, Story};
use crate::lab::{self, Failure, Lab};

/// Kills that one story bears: each breaks a download, a report or a question.
const KILLS: usize = 10;
/// The server lives for so long at most before it is killed, in milliseconds: a story takes some
/// two minutes and a half.
const LONGEST_LIFE: u64 = 30_000;
/// Nothing happens for so long: the machine waits for a person.
const STUCK: Duration = STEP;

/// What was seen in one story or several.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kills: usize,
    stories: usize,
    /// Systems that came up in RAM, each with a script that installs.
    installers: usize,
    attempts: usize,
    power_cycles: usize,
    installed: usize,
    held: usize,
    states: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.stories += 1;
        self.installers += other.installers;
        self.attempts += other.attempts;
        self.power_cycles += other.power_cycles;
        self.installed += other.installed;
        self.held += other.held;
        for (state, count) in other.states {
            *self.states.entry(state).or_default() += count;
        }
    }
}

/// Plays stories until the server was killed so often.
pub(crate) fn stories(kills: usize, mut seed: u64, binary: &Path, hardware: &Hardware) -> Tally {
    println!("BOOTBOX_SEED={seed}");
    let mut all = Tally::default();
    while all.kills < kills {
        let most = KILLS.min(kills - all.kills);
        let name = format!("killed_at_random_{}", all.stories);
        lab::run(&name, &Office::Plain, 1, |lab| {
            let mut play = Play::begin(lab, binary, hardware, &mut seed)?;
            play.goes_on(most)?;
            all.add(play.tally);
            Ok(())
        });
        println!("{all:?}");
    }
    all
}

/// One story under way.
struct Play<'a> {
    lab: &'a Lab,
    story: Story,
    hardware: &'a Hardware,
    machine: Machine,
    /// What the consoles of earlier power-ons showed.
    before: String,
    cursor: usize,
    seed: &'a mut u64,
    known: Option<Record>,
    /// Systems that had come up in RAM when the ledger first said that it is installed.
    when_installed: Option<usize>,
    disk_boots: usize,
    tally: Tally,
}

impl<'a> Play<'a> {
    fn begin(
        lab: &'a Lab,
        binary: &Path,
        hardware: &'a Hardware,
        seed: &'a mut u64,
    ) -> Result<Self, Failure> {
        let story = Story::begin(lab, binary, Plan::new(Script::Ours)?)?;
        let machine = Machine::power_on(lab, hardware)?;
        Ok(Self {
            lab,
            story,
            hardware,
            machine,
            before: String::new(),
            cursor: 0,
            seed,
            known: None,
            when_installed: None,
            disk_boots: 0,
            tally: Tally::default(),
        })
    }

    /// From the first power-on to the second boot from disk, or until it is held.
    fn goes_on(&mut self, kills: usize) -> Result<(), Failure> {
        let mut last_line = Instant::now();
        let mut kill_at = self.next_kill();
        let mut is_over = false;
        while !is_over {
            let wait = match self.tally.kills < kills {
                true => kill_at.saturating_duration_since(Instant::now()),
                false => Duration::from_secs(1),
            };
            let lines = self.machine.next_lines(&mut self.cursor, wait);
            if !lines.is_empty() {
                last_line = Instant::now();
            }
            for line in &lines {
                is_over |= self.hears(line)?;
            }
            if last_line.elapsed() > STUCK {
                return Err(Failure::new("the machine has said nothing more"));
            }
            if self.tally.kills < kills && Instant::now() >= kill_at && !is_over {
                self.kills_the_server()?;
                kill_at = self.next_kill();
            }
        }
        self.ends()
    }

    /// What a person does who sees this line; whether the story is over.
    fn hears(&mut self, line: &str) -> Result<bool, Failure> {
        if line.contains("LAB-DISK up") {
            self.disk_boots += 1;
            println!("    up from disk, the {}. time", self.disk_boots);
            if self.disk_boots == 2 {
                return Ok(true);
            }
            self.machine.type_line("reboot")?;
        }
        if line.contains("LAB-RAM idle") || line.contains("LAB-RAM ignition: failed") {
            println!("    {line}: restarted by hand");
            self.tally.power_cycles += 1;
            self.machine.type_line("reboot")?;
        }
        if line.contains("No bootable device") || line.contains("LAB-RAM network: no lease") {
            println!("    {line}: switched off and on");
            self.tally.power_cycles += 1;
            self.before += &self.machine.console();
            self.cursor = 0;
            // The old one must have let go of the disk first.
            self.machine.unplug();
            self.machine = Machine::power_on(self.lab, self.hardware)?;
        }
        Ok(line.contains("waits for its operator"))
    }

    fn console(&self) -> String {
        format!("{}{}", self.before, self.machine.console())
    }

    fn next_kill(&mut self) -> Instant {
        *self.seed ^= *self.seed << 13;
        *self.seed ^= *self.seed >> 7;
        *self.seed ^= *self.seed << 17;
        Instant::now() + Duration::from_millis(*self.seed % LONGEST_LIFE)
    }

    fn kills_the_server(&mut self) -> Result<(), Failure> {
        let before = self.console();
        self.story.server.process().kill();
        self.tally.kills += 1;
        let record = self.record()?;
        let after = self.console();
        let name = name_of(record.as_ref());
        let line = before.lines().rev().find(|line| line.contains("LAB")).unwrap_or("-").trim();
        println!("    kill {}: {name}; the machine was at: {line}", self.tally.kills);
        *self.tally.states.entry(name).or_default() += 1;
        self.judge(&before, &after, record.as_ref())?;
        self.known = record;
        self.story.server.restart(self.lab)
    }

    /// What the ledger has on disk; the server must not run.
    fn record(&self) -> Result<Option<Record>, Failure> {
        let copy = self.lab.scratch().join("copy.redb");
        fs::copy(self.lab.scratch().join("state/ledger.redb"), &copy)?;
        let mac: Mac = self
            .hardware
            .mac
            .parse()
            .map_err(|error| Failure::new(format!("{}: {error}", self.hardware.mac)))?;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match Ledger::open(&copy, 3, Journal::new()) {
                Ok(ledger) => {
                    let mut runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = runtime.enable_time().build();
                    let runtime = runtime.map_err(|error| Failure::new(error.to_string()))?;
                    let record = runtime.block_on(ledger.read(mac));
                    drop(ledger);
                    fs::remove_file(&copy)?;
                    return Ok(record);
                }
                // The one before it is not closed yet.
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(Failure::new(error.to_string())),
            }
        }
    }

    /// Holds the ledger to what the console had shown before the kill, and after it.
    fn judge(&mut self, before: &str, after: &str, record: Option<&Record>) -> Result<(), Failure> {
        let wrong = |why: &str| Err(Failure::new(format!("{why}: {record:?}")));
        let ups = count(before, "LAB-RAM up");
        let Some(it) = record else {
            return match (ups, &self.known) {
                (0, None) => Ok(()),
                _ => wrong("the ledger has forgotten the machine"),
            };
        };
        if let Some(known) = &self.known {
            // Reports of progress may be drawn together in the last line.
            let kept = known.history.len().saturating_sub(1);
            if it.history.get(..kept) != known.history.get(..kept) {
                return wrong("what had happened is no longer in the history");
            }
        }
        if count(after, "LAB-RAM up") > attempts(it) {
            return wrong("an installer runs that is no attempt");
        }
        let is_installed = matches!(it.state, State::Installed(_));
        let (_, latest) = before.rsplit_once("LAB-RAM up").unwrap_or_default();
        let is_written = latest.contains("coreos-install: Success");
        let may_be = is_installed
            || it.state.attempt().is_some_and(|attempt| attempt.image != Image::Incomplete);
        if is_written && !may_be {
            return wrong("the disk is written, and the ledger does not know");
        }
        if is_written && latest.contains("LAB rebooting") && !is_installed {
            return wrong("it restarted as installed, and the ledger does not say so");
        }
        if may_be && count(after, "coreos-install: writing") == 0 {
            return wrong("nothing was ever written");
        }
        if before.contains("LAB-DISK up") && !is_installed {
            return wrong("it runs from its disk");
        }
        match (self.when_installed, is_installed) {
            (None, true) => self.when_installed = Some(count(after, "LAB-RAM up")),
            (Some(_), false) => return wrong("it was installed"),
            (Some(then), true) if count(after, "LAB-RAM up") != then => {
                return wrong("it was installed again");
            }
            (Some(_), true) | (None, false) => {}
        }
        Ok(())
    }

    fn ends(&mut self) -> Result<(), Failure> {
        let console = self.console();
        self.story.server.process().kill();
        let record = self.record()?;
        self.judge(&console, &console, record.as_ref())?;
        let Some(record) = record else { return Err(Failure::new("no record at the end")) };
        self.tally.installers = count(&console, "LAB-RAM up");
        self.tally.attempts = attempts(&record);
        let state = name_of(Some(&record));
        println!(
            "    the end: {state}; {} attempts, {} installers, {} images written, {} whole",
            self.tally.attempts,
            self.tally.installers,
            count(&console, "coreos-install: writing"),
            count(&console, "coreos-install: Success"),
        );
        match &record.state {
            State::Held(_) if self.disk_boots == 0 => self.tally.held = 1,
            State::Installed(_) if self.disk_boots == 2 => self.tally.installed = 1,
            State::Failed { .. }
            | State::Held(_)
            | State::Installed(_)
            | State::Installing(_)
            | State::New => return Err(Failure::new(format!("at the end it is {state}"))),
        }
        let (_, since) = console.split_once("coreos-install: Success").unwrap_or_default();
        for wipe in ["LAB-RAM up", "ignition: wiping", "coreos-install: writing"] {
            if since.contains(wipe) {
                return Err(Failure::new(format!("after it was installed: {wipe}")));
            }
        }
        if self.tally.installers > self.tally.attempts {
            return Err(Failure::new("there were more installers than attempts"));
        }
        Ok(())
    }
}

fn count(console: &str, needle: &str) -> usize {
    console.matches(needle).count()
}

/// Attempts that the history tells of, an operator's word or not.
fn attempts(record: &Record) -> usize {
    let is_attempt = |text: &str| text.starts_with("attempt ") && text.contains(" to install ");
    record.history.iter().filter(|line| is_attempt(&line.text)).count()
}

fn name_of(record: Option<&Record>) -> String {
    match record.map(|record| &record.state) {
        None => "no record".to_owned(),
        Some(State::New) => "new".to_owned(),
        Some(State::Failed { .. }) => "failed".to_owned(),
        Some(State::Held(held)) => format!("held ({:?})", held.by),
        Some(State::Installed(it)) => format!("installed ({:?})", it.proof),
        Some(State::Installing(attempt)) if !attempt.is_under_way => "scripted".to_owned(),
        Some(State::Installing(attempt)) => format!("installing ({:?})", attempt.image),
    }
}
