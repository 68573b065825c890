//! The ends of half-known attempts, and the reports that may take one back. One row is one branch.

use super::*;

const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

/// The goal of a kickstart of ours.
fn document() -> Goal {
    Goal { files: ["/ks.cfg".to_owned()].into(), ..Goal::default() }
}

/// The goal of an image of this name.
fn image() -> Goal {
    Goal { images: ["/rhcos.raw.gz".to_owned()].into(), ..Goal::default() }
}

fn script() -> Goal {
    Goal { is_script: true, ..Goal::default() }
}

fn path(text: &str) -> UrlPath {
    UrlPath::parse(text.as_bytes()).unwrap()
}

/// The next boot of a machine that comes back.
#[derive(Debug, Eq, PartialEq)]
enum Then {
    Disk,
    Hold,
    Install,
}

fn then(story: &Story) -> Then {
    match story.decision() {
        Decision::Disk(_) => Then::Disk,
        Decision::Hold(_) => Then::Hold,
        Decision::Install => Then::Install,
        Decision::Boot => panic!("{:?}", story.record.state),
    }
}

#[test]
fn a_machine_that_comes_back_is_installed_again_only_where_it_surely_did_not_come_so_far() {
    let boot = || Event::Fetched(Piece::Boot);
    let last = || vec![boot(), Event::Last, Event::SentTo(HERE)];
    let image_sent = |verified: bool| {
        let sent = [boot(), Event::Fetched(Piece::Signature), Event::LastByte, Event::SentTo(HERE)];
        let proven = verified.then_some(Event::Verified);
        let whole = Event::Fetched(Piece::Image);
        sent.into_iter().chain(proven).chain([whole]).collect::<Vec<_>>()
    };
    let stray = || vec![boot(), Event::Stray(ELSEWHERE)];
    struct Row {
        what: &'static str,
        goal: Goal,
        fetched: Vec<Event>,
        asks_again: Then,
        powers_on: Then,
        proof: Option<Proof>,
    }
    let row = |what, goal, fetched, asks_again, powers_on, proof| Row {
        what,
        goal,
        fetched,
        asks_again,
        powers_on,
        proof,
    };
    use Then::{Disk, Hold, Install};
    let presumed = Some(Proof::Presumed);
    for row in [
        row("the script was read", document(), vec![], Install, Install, None),
        row("kernel, and no document", document(), vec![boot()], Install, Install, None),
        row("the document", document(), last(), Disk, Disk, presumed),
        row("another one's document", document(), stray(), Hold, Hold, None),
        row("kernel, and no image", image(), vec![boot()], Install, Install, None),
        row("a part of the image", image(), vec![boot()], Install, Install, None),
        row("the last byte", image(), vec![boot(), Event::LastByte], Disk, Disk, presumed),
        row("the image, unverified", image(), image_sent(false), Disk, Disk, presumed),
        row("the image, verified", image(), image_sent(true), Disk, Disk, Some(Proof::Fetched)),
        row("nothing of it is here", script(), vec![], Disk, Disk, presumed),
    ] {
        let story = Story::new().then(&Event::PoweredOn).given(row.goal);
        let story = row.fetched.iter().fold(story, Story::then);
        assert_eq!(then(&story), row.asks_again, "{}: it asks again", row.what);
        let story = story.wait(100).then(&Event::PoweredOn);
        assert_eq!(then(&story), row.powers_on, "{}: it powers on", row.what);
        assert_eq!(story.proof(), row.proof, "{}", row.what);
    }
}

#[test]
fn what_a_file_means_is_said_by_what_the_script_leads_to() {
    let record = |goal| Story::new().given(goal).record;
    for (goal, name, piece) in [
        (document(), "/ks.cfg", Piece::Last),
        (document(), "/ks.cfg.sig", Piece::Boot),
        (document(), "/vmlinuz", Piece::Boot),
        (document(), "/x/coreos_production_image.bin.bz2", Piece::Image),
        (image(), "/rhcos.raw.gz", Piece::Image),
        (image(), "/rhcos.raw.gz.sig", Piece::Signature),
        (image(), "/ks.cfg", Piece::Boot),
    ] {
        assert_eq!(record(goal.clone()).meaning(&path(name)), piece, "{goal:?} {name}");
    }
}

#[test]
fn a_script_for_somebody_else_does_not_hide_what_goes_on() {
    // Somebody asks in its name, and is in another group.
    let story = Story::new().given(document()).then(&Event::Fetched(Piece::Boot));
    let story = story.given(image());
    assert_eq!(story.record.meaning(&path("/ks.cfg")), Piece::Last);
    assert_eq!(then(&story.then(&Event::Last)), Then::Disk);
    // The same after a failure that anybody may have told.
    let story = Story::new().given(document()).then(&Event::Alleged("x".to_owned()));
    assert!(matches!(story.record.state, State::Failed { .. }));
    assert_eq!(story.record.meaning(&path("/ks.cfg")), Piece::Last);
    let story = story.given(image());
    assert_eq!(story.record.meaning(&path("/ks.cfg")), Piece::Last);
    let story = Story::new().given(document()).then(&failed("x")).then(&Event::Last);
    assert_eq!(then(&story), Then::Disk, "it goes on all the same");
}

