//! `bootbox machines` and `bootbox machine`: what the running server knows of its machines.

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use serde::Serialize;

use super::{SOFTWARE, fail, link::Server, print, when};
use crate::{
    control::{NextBoot, Request, Sheet},
    ledger::{Holder, Moment, State},
    machine::Subject,
    printable,
    serve::ledger::now,
};

/// Names of columns; the last is as long as it has to be.
const COLUMNS: [&str; 6] = ["MAC", "PROFILE", "GROUP", "ADDRESS", "LAST SEEN", "STATE"];

#[derive(Debug, Args)]
pub(super) struct ListOptions {
    /// List the machines instead that were heard since the start and have no record, the newest
    /// first: no group matches them, or nothing is answered in observe mode.
    #[arg(long)]
    unknown: bool,
    /// As JSON, one array; docs/ledger.md has every field.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct OneOptions {
    /// The machine's hardware address, or its UUID where one machine has it.
    #[arg(value_name = "MAC|UUID")]
    machine: Subject,
    /// As JSON, one object; docs/ledger.md has every field.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub(super) fn list(options: &ListOptions) -> ExitCode {
    let request = if options.unknown { Request::Unknown } else { Request::Machines };
    match options.server.ask(&request) {
        Ok(sheets) if options.json => print_json(&sheets),
        Ok(sheets) if sheets.is_empty() && options.unknown => {
            print(b"no machine was heard that has no record\n")
        }
        Ok(sheets) if sheets.is_empty() => print(b"no machine has been seen yet\n"),
        Ok(sheets) => print(table(&sheets, now()).as_bytes()),
        Err(code) => code,
    }
}

pub(super) fn one(options: &OneOptions) -> ExitCode {
    match options.server.ask_one(&Request::Machine { machine: options.machine }) {
        Ok(sheet) if options.json => print_json(&sheet),
        Ok(sheet) => print(page(&sheet, now()).as_bytes()),
        Err(code) => code,
    }
}

fn print_json(value: &impl Serialize) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(format!("{}\n", printable::in_json(&text)).as_bytes()),
        Err(error) => fail(SOFTWARE, &error),
    }
}

/// One line a machine, and a second one where its disk does not boot.
fn table(sheets: &[Sheet], now: Moment) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |sheet: &Sheet| {
        [
            sheet.mac.to_string(),
            or_none(&sheet.profile),
            or_none(&sheet.group),
            or_none(&sheet.addresses.last().map(ToString::to_string)),
            when::ago(sheet.last_seen, now),
            state(sheet),
        ]
    };
    let head = COLUMNS.map(str::to_owned);
    let rows: Vec<_> = sheets.iter().map(row).collect();
    let width = |column: usize| {
        rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
    let before_state = widths[..COLUMNS.len() - 1].iter().map(|width| width + 2).sum::<usize>();
    let mut text = line(&head, &widths);
    for (row, sheet) in rows.iter().zip(sheets) {
        text.push_str(&line(row, &widths));
        if sheet.disk_does_not_boot {
            let _ = writeln!(text, "{:before_state$}{}", "", NO_DISK);
        }
    }
    text
}

const NO_DISK: &str =
    "its disk does not boot: it is installed, and comes back to the network again and again";

fn line(row: &[String; COLUMNS.len()], widths: &[usize; COLUMNS.len()]) -> String {
    let [columns @ .., last] = row;
    let mut line = String::new();
    for (text, width) in columns.iter().zip(widths) {
        let _ = write!(line, "{text:width$}  ");
    }
    line.push_str(last);
    line.push('\n');
    line
}

