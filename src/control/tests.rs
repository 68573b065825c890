use super::*;
use crate::{
    ledger::{Decision, Event, Moment, Pass, Record, Report},
    machine::{Machine, SharedUuids},
    token::Token,
};

const MOST: u32 = 3;
const MAC: &str = "52:54:00:00:00:01";
const UUID: &str = "564da6d2-1706-6343-dc2d-0123456789ab";
const SWAPPED: &str = "d2a64d56-0617-4363-dc2d-0123456789ab";

fn record(mac: &str) -> Record {
    let machine = Machine::heard(mac.parse().unwrap(), Some(UUID.parse().unwrap()), None);
    Record::new(machine, Moment(1000))
}

fn after(record: &Record, order: Order) -> Record {
    record.after(&Event::Ordered(order), MOST, Moment(2000)).unwrap()
}

fn book(records: &[Record]) -> Book {
    let mut book = Book::default();
    records.iter().for_each(|record| book.put(record.clone()).unwrap());
    book
}

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

fn reason(text: &str) -> Reason {
    text.parse().unwrap()
}

#[test]
fn requests_and_replies_come_back_as_they_went() {
    let machine = subject(MAC);
    let requests = [
        (Request::Machines, "\"machines\""),
        (Request::Machine { machine }, "{\"machine\":{\"machine\":\"52:54:00:00:00:01\"}}"),
        (Request::Reinstall { machine }, "{\"reinstall\":{\"machine\":\"52:54:00:00:00:01\"}}"),
        (Request::Release { machine }, "{\"release\":{\"machine\":\"52:54:00:00:00:01\"}}"),
        (
            Request::Forget { machine: subject(UUID) },
            "{\"forget\":{\"machine\":\"564da6d2-1706-6343-dc2d-0123456789ab\"}}",
        ),
        (
            Request::Hold { machine, reason: reason("fan, \"loud\"") },
            "{\"hold\":{\"machine\":\"52:54:00:00:00:01\",\"reason\":\"fan, \\\"loud\\\"\"}}",
        ),
    ];
    for (request, body) in requests {
        let line = request.line().unwrap();
        let text = format!("{{\"version\":1,\"body\":{body}}}\n");
        assert_eq!(String::from_utf8_lossy(&line), text);
        assert_eq!(Request::read(&line), Ok(request));
    }
    let held = after(&record(MAC), Order::Hold("x".to_owned()));
    let sheet = Sheet::of(&held, Choice::Later, MOST).with_history(&held);
    for reply in [
        Reply::End,
        Reply::Machine(Box::new(sheet)),
        Reply::Refused(Refusal::Several(UUID.parse().unwrap(), vec![MAC.parse().unwrap()])),
        Reply::Refused(Refusal::NotPermitted { uid: 1 }),
        Reply::Refused(Refusal::Unknown(machine)),
    ] {
        assert_eq!(Reply::read(&reply.line().unwrap()), Ok(reply));
    }
}

#[test]
fn what_is_no_request_is_refused_with_the_reason() {
    for (line, said) in [
        ("", "EOF while parsing"),
        ("machines", "expected value"),
        ("{\"version\":1}", "missing field `body`"),
        ("{\"version\":1,\"body\":\"machines\",\"more\":1}", "unknown field `more`"),
        ("{\"version\":1,\"body\":\"machins\"}", "unknown variant `machins`"),
        ("{\"version\":1,\"body\":{\"machine\":{\"machine\":\"x\"}}}", "is neither a hardware"),
        (
            "{\"version\":1,\"body\":{\"machine\":{\"machine\":\"525400000001\",\"wipe\":1}}}",
            "unknown field `wipe`",
        ),
        (
            "{\"version\":1,\"body\":{\"hold\":{\"machine\":\"525400000001\",\"reason\":\" \"}}}",
            "is no reason; write one line of at most 200",
        ),
        (
            "{\"version\":1,\"body\":{\"hold\":{\"machine\":\"525400000001\",\"reason\":\"\\u001b\"}}}",
            "is no reason",
        ),
        ("{\"version\":1,\"body\":\"machines\"} x", "trailing characters"),
    ] {
        let Err(Refusal::Unreadable(why)) = Request::read(line.as_bytes()) else {
            panic!("{line}: {:?}", Request::read(line.as_bytes()))
        };
        assert!(why.contains(said), "{line}: {why}");
    }
    let other = Request::read(b"{\"version\":2,\"body\":{\"explode\":[]},\"more\":1}");
    assert_eq!(other, Err(Refusal::OtherVersion { ours: 1, theirs: 2 }));
}