#[test]
fn a_failure_that_is_not_surely_its_own_takes_nothing_back() {
    let alleged = || Event::Alleged("BAD signature".to_owned());
    let whole = || Story::new().installs();
    let doubtful = || Story::new().boots().then(&Event::Stray(ELSEWHERE));
    let held = |story: Story| story.then(&Event::Ordered(Order::Hold("fan".to_owned())));
    use Then::{Disk, Hold, Install};
    for (what, story, own, others) in [
        ("kernel alone", Story::new().boots(), Install, Install),
        ("the document", Story::new().given(document()).then(&Event::Last), Install, Disk),
        ("the image", whole(), Install, Disk),
        ("a doubt", doubtful(), Install, Hold),
        ("held in doubt", doubtful().then(&Event::PoweredOn), Install, Hold),
        ("held by an operator, whole", held(whole()), Hold, Disk),
    ] {
        let again = Story { record: story.record.clone(), ..story };
        assert_eq!(then(&again.then(&failed("BAD signature"))), own, "{what}: its own word");
        let story = story.then(&alleged());
        assert_eq!(then(&story), others, "{what}: somebody's word");
        let story = story.wait(100).then(&Event::PoweredOn);
        assert_eq!(then(&story), others, "{what}: somebody's word, then a power-on");
    }
    let reported = Story::new().boots().then(&installed());
    assert_eq!(reported.refuses(&alleged()), Refusal::NotInstalling);
    let State::Held(held) = &whole().then(&alleged()).record.state else { panic!() };
    for words in ["BAD signature", "bootbox installed 52:54", "bootbox reinstall 52:54"] {
        assert!(held.reason.contains(words), "{}", held.reason);
    }
}

#[test]
fn a_failure_is_its_own_word_where_nobody_else_had_a_part() {
    let given = || Story::new().given(document());
    let sent = |story: Story, to| story.then(&Event::Last).then(&Event::SentTo(to));
    let asked = |story: Story| story.then(&Event::AskedBy(ELSEWHERE));
    let own = Some(Token::new([0; 16]));
    let other = Some(Token::new([1; 16]));
    for (what, story, address, token, is_own) in [
        ("from its address", sent(given(), HERE), HERE, None, true),
        ("before the last was sent", given(), HERE, None, true),
        ("from elsewhere", sent(given(), HERE), ELSEWHERE, None, false),
        ("a claimed address has it", sent(given(), ELSEWHERE), ELSEWHERE, None, false),
        ("its old address is another's", sent(given(), ELSEWHERE), HERE, None, false),
        ("two addresses have it", sent(sent(given(), HERE), ELSEWHERE), HERE, None, false),
        ("another one asked for it, too", asked(sent(given(), HERE)), HERE, None, false),
        ("its token", sent(given(), ELSEWHERE), ELSEWHERE, own, true),
        ("another token", sent(given(), HERE), ELSEWHERE, other, false),
        ("a token that another one was given", asked(given()), ELSEWHERE, own, false),
    ] {
        let found = story.record.is_own_word(address, token, Moment(1100));
        assert_eq!(found, is_own, "{what}");
    }
}

#[test]
fn a_release_never_wipes_a_disk() {
    let hold = |story: Story| story.then(&Event::Ordered(Order::Hold("fan".to_owned())));
    let release = || Event::Ordered(Order::Release);
    let again = |story: &Story| Story { record: story.record.clone(), ..*story };
    let mut spent = Story::new();
    for _ in 0..MOST {
        spent = spent.boots();
    }
    let spent = spent.then(&Event::PoweredOn);
    let mut failing = Story::new();
    for _ in 0..MOST {
        failing = failing.boots().then(&failed("x"));
    }
    let doubtful = Story::new().boots().then(&Event::Stray(ELSEWHERE)).then(&Event::PoweredOn);
    for (what, story, released) in [
        ("nothing was done to it", hold(Story::new()), Then::Disk),
        ("it booted its disk while held", hold(Story::new()).then(&Event::PoweredOn), Then::Disk),
        ("its script was read", hold(Story::new().given(document())), Then::Disk),
        ("it began", hold(Story::new().boots()), Then::Disk),
        ("it failed", hold(Story::new().boots().then(&failed("x"))), Then::Disk),
        ("it is installed", hold(Story::new().boots().then(&installed())), Then::Disk),
        ("too many attempts, and another hold", hold(again(&spent)), Then::Disk),
        ("too many attempts", spent, Then::Disk),
        ("too many failures, and another hold", hold(again(&failing)), Then::Disk),
        ("too many failures", failing, Then::Disk),
        ("a doubt", doubtful, Then::Disk),
    ] {
        let story = story.then(&release());
        assert_eq!(then(&story), released, "{what}");
        let story = story.wait(100).then(&Event::PoweredOn);
        assert_eq!(then(&story), released, "{what}, and a power-on");
        let again = story.then(&Event::Ordered(Order::Reinstall));
        assert_eq!(then(&again), Then::Install, "{what}: that is the word");
    }
    let twin = Story::new().then(&Event::Twin("x".to_owned()));
    assert_eq!(twin.refuses(&release()), Refusal::SharesItsUuid);
    assert_eq!(hold(twin).refuses(&release()), Refusal::SharesItsUuid, "held once more");
}

#[test]
fn who_is_presumed_installed_and_comes_back_at_once_is_told() {
    for (goal, event, returns) in [(document(), Event::Last, 1), (document(), installed(), 3)] {
        let story = Story::new().then(&Event::PoweredOn).given(goal).then(&event);
        let mut story = story.wait(100).then(&Event::PoweredOn);
        for _ in 0..returns {
            assert!(!story.record.has_news(), "{event:?}");
            story = story.wait(100).then(&Event::PoweredOn);
        }
        assert!(story.record.has_news(), "{event:?}");
        let Decision::Disk(reason) = story.decision() else { panic!("{:?}", story.record.state) };
        assert!(reason.contains("its disk may not boot"), "{reason}");
        assert!(reason.ends_with("bootbox reinstall 52:54:00:00:00:01"), "{reason}");
    }
}
