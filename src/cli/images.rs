//! `bootbox images`: the releases in the repository, what each lacks, and who signed it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use serde_json::{Value, json};

use super::{CONFIG, SYSTEM, fail, print};
use crate::{
    path::RepositoryPath,
    release::{Part, Presence, Release, State, Verdict},
    serve::{
        releases::{Found, Progress, Verifier, proven, scan},
        site::Site,
        store::Store,
    },
};

/// sysexits(3) has no code for it: the question was answered, with no.
const NOT_ALL_WELL: u8 = 1;
/// How often progress is told where it cannot be written over.
const NEWS: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The config [default: /etc/bootbox/bootbox.toml if it is there, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object a release.
    #[arg(long)]
    json: bool,
    /// Verify the signature of every file that has one: reads them whole, but for those that the server
    /// has found good and that have not changed since.
    #[arg(long)]
    verify: bool,
}

pub(super) fn run(options: &Options) -> ExitCode {
    let config = match Site::releases(options.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(CONFIG, &error),
    };
    let root = &config.repository.path;
    let store = match Store::open(None, Some(root)) {
        Ok(store) => store,
        Err(error) => return fail(CONFIG, &format!("{}: {error}", root.display())),
    };
    let verifier = match &config.keyring {
        Some(keyring) => match Verifier::beside(&keyring.path, &proven(&config.ledger)) {
            Ok(verifier) => Some(verifier),
            Err(error) => return fail(CONFIG, &format!("{}: {error}", keyring.place)),
        },
        None if options.verify => {
            return fail(CONFIG, &"--verify needs [repository] keyring in the config");
        }
        None => None,
    };
    let Found { releases, notes } = match scan(&store) {
        Ok(found) => found,
        Err(error) => return fail(SYSTEM, &format!("{}: {error}", root.display())),
    };
    for note in notes {
        // Where standard error is closed, the list is still right.
        let _ = writeln!(io::stderr(), "bootbox: warning: {note}");
    }
    let verdicts = match &verifier {
        Some(verifier) if options.verify => verify(verifier, &store, &releases),
        Some(verifier) => recall(verifier, &store, &releases),
        None => BTreeMap::new(),
    };
    let list = List { releases: &releases, verdicts, has_keyring: verifier.is_some() };
    let text = match options.json {
        true => list.json(),
        false if releases.is_empty() => {
            format!("no CoreOS or Flatcar release beneath {}\n", root.display())
        }
        false => list.text(),
    };
    match (print(text.as_bytes()), list.is_all_well()) {
        (printed, true) => printed,
        (_, false) => NOT_ALL_WELL.into(),
    }
}

/// What the server has found good, and has not changed since.
fn recall(
    verifier: &Verifier,
    store: &Store,
    releases: &[Release],
) -> BTreeMap<RepositoryPath, Verdict> {
    let parts = releases.iter().flat_map(|release| release.parts.values());
    parts
        .filter(|part| part.is_signed())
        .filter_map(|part| Some((part.path.clone(), verifier.recall(store, part)?)))
        .collect()
}

/// Verifies all that is signed, and tells the terminal how far it is.
fn verify(
    verifier: &Verifier,
    store: &Store,
    releases: &[Release],
) -> BTreeMap<RepositoryPath, Verdict> {
    let parts: Vec<&Part> = releases.iter().flat_map(|release| release.parts.values()).collect();
    let mut screen = io::stderr();
    let is_terminal = screen.is_terminal();
    let mut last = Instant::now();
    let verdicts = verifier.verify(store, &parts, &mut |progress: Progress| {
        if is_terminal {
            let _ = write!(screen, "\rverifying: {} %", progress.percent());
        } else if last.elapsed() > NEWS {
            last = Instant::now();
            let _ = writeln!(screen, "verifying {}: {} %", progress.file, progress.percent());
        }
        ControlFlow::Continue(())
    });
    if is_terminal {
        // Back to the start of the line, which is wiped.
        let _ = write!(screen, "\r\x1b[K");
    }
    verdicts
}

/// What was found, ready to be written.
struct List<'a> {
    releases: &'a [Release],
    verdicts: BTreeMap<RepositoryPath, Verdict>,
    has_keyring: bool,
}