/// How far it has come, in plain words.
fn state(sheet: &Sheet) -> String {
    let attempt = || format!("attempt {} of {}", sheet.attempts, sheet.most_attempts);
    let words = match &sheet.state {
        State::Failed { profile, reason } => {
            format!("failed{}, {}: {reason}", other(sheet, profile), attempt())
        }
        State::Held(held) => {
            let by = match held.by {
                Holder::Operator => " by the operator",
                Holder::Attempts | Holder::Doubt | Holder::Twin => "",
            };
            match &held.installed {
                Some(installed) => format!("held{by}: {}; {installed}", held.reason),
                None => format!("held{by}: {}", held.reason),
            }
        }
        State::Installed(installed) => format!(
            "installed{} {}, {}",
            other(sheet, &installed.profile),
            installed.at,
            installed.proof
        ),
        State::Installing(going) => {
            format!("installing{}, {}", other(sheet, &going.profile), attempt())
        }
        State::New => "new".to_owned(),
    };
    plain(&words)
}

/// A profile that is not the one which its group has for it now.
fn other(sheet: &Sheet, profile: &str) -> String {
    match sheet.profile.as_deref() == Some(profile) {
        true => String::new(),
        false => format!(" ({profile})"),
    }
}

/// All there is to tell of one machine.
fn page(sheet: &Sheet, now: Moment) -> String {
    let mut page = format!("machine {}\n", sheet.mac);
    let mut tell = |name: &str, value: &str| {
        let _ = writeln!(page, "  {:<12}  {}", plain(name), plain(value));
    };
    tell("state", &state(sheet));
    if sheet.disk_does_not_boot {
        tell("", NO_DISK);
    }
    tell("next boot", &next_boot(sheet));
    tell("group", sheet.group.as_deref().unwrap_or("none matches"));
    tell("profile", sheet.profile.as_deref().unwrap_or("none"));
    tell("attempts", &format!("{} of {}", sheet.attempts, sheet.most_attempts));
    let addresses: Vec<String> = sheet.addresses.iter().map(ToString::to_string).collect();
    match addresses.len() {
        0 => tell("addresses", "none known"),
        1 => tell("addresses", &addresses[0]),
        _ => tell("addresses", &format!("{} (newest last)", addresses.join(", "))),
    }
    tell("first seen", &when::exactly(sheet.first_seen));
    let last_seen =
        format!("{} ({})", when::exactly(sheet.last_seen), when::ago(sheet.last_seen, now));
    tell("last seen", &last_seen);
    if let Some(uuid) = sheet.uuid {
        tell("UUID", &uuid.to_string());
        if sheet.is_uuid_shared {
            tell("", "many boards have this UUID, so it names no machine and is not looked at");
        } else if let Some(same) = &sheet.same_uuid {
            tell("", &same.to_string());
        }
    }
    if sheet.is_distinct {
        tell("distinct", "the operator said that it is not another machine with its UUID");
    }
    if let Some(firmware) = sheet.firmware {
        tell("firmware", &firmware.to_string());
    }
    for (name, value) in &sheet.labels {
        tell(name, value);
    }
    page.push_str("history\n");
    for entry in sheet.history.as_deref().unwrap_or_default() {
        let _ = writeln!(page, "  {}  {}", when::exactly(entry.at), plain(&entry.text));
    }
    page
}

/// What its next network boot comes to.
pub(super) fn next_boot(sheet: &Sheet) -> String {
    let profile = sheet.profile.as_deref().unwrap_or("-");
    match &sheet.next_boot {
        NextBoot::Boot => format!("boots profile {profile}, which installs nothing"),
        NextBoot::Disk(reason) => format!("boots its own disk: {reason}"),
        NextBoot::Hold(reason) => format!("waits and installs nothing: {reason}"),
        NextBoot::Install => format!("is installed with profile {profile}, which wipes its disk"),
        NextBoot::Nothing => {
            "gets no answer, because no group matches it: on to its disk".to_owned()
        }
        NextBoot::Refused(reason) => format!("installs and boots nothing: {reason}"),
        NextBoot::Undecided => "depends on what more it tells: no group is sure yet".to_owned(),
    }
}

