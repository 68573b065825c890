//! What a machine fetches and reports, as the ledger is told of it.
//!
//! The last byte of an image leaves only when it is on disk that it does: whatever kills this
//! process, a machine that has the whole image is one that may be installed. Where it is not known
//! whose that image is, it is any machine's that installs its release.

use std::{future::poll_fn, net::Ipv4Addr, pin::Pin};

use hyper::{
    Request,
    body::{Body as _, Incoming},
};
use tokio::time::timeout;

use super::{
    super::{
        goal::UNIFIED,
        ledger::{Ledger, NoteError, PATIENCE, late, now},
        scripts::ipv4,
    },
    Arrival, Service,
};
use crate::{
    catalog::{Catalog, Source},
    firmware::comes_back,
    http::event::{EventError, LONGEST_BODY, Told},
    ledger::{Attempt, Book, Event, Piece, Record, Report, State, Stray},
    machine::Mac,
    path::{RepositoryPath, UrlPath},
    token::Token,
};

/// The shortest rest of an image that an unknown client may complete it by, in bytes.
const LEAST_REST: u64 = 1 << 20;

/// What a file that is sent means for the installation that goes on at its other end.
#[derive(Clone)]
pub(in crate::serve) struct Evidence {
    ledger: Ledger,
    whose: Whose,
    piece: Piece,
    is_whole: bool,
    to: Ipv4Addr,
    is_verified: bool,
}

/// The machine that a text is for, and the address that it goes to.
pub(super) struct TextFor {
    pub(super) address: Ipv4Addr,
    /// The machine that it was made for, where that is known.
    pub(super) mac: Option<Mac>,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
enum Whose {
    /// This machine.
    Known(Mac),
    /// Nobody we know to be installing; only an image is of interest then.
    Stray(Stray),
}

impl Evidence {
    /// That of these bytes of a file; `None` where they mean nothing.
    pub(super) fn of(
        ledger: &Ledger,
        who: (Ipv4Addr, Option<Token>),
        (path, catalog): (&RepositoryPath, &Catalog),
        (start, len): (u64, u64),
        whole: u64,
    ) -> Option<Self> {
        if !ledger.remembers() {
            return None;
        }
        let is_whole = len == whole;
        // Of a part, the end may be all that the machine still needs.
        let ends = (len > 0 || is_whole) && start + len == whole;
        let (whose, piece) = ledger.with(|book| match installing(book, who, (path, catalog)) {
            Some((mac, piece)) => Some((Whose::Known(mac), piece)),
            None if !may_complete(len, whole) => None,
            None => {
                let stray = Stray::of(who.0, &UrlPath::from(path), catalog, book)?;
                Some((Whose::Stray(stray), Piece::Image))
            }
        })?;
        let piece = match piece {
            Piece::Boot => piece,
            Piece::Last if !ends => Piece::Boot,
            Piece::Image | Piece::Last => Some(piece).filter(|_| ends)?,
            Piece::Signature => Some(piece).filter(|_| is_whole)?,
        };
        let (ledger, to) = (ledger.clone(), who.0);
        Some(Self { ledger, whose, piece, is_whole, to, is_verified: false })
    }

    /// The same of a file whose signature is good, by a key of the keyring.
    pub(super) fn verified(self, is_verified: bool) -> Self {
        Self { is_verified, ..self }
    }

    /// That of a text, where it is the last that an installer is known to fetch.
    pub(super) fn of_text(
        ledger: &Ledger,
        text: &TextFor,
        (path, catalog): (&UrlPath, &Catalog),
    ) -> Option<Self> {
        if !ledger.remembers() {
            return None;
        }
        let whose = ledger.with(|book| {
            let own = text.mac.and_then(|mac| book.get(mac)).or_else(|| book.at(text.address));
            match own.filter(|record| record.meaning(path) == Piece::Last) {
                Some(record) => {
                    awaits(record, text.address).then_some(Whose::Known(record.machine.mac))
                }
                None if own.is_some_and(|record| record.state.attempt().is_some()) => None,
                None => Stray::of(text.address, path, catalog, book).map(Whose::Stray),
            }
        })?;
        let (ledger, to, piece) = (ledger.clone(), text.address, Piece::Last);
        Some(Self { ledger, whose, piece, is_whole: true, to, is_verified: false })
    }