impl List<'_> {
    fn is_all_well(&self) -> bool {
        let is_usable = |release: &Release| match release.state() {
            State::Complete => release.doubt.is_none(),
            State::Incomplete(_) => false,
            State::RamOnly => true,
        };
        let is_good = |verdict: &Verdict| matches!(verdict, Verdict::Good { .. });
        self.releases.iter().all(is_usable) && self.verdicts.values().all(is_good)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for release in self.releases {
            let Release { folder, family, version, .. } = release;
            let _ = writeln!(text, "{folder}: {family} {version}, {}", release.state());
            for line in cautions(release) {
                let _ = writeln!(text, "  {line}");
            }
            let rows: Vec<[String; 4]> = release
                .parts
                .iter()
                .map(|(piece, part)| self.row(&piece.to_string(), part))
                .collect();
            let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
            let (first, second, third) = (width(0), width(1), width(2));
            for [piece, file, size, said] in &rows {
                let _ = writeln!(text, "  {piece:first$}  {file:second$}  {size:>third$}  {said}");
            }
        }
        text
    }

    fn row(&self, piece: &str, part: &Part) -> [String; 4] {
        let file = String::from_utf8_lossy(part.path.file_name()).into_owned();
        let size = match part.file {
            Presence::Found(bytes) => readable(bytes),
            Presence::Absent | Presence::Useless(_) => "-".to_owned(),
        };
        [piece.to_owned(), file, size, self.said(part)]
    }

    /// What there is to say of a file: that it is missing, or whose it is.
    fn said(&self, part: &Part) -> String {
        match (&part.file, &part.signature) {
            (Presence::Absent, _) => "missing".to_owned(),
            (Presence::Useless(why), _) => why.clone(),
            (Presence::Found(_), Presence::Absent) => "no signature beside it".to_owned(),
            (Presence::Found(_), Presence::Useless(why)) => format!("its signature {why}"),
            (Presence::Found(_), Presence::Found(_)) => match self.verdicts.get(&part.path) {
                Some(verdict) => verdict.to_string(),
                None if self.has_keyring => "not verified: --verify was not given".to_owned(),
                None => "not verified: no [repository] keyring in the config".to_owned(),
            },
        }
    }

    fn json(&self) -> String {
        let object = |release: &Release| {
            let (state, missing) = match release.state() {
                State::Complete => ("complete", Vec::new()),
                State::Incomplete(missing) => ("incomplete", missing),
                State::RamOnly => ("ram-only", Vec::new()),
            };
            let pieces = release.parts.iter();
            let pieces: Vec<Value> =
                pieces.map(|(piece, part)| self.json_of(&piece.to_string(), part)).collect();
            json!({
                "folder": release.folder.to_string(),
                "family": release.family.to_string(),
                "version": release.version,
                "state": state,
                "missing": missing,
                "doubt": release.doubt,
                "current": release.current,
                "pieces": pieces,
            })
        };
        self.releases.iter().map(|release| format!("{}\n", object(release))).collect()
    }

    fn json_of(&self, piece: &str, part: &Part) -> Value {
        let bytes = match part.file {
            Presence::Found(bytes) => Some(bytes),
            Presence::Absent | Presence::Useless(_) => None,
        };
        let verdict = self.verdicts.get(&part.path);
        let (key, made) = match verdict {
            Some(Verdict::Good { fingerprint, made, .. }) => {
                (Some(fingerprint), made.duration_since(UNIX_EPOCH).ok())
            }
            Some(Verdict::Bad(_)) | None => (None, None),
        };
        json!({
            "piece": piece,
            "file": part.path.to_string(),
            "bytes": bytes,
            "is-signed": part.is_signed(),
            "is-good": verdict.map(|verdict| verdict.is_good(SystemTime::now())),
            "key": key,
            "made": made.map(|made| made.as_secs()),
            "said": self.said(part),
        })
    }
}

/// Why PXE and disk may not be of one version.
fn cautions(release: &Release) -> Vec<String> {
    let mut lines = Vec::new();
    if release.state() == State::RamOnly {
        return lines;
    }
    if let Some(doubt) = &release.doubt {
        lines.push(format!("PXE and disk may differ in version: {doubt}"));
    }
    if let Some(current) = release.current.as_ref().filter(|&current| *current != release.version) {
        lines.push(format!(
            "version.txt of the folder current beside it says {current}: `coreos-install -V \
             current` would install that"
        ));
    }
    lines
}

/// A size for people.
fn readable(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