#[test]
fn hostile_lines_never_panic() {
    let seeds = [
        Request::Hold { machine: subject(MAC), reason: reason("x") }.line().unwrap(),
        Request::Machine { machine: subject(UUID) }.line().unwrap(),
        Reply::Machine(Box::new(Sheet::of(&record(MAC), Choice::Nothing, MOST))).line().unwrap(),
    ];
    let book = book(&[record(MAC)]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    let mut understood = 0;
    for round in 0..30_000 {
        let mut line = match seeds.get(random() % 4) {
            Some(seed) => seed.clone(),
            None => (0..random() % 200).map(|_| random().to_le_bytes()[0]).collect(),
        };
        for _ in 0..round % 4 {
            if line.is_empty() {
                break;
            }
            let at = random() % line.len();
            match random() % 3 {
                0 => line[at] = random().to_le_bytes()[0],
                1 => drop(line.drain(at..(at + random() % 9).min(line.len()))),
                _ => line.truncate(at),
            }
        }
        understood += usize::from(Reply::read(&line).is_ok());
        if let Ok(request) = Request::read(&line) {
            understood += 1;
            let _ =
                request.step(&book, &SharedUuids::default()).map_err(|refusal| refusal.to_string());
        }
    }
    assert!(understood > 1000, "{understood}: too wild to prove anything");
    let deep = [b"{\"version\":".repeat(20_000), b"[".repeat(20_000)].concat();
    assert!(matches!(Request::read(&deep), Err(Refusal::Unreadable(_))));
}

#[test]
fn each_request_comes_to_one_step_or_is_refused() {
    let mac = MAC.parse().unwrap();
    let stranger = subject("52:54:00:00:00:99");
    let held = book(&[after(&record(MAC), Order::Hold("x".to_owned()))]);
    let fresh = book(&[record(MAC)]);
    for machine in [subject(MAC), subject(UUID), subject(SWAPPED)] {
        for (request, step) in [
            (Request::Machine { machine }, Step::Show(mac)),
            (Request::Forget { machine }, Step::Forget(mac)),
            (Request::Reinstall { machine }, Step::Order(mac, Order::Reinstall)),
            (Request::Release { machine }, Step::Order(mac, Order::Release)),
            (
                Request::Hold { machine, reason: reason("y") },
                Step::Order(mac, Order::Hold("y".to_owned())),
            ),
        ] {
            assert_eq!(request.step(&held, &SharedUuids::default()), Ok(step), "{request:?}");
        }
        // The record itself refuses what is not held.
        let release = Request::Release { machine };
        assert_eq!(
            release.step(&fresh, &SharedUuids::default()),
            Ok(Step::Order(mac, Order::Release))
        );
    }
    let unknown = Err(Refusal::Unknown(stranger));
    assert_eq!(
        Request::Machine { machine: stranger }.step(&held, &SharedUuids::default()),
        unknown
    );
    assert_eq!(Request::Forget { machine: stranger }.step(&held, &SharedUuids::default()), unknown);
    assert_eq!(
        Request::Release { machine: stranger }.step(&held, &SharedUuids::default()),
        unknown
    );
    let new_anyway = Err(Refusal::NewAnyway(stranger));
    assert_eq!(
        Request::Reinstall { machine: stranger }.step(&held, &SharedUuids::default()),
        new_anyway
    );
    let hold = |machine| Request::Hold { machine, reason: reason("y") };
    let before_it_boots =
        Step::Order("52:54:00:00:00:99".parse().unwrap(), Order::Hold("y".to_owned()));
    assert_eq!(hold(stranger).step(&held, &SharedUuids::default()), Ok(before_it_boots));
    let nobody = subject("11223344-5566-7788-99aa-010203040506");
    assert_eq!(hold(nobody).step(&held, &SharedUuids::default()), Err(Refusal::Unknown(nobody)));
    assert_eq!(Request::Machines.step(&held, &SharedUuids::default()), Ok(Step::List));
}

#[test]
fn a_uuid_that_several_have_names_none() {
    let book = book(&[record("52:54:00:00:00:02"), record(MAC)]);
    let refusal = Request::Forget { machine: subject(SWAPPED) }
        .step(&book, &SharedUuids::default())
        .unwrap_err();
    assert_eq!(
        refusal.to_string(),
        format!(
            "several machines have the UUID {SWAPPED}; name one of 52:54:00:00:00:01, 52:54:00:00:00:02"
        )
    );
}

#[test]
fn a_uuid_that_board_makers_leave_in_many_names_none_even_where_one_has_it() {
    let shared = "03000200-0400-0500-0006-000700080009";
    let machine = Machine::heard(MAC.parse().unwrap(), shared.parse().ok(), None);
    let book = book(&[Record::new(machine, Moment(1000))]);
    let machine = subject(shared);
    for request in [
        Request::Forget { machine },
        Request::Hold { machine, reason: reason("x") },
        Request::Reinstall { machine },
        Request::Release { machine },
    ] {
        let refusal = request.step(&book, &SharedUuids::default()).unwrap_err();
        assert_eq!(refusal, Refusal::Shared(shared.parse().unwrap()));
    }
}

#[test]
fn a_sheet_tells_what_the_next_boot_comes_to() {
    let fresh = record(MAC);
    let held = after(&fresh, Order::Hold("fan".to_owned()));
    let group = |decision| Choice::Group("g".to_owned(), "p".to_owned(), decision);
    let hold = || NextBoot::Hold("fan".to_owned());
    let disk = || NextBoot::Disk("held by the operator: fan".to_owned());
    for (record, choice, next) in [
        (&fresh, group(Decision::Install), NextBoot::Install),
        (&fresh, group(Decision::Boot), NextBoot::Boot),
        (&fresh, Choice::Later, NextBoot::Undecided),
        (&fresh, Choice::Nothing, NextBoot::Nothing),
        (&held, group(Decision::Hold("fan".to_owned())), hold()),
        (&held, Choice::Later, disk()),
        (&held, Choice::Nothing, NextBoot::Nothing),
    ] {
        assert_eq!(Sheet::of(record, choice.clone(), MOST).next_boot, next, "{choice:?}");
    }
}

#[test]
fn a_sheet_keeps_the_token_to_itself() {
    let token = Token::new([7; 16]);
    let pass = Pass { token, made: Moment(1000) };
    let scripted =
        Event::Scripted { group: "g".to_owned(), profile: "p".to_owned(), token: Some(pass) };
    let record = record(MAC).after(&scripted, MOST, Moment(1001)).unwrap();
    let sheet = Sheet::of(&record, Choice::Nothing, MOST).with_history(&record);
    let line = String::from_utf8(Reply::Machine(Box::new(sheet)).line().unwrap()).unwrap();
    assert!(line.contains("\"installing\"") && !line.contains(&token.to_string()), "{line}");
}

#[test]
fn every_field_and_state_is_documented() {
    let manual = include_str!("../../docs/ledger.md");
    let token = None;
    let scripted = Event::Scripted { group: "g".to_owned(), profile: "p".to_owned(), token };
    let report = |report| Event::Reported(report);
    let fresh = record(MAC);
    let going = fresh.after(&scripted, MOST, Moment(1001)).unwrap();
    let failed = report(Report::Failed("x".to_owned()));
    let failed = going.after(&failed, MOST, Moment(1002)).unwrap();
    let installed = going.after(&report(Report::Installed), MOST, Moment(1002)).unwrap();
    let held = after(&installed, Order::Hold("x".to_owned()));
    for record in [&fresh, &going, &failed, &installed, &held] {
        let sheet = Sheet::of(record, Choice::Nothing, MOST).with_history(record);
        let sheet = serde_json::to_value(sheet).unwrap();
        let mut names: Vec<&str> = sheet.as_object().unwrap().keys().map(String::as_str).collect();
        names.extend(sheet["state"].as_str());
        for (state, fields) in sheet["state"].as_object().into_iter().flatten() {
            names.push(state);
            names.extend(fields.as_object().unwrap().keys().map(String::as_str));
        }
        for name in names {
            assert!(manual.contains(&format!("`{name}`")), "{name} is not in docs/ledger.md");
        }
    }
}