    /// That of a file that is sent by TFTP, where it is the last that an installer is known to fetch.
    pub(in crate::serve) fn before_tftp(
        ledger: &Ledger,
        address: Ipv4Addr,
        what: (&RepositoryPath, &Catalog),
    ) -> Option<Self> {
        let (whose, piece) = ledger.with(|book| last_by_tftp(book, address, what))?;
        let (ledger, to) = (ledger.clone(), address);
        Some(Self { ledger, whose, piece, is_whole: true, to, is_verified: false })
    }

    /// Writes down that a kernel or an initrd was sent to its end by TFTP.
    pub(in crate::serve) fn by_tftp(
        ledger: &Ledger,
        address: Ipv4Addr,
        (path, catalog): (&RepositoryPath, &Catalog),
    ) {
        let whose = ledger.with(|book| installing(book, (address, None), (path, catalog)));
        if let Some((mac, Piece::Boot)) = whose {
            ledger.note_surely(mac, Event::Fetched(Piece::Boot));
        }
    }

    /// That of what boots this machine, all in one, where it installs and has fetched nothing yet.
    pub(super) fn of_boot(ledger: &Ledger, mac: Mac, to: Ipv4Addr) -> Option<Self> {
        let piece = ledger.with(|book| {
            let attempt = book.get(mac)?.state.attempt()?;
            let is_last = attempt.goal.as_ref().is_some_and(|goal| goal.files.contains(UNIFIED));
            match is_last {
                true => Some(Piece::Last),
                false => (!attempt.is_under_way).then_some(Piece::Boot),
            }
        })?;
        let (ledger, whose) = (ledger.clone(), Whose::Known(mac));
        Some(Self { ledger, whose, piece, is_whole: true, to, is_verified: false })
    }

    /// Whether the ledger must know before the machine has it.
    pub(super) fn needs_a_word_first(&self) -> bool {
        matches!(self.piece, Piece::Image | Piece::Last)
    }

    /// Writes down that the last byte is about to leave.
    pub(in crate::serve) async fn last_byte(&self) -> Result<(), String> {
        let (macs, events) = match &self.whose {
            Whose::Known(mac) => {
                let last = match self.piece {
                    Piece::Last => Event::Last,
                    Piece::Boot | Piece::Image | Piece::Signature => Event::LastByte,
                };
                (vec![*mac], vec![last, Event::SentTo(self.to)])
            }
            Whose::Stray(stray) => {
                (self.ledger.with(|book| stray.may_be(book)), vec![Event::Stray(stray.to)])
            }
        };
        // Who is forgotten meanwhile counts as new, as the operator was told.
        let noted = timeout(PATIENCE, self.ledger.note_each(macs, &events)).await;
        noted.unwrap_or_else(late).map_err(|error| error.to_string())
    }