/// What a machine told must not move the cursor of whoever reads.
pub(super) fn plain(text: &str) -> String {
    printable::shown(text, '\u{fffd}').into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::Choice,
        ledger::{Event, Install, Order, Piece, Record, Report, decide},
        machine::Machine,
    };

    const NOON: u64 = 1_475_323_200;

    fn sheet(mac: &str, events: &[Event]) -> Sheet {
        let machine = Machine::heard(mac.parse().unwrap(), None, None);
        let mut record = Record::new(machine, Moment(NOON));
        for event in events {
            record = record.after(event, 3, Moment(NOON + 60)).unwrap();
        }
        let decision = decide(Some(&record), Install::Once, 3);
        let choice = Choice::Group("lab".to_owned(), "coreos".to_owned(), decision);
        Sheet::of(&record, choice, 3).with_history(&record)
    }

    fn scripted(profile: &str) -> Event {
        Event::Scripted { group: "lab".to_owned(), profile: profile.to_owned(), token: None }
    }

    #[test]
    fn the_table_is_aligned_and_says_states_in_words() {
        let installed = Event::Reported(Report::Installed);
        let failed = Event::Reported(Report::Failed("BAD \u{1b}[2J signature".to_owned()));
        let hold = Event::Ordered(Order::Hold("fan".to_owned()));
        let mut disk = sheet("52:54:00:00:00:02", &[scripted("coreos"), installed.clone()]);
        disk.disk_does_not_boot = true;
        let sheets = [
            sheet("52:54:00:00:00:01", &[Event::Address([10, 0, 0, 201].into())]),
            disk,
            sheet("52:54:00:00:00:03", &[scripted("old"), Event::Fetched(Piece::Boot)]),
            sheet("52:54:00:00:00:04", &[scripted("coreos"), failed]),
            sheet("52:54:00:00:00:05", std::slice::from_ref(&hold)),
            sheet("52:54:00:00:00:06", &[scripted("coreos"), installed, hold]),
        ];
        let expected = "\
MAC                PROFILE  GROUP  ADDRESS     LAST SEEN  STATE
52:54:00:00:00:01  coreos   lab    10.0.0.201  2 min ago  new
52:54:00:00:00:02  coreos   lab    -           2 min ago  installed 2016-10-01 12:01 UTC, its install script said so
                                                          its disk does not boot: it is installed, and comes back to the network again and again
52:54:00:00:00:03  coreos   lab    -           2 min ago  installing (old), attempt 1 of 3
52:54:00:00:00:04  coreos   lab    -           2 min ago  failed, attempt 1 of 3: BAD \u{fffd}[2J signature
52:54:00:00:00:05  coreos   lab    -           2 min ago  held by the operator: fan
52:54:00:00:00:06  coreos   lab    -           2 min ago  held by the operator: fan; coreos is installed since 2016-10-01 12:01 UTC: its install script said so
";
        assert_eq!(table(&sheets, Moment(NOON + 180)), expected);
    }

    #[test]
    fn a_page_tells_all_fields_and_the_history() {
        let mut sheet = sheet("52:54:00:00:00:01", &[scripted("coreos")]);
        sheet.labels.insert("product".to_owned(), "VMware7,1".to_owned());
        let expected = "\
machine 52:54:00:00:00:01
  state         installing, attempt 1 of 3
  next boot     is installed with profile coreos, which wipes its disk
  group         lab
  profile       coreos
  attempts      1 of 3
  addresses     none known
  first seen    2016-10-01T12:00:00Z
  last seen     2016-10-01T12:01:00Z (1 min ago)
  product       VMware7,1
history
  2016-10-01T12:00:00Z  first seen
  2016-10-01T12:01:00Z  attempt 1 to install coreos (group lab)
";
        assert_eq!(page(&sheet, Moment(NOON + 120)), expected);
    }

    #[test]
    fn a_profile_that_its_group_no_longer_has_is_named() {
        let installed = Event::Reported(Report::Installed);
        let sheet = sheet("52:54:00:00:00:01", &[scripted("old"), installed]);
        assert!(state(&sheet).starts_with("installed (old) 2016-10-01 12:01 UTC"));
    }
}
