//! `bootbox reinstall`, `hold`, `release` and `forget`: an operator's word about one machine, and
//! what it means for the machine's next network boot.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Args;

use super::{
    USAGE, fail,
    link::Server,
    machines::{next_boot, plain},
    print,
};
use crate::{
    control::{NextBoot, Reason, Request, Sheet},
    machine::Subject,
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
    #[command(flatten)]
    of: Options,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
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
    let Options { machine, server } = &options.of;
    let sheet = match server.ask_one(&Request::Machine { machine: *machine }) {
        Ok(sheet) => sheet,
        Err(code) => return code,
    };
    // Where standard error is closed, the answer still decides.
    let _ = writeln!(io::stderr(), "{}", warning(&sheet));
    if !options.yes && !is_confirmed() {
        return fail(USAGE, &"nothing was done; say --yes, or answer yes on a terminal");
    }
    match server.ask(&Request::Forget { machine: sheet.mac.into() }) {
        Ok(_) => print(format!("{}: forgotten\n", sheet.mac).as_bytes()),
        Err(code) => code,
    }
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