    /// Writes down that all of it was sent.
    pub(super) fn is_complete(&self) {
        // Of an image that came in parts, only its last byte is known of.
        if let Whose::Known(mac) = self.whose
            && (self.is_whole || self.piece == Piece::Boot)
        {
            if self.is_verified && self.piece == Piece::Image {
                self.ledger.note_surely(mac, Event::Verified);
            }
            self.ledger.note_surely(mac, Event::Fetched(self.piece));
        }
    }
}

/// Whether who asks for so many last bytes may be about to have the whole image: an installer that
/// goes on where its line broke, not one who asks for a byte to cast a doubt.
fn may_complete(len: u64, whole: u64) -> bool {
    len >= (whole / 16).min(LEAST_REST)
}

/// The machine that the token was made for, else the one at this address, while it installs and the
/// file is news. By its token it is known where it fetches from an address that nobody heard of.
fn installing(
    book: &Book,
    (address, token): (Ipv4Addr, Option<Token>),
    (path, catalog): (&RepositoryPath, &Catalog),
) -> Option<(Mac, Piece)> {
    let holder = token.and_then(|token| book.by_token(token, now()));
    let record = holder.or_else(|| book.at(address))?;
    let piece = record.meaning(&UrlPath::from(path));
    let is_news = match (&record.state, record.state.attempt(), piece) {
        (_, _, Piece::Last) => awaits(record, address),
        (_, Some(attempt), Piece::Boot) => {
            !attempt.is_under_way && takes_up(attempt, path, catalog)
        }
        (_, Some(_), Piece::Image | Piece::Signature) => true,
        // Its script gave up, and goes on nevertheless.
        (State::Failed { .. }, None, piece) => piece == Piece::Image,
        (_, None, _) => false,
    };
    is_news.then_some((record.machine.mac, piece))
}

/// The installation that a file may complete which is sent by TFTP to this address.
fn last_by_tftp(
    book: &Book,
    address: Ipv4Addr,
    (path, catalog): (&RepositoryPath, &Catalog),
) -> Option<(Whose, Piece)> {
    match installing(book, (address, None), (path, catalog)) {
        Some((mac, piece @ (Piece::Image | Piece::Last))) => Some((Whose::Known(mac), piece)),
        Some((_, Piece::Boot | Piece::Signature)) => None,
        None => {
            let stray = Stray::of(address, &UrlPath::from(path), catalog, book)?;
            Some((Whose::Stray(stray), Piece::Last))
        }
    }
}

/// Whether it is news that the last of what a machine fetches goes to this address.
fn awaits(record: &Record, address: Ipv4Addr) -> bool {
    match (&record.state, record.state.attempt()) {
        (_, Some(attempt)) => !attempt.has_last || attempt.sent_to.and(address) != attempt.sent_to,
        (state, None) => matches!(state, State::Failed { .. }),
    }
}

/// Whether who fetches this does what its script says: it is the kernel or a RAM disk of what is
/// installed or, where the kernel is elsewhere, anything but a boot program. That it fetches before it
/// is given a script, and a machine that is reset there has tried nothing.
fn takes_up(attempt: &Attempt, path: &RepositoryPath, catalog: &Catalog) -> bool {
    let mut profiles = catalog.profiles().iter();
    profiles.any(|profile| {
        profile.name == attempt.profile
            && (profile.boots_with(path)
                || matches!(profile.kernel, Source::Url(_)) && !comes_back(&path.to_string()))
    })
}

/// Takes a report; answers only when it is on disk.
pub(super) async fn report(
    service: &Service,
    arrival: Arrival,
    told: Told,
    request: &mut Request<Incoming>,
) -> Result<String, EventError> {
    pass_over(request.body_mut()).await?;
    let address = ipv4(arrival.peer);
    if service.ledger.with(|book| is_said_again(book, address, &told)) {
        return Ok("ok\n".to_owned());
    }
    let (mac, is_own) = service.ledger.with(|book| {
        let mac = whose(book, address, &told)?;
        let is_own = |record: &Record| record.is_own_word(address, told.token, now());
        Ok((mac, book.get(mac).is_some_and(is_own)))
    })?;
    let event = match told.report {
        Report::Failed(reason) if !is_own => Event::Alleged(reason),
        report
        @ (Report::Failed(_) | Report::Installed | Report::Progress(_) | Report::Started) => {
            Event::Reported(report)
        }
    };
    let noted = timeout(PATIENCE, service.ledger.note(mac, event)).await;
    match noted.unwrap_or_else(late) {
        Ok(_) => Ok("ok\n".to_owned()),
        Err(NoteError::Refused(refusal)) => Err(EventError::Refused(refusal.to_string())),
        Err(NoteError::Unknown(_)) => Err(EventError::Unknown),
        Err(error) => Err(EventError::NotNoted(error.to_string())),
    }
}

/// Whether a GET says what is known: the token has expired with the installation that it was made
/// for. It changes nothing, as a proxy may repeat it at any time.
fn is_said_again(book: &Book, address: Ipv4Addr, told: &Told) -> bool {
    let is_expired = told.token.is_none_or(|token| book.by_token(token, now()).is_none());
    let is_installed = |record: &Record| matches!(record.state, State::Installed(_));
    told.is_get
        && is_expired
        && told.report == Report::Installed
        && book.at(address).is_some_and(is_installed)
}

/// Who reports: the machine that the token was made for. Once it is installed its token has expired,
/// and a report that is said again, for want of an answer, is still its: then, and without a token, it
/// is the machine at the address; where none is known there, the one that is named, but for a failure.
fn whose(book: &Book, address: Ipv4Addr, told: &Told) -> Result<Mac, EventError> {
    let holder = told.token.and_then(|token| book.by_token(token, now()));
    if told.is_get && holder.is_none() {
        return Err(EventError::Token);
    }
    let here = holder.or_else(|| book.at(address)).map(|record| record.machine.mac);
    match (here, told.mac) {
        (Some(here), Some(named)) if here != named => {
            Err(EventError::Contradiction { here, named })
        }
        (Some(here), _) => Ok(here),
        // Anyone can say so from an address that nobody has, and it would be installed again.
        (None, Some(_)) if matches!(told.report, Report::Failed(_)) => Err(EventError::Stranger),
        (None, Some(named)) if book.get(named).is_some() => Ok(named),
        (None, _) => Err(EventError::Unknown),
    }
}

async fn pass_over(body: &mut Incoming) -> Result<(), EventError> {
    collect(body, LONGEST_BODY).await.map(drop).ok_or(EventError::Body)
}

/// The body, where it comes whole and is not longer than this.
pub(super) async fn collect(body: &mut Incoming, longest: u64) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    // The wire has a clock for a body that does not come.
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let data = frame.ok()?.into_data().ok()?;
        if read.len() as u64 + data.len() as u64 > longest {
            return None;
        }
        read.extend_from_slice(&data);
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        ledger::{Goal, Moment, Pass},
        machine::Machine,
    };

    const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 8);

    /// A book with one machine that installs, its address and its token.
    fn book() -> (Book, Mac, Token) {
        let mac: Mac = "52:54:00:00:00:01".parse().unwrap();
        let token = Token::new([7; 16]);
        let written = Some(Pass { token, made: now() });
        let (group, profile) = ("g".to_owned(), "p".to_owned());
        let scripted = Event::Scripted { group, profile, token: written };
        let fresh = Record::new(Machine::heard(mac, None, None), Moment(1));
        let record = [Event::Address(HERE), scripted]
            .iter()
            .fold(fresh, |record, event| record.after(event, 3, now()).unwrap());
        let mut book = Book::default();
        book.put(record).unwrap();
        (book, mac, token)
    }

    #[test]
    fn what_tftp_sends_counts_for_its_machine_or_casts_a_doubt() {
        let (mut book, mac, _) = book();
        let goal = Goal {
            files: ["/ks.cfg".to_owned()].into(),
            images: ["/r.raw.gz".to_owned()].into(),
            ..Goal::default()
        };
        book.put(book.get(mac).unwrap().after(&Event::Aims(goal), 3, now()).unwrap()).unwrap();
        let catalog = Catalog::default();
        for (address, file, piece, is_stray) in [
            (HERE, "ks.cfg", Some(Piece::Last), false),
            (HERE, "r.raw.gz", Some(Piece::Image), false),
            (HERE, "other", None, false),
            (ELSEWHERE, "ks.cfg", Some(Piece::Last), true),
            (ELSEWHERE, "r.raw.gz", Some(Piece::Last), true),
            (ELSEWHERE, "undionly.kpxe", None, false),
        ] {
            let path = RepositoryPath::parse(file.as_bytes()).unwrap();
            let found = last_by_tftp(&book, address, (&path, &catalog));
            let found = found.map(|(whose, piece)| (matches!(whose, Whose::Stray(_)), piece));
            assert_eq!(found, piece.map(|piece| (is_stray, piece)), "{address} {file}");
        }
    }

    #[test]
    fn a_failure_is_believed_of_the_machine_alone() {
        let (book, mac, token) = book();
        let told = |report, token| Told { report, mac: Some(mac), token, is_get: false };
        let failed = || Report::Failed("x".to_owned());
        for (address, told, said) in [
            (HERE, told(failed(), None), Ok(mac)),
            (ELSEWHERE, told(failed(), Some(token)), Ok(mac)),
            (ELSEWHERE, told(failed(), None), Err(EventError::Stranger)),
            (ELSEWHERE, told(failed(), Some(Token::new([8; 16]))), Err(EventError::Stranger)),
            (ELSEWHERE, told(Report::Installed, None), Ok(mac)),
        ] {
            assert_eq!(whose(&book, address, &told), said, "{address} {told:?}");
        }
    }

    #[test]
    fn a_report_by_get_is_its_tokens_alone_and_changes_nothing_when_repeated() {
        let (mut book, mac, token) = book();
        let told = |report, token| Told { report, mac: None, token: Some(token), is_get: true };
        let failed = Report::Failed("x".to_owned());
        assert_eq!(whose(&book, ELSEWHERE, &told(failed.clone(), token)), Ok(mac));
        for report in [failed.clone(), Report::Installed] {
            let stale = told(report, Token::new([8; 16]));
            assert!(!is_said_again(&book, HERE, &stale));
            assert_eq!(whose(&book, HERE, &stale), Err(EventError::Token));
        }
        let event = Event::Reported(Report::Installed);
        book.put(book.get(mac).unwrap().after(&event, 3, now()).unwrap()).unwrap();
        assert!(is_said_again(&book, HERE, &told(Report::Installed, token)));
        assert!(!is_said_again(&book, ELSEWHERE, &told(Report::Installed, token)));
        assert!(!is_said_again(&book, HERE, &told(failed.clone(), token)));
        assert_eq!(whose(&book, HERE, &told(failed, token)), Err(EventError::Token));
    }

    #[test]
    fn a_byte_of_an_image_casts_no_doubt_on_anybody() {
        let whole = 400 << 20;
        assert!(!may_complete(1, whole) && !may_complete(LEAST_REST - 1, whole));
        assert!(may_complete(LEAST_REST, whole) && may_complete(whole, whole));
        assert!(may_complete(64, 1024) && !may_complete(1, 1024));
    }

    #[test]
    fn who_fetches_is_known_by_token_wherever_it_is() {
        let (book, mac, token) = book();
        let path = RepositoryPath::parse(b"/coreos_production_image.bin.bz2").unwrap();
        let none = Catalog::default();
        let who = |address, token| installing(&book, (address, token), (&path, &none));
        assert_eq!(who(HERE, None), Some((mac, Piece::Image)));
        assert_eq!(who(ELSEWHERE, Some(token)), Some((mac, Piece::Image)));
        assert_eq!(who(ELSEWHERE, None), None);
        assert_eq!(who(ELSEWHERE, Some(Token::new([8; 16]))), None);
    }

    #[test]
    fn an_attempt_is_taken_up_by_what_its_script_names_and_not_by_a_boot_program() {
        let (book, mac, _) = book();
        let text = |kernel: &str| {
            format!(
                "[[profile]]\nname = \"p\"\nkernel = \"{kernel}\"\ninitrd = [\"/i\"]\ninstall = \"once\"\n\
                 [[profile]]\nname = \"other\"\nkernel = \"/other\"\n\
                 [[group]]\nname = \"g\"\nprofile = \"p\"\n\
                 [[group]]\nname = \"h\"\nprofile = \"other\"\nselector.serial = \"7\"\n"
            )
        };
        for (kernel, path, is_taken_up) in [
            ("/k", "/k", true),
            ("/k", "/i", true),
            ("/k", "/snponly.efi", false),
            ("/k", "/other", false),
            ("/k", "/notes.txt", false),
            ("http://192.0.2.9/k", "/i", true),
            ("http://192.0.2.9/k", "/notes.txt", true),
            ("http://192.0.2.9/k", "/x86_64/snponly.efi", false),
        ] {
            let config = Config::parse(&text(kernel), "test").unwrap();
            let file = RepositoryPath::parse(path.as_bytes()).unwrap();
            let who = installing(&book, (HERE, None), (&file, &config.catalog));
            assert_eq!(who, is_taken_up.then_some((mac, Piece::Boot)), "{kernel} {path}");
        }
    }
}
