//! What a machine does, second by second, and what is told of it.

use super::*;
use Seen::{Ack, Answer, By4011, ByHttp, Comes, Elsewhere, Misses, Offer, Request, Script, Sent};
use Stage::{Ipxe, Rom};

const OFFICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);

/// What a machine does, or what is heard of it.
enum Seen {
    Ack(Stage),
    Answer,
    By4011,
    ByHttp,
    Comes,
    Elsewhere,
    Misses,
    Offer(Stage),
    Request,
    Script,
    Step(Step),
    Sent(&'static str, End),
}

fn offered(stage: Stage) -> String {
    match stage {
        Ipxe => "http://192.0.2.2/boot.ipxe".to_owned(),
        Rom => "undionly.kpxe".to_owned(),
    }
}

fn see(watch: &mut Watch, seen: Seen, now: Instant) {
    let step = match seen {
        Ack(stage) => Step::Ack { firmware: None, stage, boot_file: offered(stage) },
        Answer => return watch.answered(OFFICE),
        Comes => return watch.comes(now),
        Elsewhere => return watch.goes_elsewhere(now),
        Misses => return watch.misses_us(),
        By4011 => Step::Offer {
            firmware: None,
            stage: Rom,
            boot_file: offered(Rom),
            form: Form::BootServer,
        },
        ByHttp => Step::Offer {
            firmware: None,
            stage: Rom,
            boot_file: "http://192.0.2.2/snponly.efi".to_owned(),
            form: Form::Http,
        },
        Offer(stage) => {
            let (boot_file, form) = (offered(stage), Form::Direct);
            Step::Offer { firmware: None, stage, boot_file, form }
        }
        Request => return watch.requests(Some(OFFICE), now),
        Script => Step::Script { group: "g".to_owned(), profile: "p".to_owned() },
        Seen::Step(step) => step,
        Sent(file, end) => {
            let protocol = match file.starts_with('/') {
                true => Protocol::Http,
                false => Protocol::Tftp,
            };
            let (file, took) = (file.to_owned(), Duration::ZERO);
            Step::Transfer(Transfer { protocol, file, end, bytes: 0, size: 9, took })
        }
    };
    watch.note(&step, now);
}

/// The stops that are told within ten minutes of these events, at a look every 2 s, by their
/// names and the second each was told at.
fn told(events: Vec<(u64, Seen)>, heard: &Heard) -> Vec<(&'static str, u64, String)> {
    let start = Instant::now();
    let at = |second: u64| start + Duration::from_secs(second);
    let mut watch = Watch::new(start);
    let mut events = events.into_iter().peekable();
    let mut told = Vec::new();
    for second in (0..600).step_by(2) {
        while let Some((at_second, seen)) = events.next_if(|(at, _)| *at <= second) {
            see(&mut watch, seen, at(at_second));
        }
        let due = watch.due(at(second), heard, || true);
        told.extend(due.map(|stop| (stop.name(), second, stop.to_string())));
    }
    told
}

/// The story of a boot, what is known of its LAN, and what is told: name, second, words.
type Row = (&'static str, Vec<(u64, Seen)>, Heard, &'static [(&'static str, u64, &'static str)]);

/// Nobody else is there.
const ALONE: Heard =
    Heard { hears: true, dhcp_server: None, claims_to_boot: None, rival_proxy: None };
/// A DHCP server is there.
const WITH_DHCP: Heard = Heard { dhcp_server: Some(OFFICE), ..ALONE };
/// It says that it boots machines.
const CLAIMS: Heard = Heard { claims_to_boot: Some(OFFICE), ..WITH_DHCP };
/// Another proxy is there, too.
const RIVAL: Heard = Heard { rival_proxy: Some(OTHER), ..WITH_DHCP };

fn tells(rows: Vec<Row>) {
    for (name, events, heard, expected) in rows {
        let told = told(events, &heard);
        let short: Vec<_> = told.iter().map(|(name, second, _)| (*name, *second)).collect();
        let wanted: Vec<_> = expected.iter().map(|(name, at, _)| (*name, *at)).collect();
        assert_eq!(short, wanted, "{name}: {told:?}");
        for ((_, _, text), (_, _, words)) in told.iter().zip(expected) {
            assert!(text.contains(words), "{name}: {text}");
        }
    }
}

const NOT_FETCHED: &str = "boot-file-not-fetched";

fn aborted() -> End {
    End::Abort { reason: "stop".to_owned() }
}

#[test]
fn discovers_in_vain_are_told_with_what_is_known_of_the_lan() {
    // EDK2's times.
    let asks = || [0, 4, 12, 28].map(|second| (second, Offer(Rom))).into();
    let answered = || {
        let mut events: Vec<(u64, Seen)> = asks();
        events.insert(0, (0, Answer));
        events
    };
    let misses_us =
        vec![(0, Answer), (0, Offer(Ipxe)), (5, Offer(Ipxe)), (5, Misses), (11, Offer(Ipxe))];
    let unheard = vec![(0, Offer(Ipxe)), (5, Offer(Ipxe)), (5, Misses), (11, Offer(Ipxe))];
    let mut rom_only = vec![(0, Answer), (0, Offer(Rom)), (4, Comes)];
    rom_only.extend([20, 25, 32].map(|second| (second, Offer(Ipxe))));
    let by_http = vec![(0, Answer), (0, ByHttp), (4, ByHttp), (12, ByHttp)];
    let both = vec![(0, Answer), (0, Offer(Rom)), (4, By4011), (12, Offer(Rom))];
    tells(vec![
        ("both forms", both, WITH_DHCP, &[("offer-not-taken", 12, "(form boot-server, direct)")]),
        ("nobody", asks(), ALONE, &[("no-dhcp-server", 12, "no DHCP server answers on this")]),
        ("deaf", asks(), Heard::default(), &[("no-dhcp-server", 12, "CAP_NET_RAW")]),
        ("not for it", asks(), WITH_DHCP, &[("no-dhcp-server", 12, "though 192.0.2.1 is there")]),
        ("in vain", answered(), WITH_DHCP, &[("offer-not-taken", 12, "DHCP snooping")]),
        ("claims", answered(), CLAIMS, &[("offer-not-taken", 12, "remove option 60 there")]),
        ("claims PXE", by_http, CLAIMS, &[("offer-not-taken", 12, "DHCP snooping")]),
        ("rival", answered(), RIVAL, &[("offer-not-taken", 12, "too: 192.0.2.3")]),
        ("misses us", misses_us, WITH_DHCP, &[("offer-not-taken", 12, "DHCP server and not us")]),
        (
            "iPXE has heard one, we have not",
            unheard,
            WITH_DHCP,
            &[("offer-not-taken", 12, "DHCP server 192.0.2.1 is there")],
        ),
        (
            "the ROM had an answer, iPXE has none",
            rom_only,
            ALONE,
            &[("no-dhcp-server", 32, "no DHCP server answers on this")],
        ),
        // iPXE's times, as a ROM.
        (
            "an iPXE ROM, and nobody",
            [0, 1, 3, 7].map(|second| (second, Offer(Ipxe))).into(),
            ALONE,
            &[("no-dhcp-server", 16, "asked 4 times in 7 s")],
        ),
        (
            "an iPXE ROM is answered at last",
            vec![
                (0, Offer(Ipxe)),
                (1, Offer(Ipxe)),
                (3, Offer(Ipxe)),
                (7, Offer(Ipxe)),
                (8, Request),
                (9, Comes),
            ],
            ALONE,
            &[],
        ),
        ("twice is no stop", vec![(0, Offer(Rom)), (12, Offer(Rom))], ALONE, &[]),
    ]);
}

#[test]
fn who_took_an_address_and_no_file_is_told_with_the_likely_cause() {
    let lease = |stage| vec![(0, Offer(stage)), (4, Request)];
    let anew = vec![(0, Offer(Rom)), (4, Request), (15, Offer(Rom)), (19, Request)];
    let acked = vec![(0, Offer(Rom)), (4, Request), (5, Ack(Rom))];
    // EDK2's times on port 4011.
    let asks_4011 = [4, 5, 7, 10].map(|second| (second, Ack(Rom))).into();
    let by_4011 = vec![(0, By4011), (4, Request)];
    let by_http = vec![(0, ByHttp), (4, Request)];
    tells(vec![
        ("4011 is dropped", by_4011, WITH_DHCP, &[(NOT_FETCHED, 24, "drops UDP port 4011")]),
        ("no TFTP", lease(Rom), WITH_DHCP, &[(NOT_FETCHED, 24, "that drops UDP port 69")]),
        ("no HTTP", lease(Ipxe), WITH_DHCP, &[(NOT_FETCHED, 44, "HTTP's TCP port")]),
        ("led astray", lease(Rom), CLAIMS, &[(NOT_FETCHED, 24, "asks that server")]),
        ("elsewhere", lease(Rom), RIVAL, &[(NOT_FETCHED, 24, "proxy, 192.0.2.3")]),
        ("asks anew", anew, WITH_DHCP, &[(NOT_FETCHED, 24, "took an address from 192.0.2.1")]),
        ("4011, no TFTP", acked, CLAIMS, &[(NOT_FETCHED, 26, "told undionly.kpxe on port 4011")]),
        (
            "4011 is not heard",
            asks_4011,
            WITH_DHCP,
            &[(NOT_FETCHED, 30, "drops the answers of UDP port 4011")],
        ),
        ("option 60 of PXE", by_http, CLAIMS, &[(NOT_FETCHED, 24, "HTTP's TCP port")]),
        ("its system asks", vec![(0, Offer(Rom)), (90, Request)], WITH_DHCP, &[]),
        (
            "the program's end is noted late",
            vec![
                (0, Offer(Rom)),
                (1, Comes),
                (2, Offer(Ipxe)),
                (2, Sent("undionly.kpxe", End::Complete)),
                (3, Request),
            ],
            WITH_DHCP,
            &[(NOT_FETCHED, 44, "boot.ipxe")],
        ),
    ]);
}

#[test]
fn what_stops_later_is_told_and_what_goes_on_is_not() {
    let loaded = |second| (second, Sent("undionly.kpxe", End::Complete));
    let broken = || vec![(0, Offer(Ipxe)), (2, Script), (2, Comes), (9, Sent("/k", aborted()))];
    let mut mended = broken();
    mended.extend([(10, Comes), (12, Sent("/k", End::Complete))]);
    let uki = Seen::Step(Step::Offer {
        firmware: None,
        stage: Rom,
        boot_file: "http://192.0.2.2/uki.efi".to_owned(),
        form: Form::Http,
    });
    let older = Seen::Step(Step::Transfer(Transfer {
        protocol: Protocol::Http,
        file: "/initrd".to_owned(),
        end: aborted(),
        bytes: 1,
        size: 9,
        took: Duration::from_secs(20),
    }));
    let refused = Sent("/autoexec.ipxe", End::Refuse { reason: "none".to_owned() });
    let probed = Sent("undionly.kpxe", End::Probe);
    // Its config is a file like others, and made when it is asked for.
    let grub = |then: &[(u64, &'static str)]| {
        let mut events = vec![(0, Offer(Rom)), (1, Comes), loaded(2), (3, Comes), (3, Script)];
        events.push((4, Sent("grub/grub.cfg", End::Complete)));
        for &(second, file) in then {
            events.extend([(second, Comes), (second + 9, Sent(file, End::Complete))]);
        }
        events
    };
    let to_disk = Seen::Step(Step::Disk { reason: "done".to_owned() });
    tells(vec![
        (
            "a program that is refused",
            vec![(0, Offer(Rom)), (4, Request), (4, Comes), loaded(5)],
            WITH_DHCP,
            &[("boot-program-silent", 66, "Secure Boot")],
        ),
        (
            "only the size",
            vec![(0, Offer(Rom)), (4, Comes), (4, probed)],
            WITH_DHCP,
            &[("transfer-broken", 64, "asked for its size")],
        ),
        (
            "no kernel",
            vec![(0, Offer(Ipxe)), (1, Comes), (2, Script)],
            WITH_DHCP,
            &[("kernel-not-fetched", 62, "Its console says")],
        ),
        (
            "GRUB's config by TFTP, and no kernel",
            grub(&[]),
            WITH_DHCP,
            &[("kernel-not-fetched", 64, "Its console says")],
        ),
        ("GRUB's config by TFTP, and its kernel", grub(&[(5, "vmlinuz")]), WITH_DHCP, &[]),
        (
            "a kernel of another server",
            vec![(0, Offer(Ipxe)), (1, Comes), (2, Script), (2, Elsewhere)],
            WITH_DHCP,
            &[],
        ),
        (
            "a kernel in halves",
            broken(),
            WITH_DHCP,
            &[("transfer-broken", 70, "HTTP /k: aborted by the client after 0 of 9 bytes")],
        ),
        (
            "a kernel that is its own boot program",
            vec![(0, uki), (4, Comes), (5, Sent("/uki.efi", End::Complete))],
            WITH_DHCP,
            &[],
        ),
        (
            "an older transfer's end after a newer request",
            vec![(0, Offer(Ipxe)), (2, Script), (2, Comes), (15, Comes), (22, older)],
            WITH_DHCP,
            &[],
        ),
        ("a kernel in halves that is asked for again", mended, WITH_DHCP, &[]),
        (
            "a file that need not be there",
            vec![
                (0, Offer(Rom)),
                (1, Comes),
                loaded(2),
                (3, Offer(Ipxe)),
                (4, Comes),
                (4, refused),
            ],
            WITH_DHCP,
            &[],
        ),
        (
            "sent to its disk",
            vec![(0, Offer(Ipxe)), (1, Comes), (1, to_disk), (9, Sent("/k", aborted()))],
            WITH_DHCP,
            &[],
        ),
    ]);
}

#[test]
fn a_kernel_that_one_script_fetches_again_and_again_is_told() {
    let rounds = |count: u64, script_between: bool| {
        let mut events = vec![(0, Offer(Ipxe)), (1, Comes), (2, Script)];
        for round in 0..count {
            let at = 3 + round * 10;
            events.extend([(at, Comes), (at + 1, Sent("/k", End::Complete))]);
            events.extend([(at + 1, Comes), (at + 3, Sent("/i", End::Complete))]);
            if script_between {
                events.push((at + 5, Script));
            }
        }
        // Something is asked for, so that nothing else counts as a stop.
        events.push((4 + count * 10, Comes));
        events
    };
    tells(vec![
        (
            "kernel and initrd whole, three times over",
            rounds(3, false),
            WITH_DHCP,
            &[("kernel-fetched-again", 24, "fetched /k whole 3 times in 20 s")],
        ),
        ("the same twice", rounds(2, false), WITH_DHCP, &[]),
        ("the same by a new script each time", rounds(3, true), WITH_DHCP, &[]),
    ]);
}

#[test]
fn the_same_stop_is_told_again_after_an_hour_if_the_boot_goes_on() {
    let start = Instant::now();
    let mut watch = Watch::new(start);
    let mut told = 0;
    for second in (0..20_000).step_by(4) {
        let now = start + Duration::from_secs(second);
        // It goes on discovering for two hours, and then it is switched off.
        if second <= 7212 {
            see(&mut watch, Offer(Rom), now);
        }
        told += usize::from(watch.due(now, &Heard::default(), || true).is_some());
    }
    assert_eq!(told, 3);
}
