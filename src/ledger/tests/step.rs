//! A clock that is set while machines boot. Everything is tried with a jump each way.

use super::*;

const START: u64 = 2_000_000_000;
const JUMPS: [i64; 4] = [1_000_000_000, 86_400 * 2, -86_400 * 2, -1_900_000_000];

/// A record after the clock was set a second after `START + at`.
fn set(record: Record, at: u64, by: i64) -> (Book, u64) {
    let mut book = Book::default();
    book.put(record).unwrap();
    book.take(Step { first: Moment(START), last: Moment(START + at + 1), by });
    (book, START.saturating_add_signed(by))
}

fn powered_on(record: &Record, at: u64) -> Record {
    record.after(&Event::PoweredOn, MOST, Moment(at)).unwrap()
}

#[test]
fn durations_stay_what_they_were_where_the_clock_is_set() {
    let mac = machine("52:54:00:00:00:01", None).mac;
    let token = Token::new([7; 16]);
    for by in JUMPS {
        let mut record = Record::new(machine("52:54:00:00:00:01", None), Moment(START));
        record.token = Some(Pass { token, made: Moment(START + 5) });
        record = powered_on(&record, START + 5);
        let (book, start) = set(record, 10, by);
        let record = book.get(mac).unwrap();
        let day = 24 * 3600;
        for (seconds, good) in [(11, true), (day + 4, true), (day + 5, false)] {
            let holder = book.by_token(token, Moment(start + seconds));
            assert_eq!(holder.is_some(), good, "{by} {seconds}");
        }
        for (seconds, news) in [(49, false), (50, true)] {
            let now = Moment(start + seconds);
            assert_eq!(record.is_power_on_news(MOST, Means::Pxe, now), news, "{by} {seconds}");
        }
    }
}

#[test]
fn a_return_is_counted_once_where_the_clock_is_set() {
    for by in JUMPS {
        let story = Story::new().installs();
        let mut record = story.then(&Event::Reported(Report::Installed)).record;
        let State::Installed(installed) = &mut record.state else { panic!() };
        installed.at = Moment(START + 1);
        let record = powered_on(&record, START + 5);
        let (book, start) = set(record, 10, by);
        let record = book.records().next().unwrap();
        let returns = |record: &Record| {
            let State::Installed(installed) = &record.state else { panic!("{:?}", record.state) };
            installed.returns
        };
        assert_eq!(returns(&powered_on(record, start + 40)), 0, "{by}: the same power-on");
        let back = powered_on(record, start + 200);
        assert_eq!(returns(&back), 1, "{by}");
        assert_eq!(returns(&powered_on(&back, start + 210)), 1, "{by}");
        assert_eq!(returns(&powered_on(record, start + 400)), 0, "{by}: it ran from its disk");
    }
}

#[test]
fn strangers_are_kept_as_long_where_the_clock_is_set() {
    for by in JUMPS {
        let mut book = Book::default();
        let told = Some("564da6d2-1706-6343-dc2d-0123456789ab");
        book.pass_by(machine("52:54:00:00:00:01", told), Moment(START + 5));
        book.take(Step { first: Moment(START), last: Moment(START + 10), by });
        let start = START.saturating_add_signed(by);
        for (seconds, is_kept) in [(604, true), (605, false)] {
            book.forget_strangers(Moment(start + seconds - 600));
            let recalled = book.recall(&machine("52:54:00:00:00:01", None));
            assert_eq!(recalled.uuid.is_some(), is_kept, "{by} {seconds}");
        }
    }
}

#[test]
fn what_an_earlier_start_wrote_stays_and_what_is_yet_to_come_is_now() {
    let mut record = Record::new(machine("52:54:00:00:00:01", None), Moment(START - 1));
    record = powered_on(&record, START + 1_000_000);
    let taken = record.clone().taken_up(Moment(START));
    assert!(!taken.is_power_on_news(MOST, Means::Pxe, Moment(START + 44)));
    assert!(taken.is_power_on_news(MOST, Means::Pxe, Moment(START + 45)));
    let (book, _) = set(record.clone(), 10, 1_000_000_000);
    assert_eq!(book.records().next(), Some(&record));
}
