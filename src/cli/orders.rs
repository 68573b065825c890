//! `bootbox installed`, `reinstall`, `hold`, `release` and `forget`: an operator's word about one machine, and
//! what it means for the machine's next network boot.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    slice,
    str::FromStr,
};

use clap::Args;

use super::{
    NOT_SO, USAGE, fail,
    link::Server,
    machines::{next_boot, plain},
    print,
};
use crate::{
    catalog::{Field, Pattern},
    control::{NextBoot, Reason, Request, Sheet},
    machine::{NotASubject, Subject},
};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The machine's hardware address, or its UUID where one machine has it.
    #[arg(value_name = "MAC|UUID")]
    machine: Subject,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct HoldOptions {
    #[command(flatten)]
    of: Options,
    /// Why, in one line: it stands on the machine's console.
    #[arg(long, value_name = "TEXT", default_value = "until further notice")]
    reason: Reason,
}

#[derive(Debug, Args)]
pub(super) struct ForgetOptions {
    /// The machine's hardware address, its UUID where one machine has it, or a glob of hardware
    /// addresses, as "02:00:*".
    #[arg(value_name = "MAC|UUID|GLOB")]
    machine: Which,
    #[command(flatten)]
    server: Server,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct InstalledOptions {
    /// Hardware addresses, UUIDs, or globs, as "02:00:*", of the hardware addresses that are known
    /// or were heard since the start.
    #[arg(value_name = "MAC|UUID|GLOB", required_unless_present = "from")]
    machines: Vec<Which>,
    /// Read more of them from a file, one a line; "-" is standard input, "#" begins a comment.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// The machines that a word names.
#[derive(Clone, Debug)]
enum Which {
    Glob(Pattern),
    One(Subject),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(['*', '?']) {
            let glob = Pattern::parse(&Field::Mac, text);
            return glob.map(Self::Glob).map_err(|error| error.to_string());
        }
        text.parse().map(Self::One).map_err(|error: NotASubject| error.to_string())
    }
}

impl Which {
    /// The machines that are meant; of a glob those that the running server lists.
    fn machines(&self, server: &Server, lists: &[Request]) -> Result<Vec<Subject>, ExitCode> {
        let pattern = match self {
            Self::One(machine) => return Ok(vec![*machine]),
            Self::Glob(pattern) => pattern,
        };
        let mut known = BTreeSet::new();
        for list in lists {
            known.extend(server.ask(list)?.into_iter().map(|sheet| sheet.mac));
        }
        let found: Vec<Subject> = known
            .into_iter()
            .filter(|&mac| Pattern::allow(Some(slice::from_ref(pattern)), mac))
            .map(Subject::Mac)
            .collect();
        match found.is_empty() {
            true => Err(fail(NOT_SO, &format!("no machine that is known is one of {pattern}"))),
            false => Ok(found),
        }
    }
}

pub(super) fn installed(options: &InstalledOptions) -> ExitCode {
    let mut named = options.machines.clone();
    if let Some(file) = &options.from {
        match listed(file) {
            Ok(more) => named.extend(more),
            Err(error) => {
                let text = format!("{}: {error}; nothing was done", shown(file));
                return fail(USAGE, &text);
            }
        }
        if named.is_empty() {
            let text = format!("{} names no machine; nothing was done", shown(file));
            return fail(USAGE, &text);
        }
    }
    let mut code = ExitCode::SUCCESS;
    for which in &named {
        // One that cannot be done keeps the others from nothing.
        let machines = match which.machines(&options.server, &[Request::Machines, Request::Unknown])
        {
            Ok(machines) => machines,
            Err(error) => {
                code = error;
                continue;
            }
        };
        for machine in machines {
            match options.server.ask_one(&Request::Installed { machine }) {
                Ok(sheet) => {
                    let next = plain(&next_boot(&sheet));
                    let line = format!("{}: installed; its next network boot {next}\n", sheet.mac);
                    print(line.as_bytes());
                }
                Err(error) => code = error,
            }
        }
    }
    code
}

fn shown(file: &Path) -> String {
    match file == Path::new("-") {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    }
}

/// The machines of a file; the error says which line is wrong.
fn listed(file: &Path) -> Result<Vec<Which>, String> {
    let text = match file == Path::new("-") {
        true => io::read_to_string(io::stdin()),
        false => fs::read_to_string(file),
    };
    let text = text.map_err(|error| format!("cannot be read: {error}"))?;
    let lines = text.lines().enumerate();
    let words = lines.map(|(at, line)| (at + 1, line.split('#').next().unwrap_or("").trim()));
    let words = words.filter(|(_, word)| !word.is_empty());
    words
        .map(|(line, word)| word.parse().map_err(|error| format!("line {line}: {word:?} {error}")))
        .collect()
}

pub(super) fn reinstall(options: &Options) -> ExitCode {
    order(options, &Request::Reinstall { machine: options.machine }, reinstalled)
}

pub(super) fn hold(options: &HoldOptions) -> ExitCode {
    let (machine, reason) = (options.of.machine, options.reason.clone());
    order(&options.of, &Request::Hold { machine, reason }, |sheet| {
        format!(
            "held until `bootbox release {}`; its next network boot {}",
            sheet.mac,
            next_boot(sheet)
        )
    })
}

pub(super) fn release(options: &Options) -> ExitCode {
    order(options, &Request::Release { machine: options.machine }, |sheet| {
        format!("released; its next network boot {}", next_boot(sheet))
    })
}

fn order(options: &Options, request: &Request, words: impl Fn(&Sheet) -> String) -> ExitCode {
    match options.server.ask_one(request) {
        Ok(sheet) => print(format!("{}: {}\n", sheet.mac, plain(&words(&sheet))).as_bytes()),
        Err(code) => code,
    }
}

fn reinstalled(sheet: &Sheet) -> String {
    let wipes = "which wipes its disk";
    match &sheet.next_boot {
        NextBoot::Install => {
            format!("will be installed again at its next network boot, {wipes}")
        }
        NextBoot::Undecided => format!(
            "will be installed again, {wipes}, at its next network boot if a group with an \
             installing profile matches it"
        ),
        NextBoot::Refused(_) => format!(
            "will be installed again, {wipes}, once it is served; as things are, its next network \
             boot {}",
            next_boot(sheet)
        ),
        NextBoot::Boot | NextBoot::Disk(_) | NextBoot::Hold(_) | NextBoot::Nothing => format!(
            "will be installed again, {wipes}, once a group with an installing profile matches it; \
             as things are, its next network boot {}",
            next_boot(sheet)
        ),
    }
}

pub(super) fn forget(options: &ForgetOptions) -> ExitCode {
    let server = &options.server;
    let found: Result<Vec<Sheet>, ExitCode> = match &options.machine {
        Which::One(machine) => {
            server.ask_one(&Request::Machine { machine: *machine }).map(|sheet| vec![sheet])
        }
        glob @ Which::Glob(_) => glob.machines(server, &[Request::Machines]).and_then(|machines| {
            let ask = |machine: &Subject| server.ask_one(&Request::Machine { machine: *machine });
            machines.iter().map(ask).collect()
        }),
    };
    let sheets = match found {
        Ok(sheets) => sheets,
        Err(code) => return code,
    };
    for sheet in &sheets {
        // Where standard error is closed, the answer still decides.
        let _ = writeln!(io::stderr(), "{}", warning(sheet));
    }
    if !options.yes && !is_confirmed() {
        return fail(USAGE, &"nothing was done; say --yes, or answer yes on a terminal");
    }
    let mut code = ExitCode::SUCCESS;
    for sheet in &sheets {
        match server.ask(&Request::Forget { machine: sheet.mac.into() }) {
            Ok(_) => {
                print(format!("{}: forgotten\n", sheet.mac).as_bytes());
            }
            Err(error) => code = error,
        }
    }
    code
}

fn warning(sheet: &Sheet) -> String {
    let now = match (&sheet.group, &sheet.profile) {
        (Some(group), Some(profile)) => format!("group {group} matches it now, profile {profile}"),
        _ => "now no group surely matches it".to_owned(),
    };
    format!(
        "{}: once forgotten it is treated as new: INSTALLED, and its disk WIPED, at its next network \
         boot if a group with an installing profile matches it ({now}). To keep it from that, use \
         `bootbox hold {}` instead.",
        sheet.mac, sheet.mac
    )
}

/// Whether somebody at a terminal says yes.
fn is_confirmed() -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "Forget it? Type yes: ");
    asked.is_ok() && io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::Choice,
        ledger::{Install, Moment, Record, decide},
        machine::Machine,
    };

    fn sheet(choice: Choice) -> Sheet {
        let machine = Machine::heard("52:54:00:00:00:01".parse().unwrap(), None, None);
        Sheet::of(&Record::new(machine, Moment(0)), choice, 3)
    }

    fn group(install: Install) -> Choice {
        Choice::Group("lab".to_owned(), "p".to_owned(), decide(None, install, 3))
    }

    #[test]
    fn reinstall_says_what_it_does_to_the_disk() {
        for (choice, said) in [
            (
                group(Install::Once),
                "will be installed again at its next network boot, which wipes its disk",
            ),
            (Choice::Later, "at its next network boot if a group with an installing profile"),
            (group(Install::Never), "as things are, its next network boot boots profile p"),
            (Choice::Nothing, "as things are, its next network boot gets no answer"),
        ] {
            let words = reinstalled(&sheet(choice));
            assert!(words.contains(said) && words.contains("wipes its disk"), "{words}");
        }
    }

    #[test]
    fn forgetting_is_said_to_wipe_before_it_is_done() {
        let words = warning(&sheet(group(Install::Once)));
        assert!(
            words.contains("INSTALLED, and its disk WIPED, at its next network boot if"),
            "{words}"
        );
        assert!(words.contains("group lab matches it now, profile p"), "{words}");
        assert!(warning(&sheet(Choice::Later)).contains("no group surely matches"));
    }
}
