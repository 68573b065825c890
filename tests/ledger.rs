//! What each machine has done decides what it may do next: the real server, machines played over
//! the wire, and a process that is killed at any moment.

// A test stops at the first thing that is not as it should be, and tells its times.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "ledger/forged.rs"]
mod forged;
#[path = "ledger/guest.rs"]
mod guest;
mod lab;
#[path = "ledger/site.rs"]
mod site;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bootbox::ledger::{Image, Proof, Record, State};

use guest::{Guest, IMAGE, installs};
use lab::walker::port_68;
use lab::{Failure, Lab};
use site::{BINARY, SIZE, ledger_file, with_site};

const LIMIT: Duration = Duration::from_secs(10);
const GROUP: &str = "[[group]]\nname = \"g\"\nprofile = \"p\"\nevery-machine = true\n";

#[test]
fn the_posts_story_installs_once_and_is_then_left_alone() {
    with_site("the_posts_story", 2, GROUP, |site| {
        let (mut silent, mut reporting) = (Guest::number(1), Guest::number(2));
        site.plays(|| {
            let port_68 = port_68()?;
            silent.story(&port_68)?;
            assert!(silent.is_left_alone(&port_68)?, "an offer after the whole image");
            let script = silent.script()?;
            assert!(script.contains("\nsanboot --no-describe --drive 0x80"), "{script}");

            assert_eq!(reporting.reports("state=started")?.0, 404, "nobody knows it yet");
            reporting.story(&port_68)?;
            for (query, status) in [
                ("state=started", 200),
                ("state=progress&text=50%25", 200),
                ("state=done", 400),
                ("state=installed&mac=52:54:00:aa:00:01", 409),
                ("state=installed", 200),
                ("state=installed", 200),
                ("state=failed", 409),
            ] {
                let (found, said) = reporting.reports(query)?;
                assert_eq!(found, status, "{query}: {said}");
            }
            let get = reporting.asks("GET", "/v1/event?state=installed")?;
            assert!(get.status == 405 && get.head.contains("\r\nAllow: POST\r\n"), "{}", get.head);
            assert!(reporting.is_left_alone(&port_68)?);
            Ok(())
        })?;
        let log = site.server.process();
        log.wait_for("attempt 1 to install p (group g)", LIMIT)?;
        log.wait_for("p is installed: presumed, nothing reported it", LIMIT)?;
        log.wait_for("p is installed: its install script said so", LIMIT)?;
        log.wait_for("left alone: p is installed since ", LIMIT)?;
        log.wait_for("sent to its disk: p is installed since ", LIMIT)?;
        site.restart()?;
        site.plays(|| {
            let port_68 = port_68()?;
            assert!(silent.is_left_alone(&port_68)? && reporting.is_left_alone(&port_68)?);
            assert!(!installs(&silent.script()?) && !installs(&reporting.script()?));
            Ok(())
        })?;
        site.server.process().kill();
        let proof = |guest: &Guest| match site.record(guest).unwrap().state {
            State::Installed(installed) => Some(installed.proof),
            State::Failed { .. } | State::Held(_) | State::Installing(_) | State::New => None,
        };
        assert_eq!(proof(&silent), Some(Proof::Presumed), "no keyring says what it fetched");
        assert_eq!(proof(&reporting), Some(Proof::Reported));
        Ok(())
    });
}

#[test]
fn who_tells_no_more_than_its_address_is_not_installed_where_a_narrower_group_may_have_it() {
    let kept = "[[group]]\nname = \"kept\"\nprofile = \"ram\"\nselector.serial = \"7\"\n";
    with_site("who_tells_no_more", 2, &format!("{GROUP}{kept}"), |site| {
        let (mut kept, mut other) = (Guest::number(1), Guest::number(2));
        site.plays(|| {
            kept.more = String::new();
            let script = kept.script()?;
            assert!(script.contains("has told too little of itself"), "{script}");
            kept.more = "&serial=7".to_owned();
            assert!(kept.script()?.contains("profile ram (group kept)"));
            kept.more = String::new();
            let script = kept.script()?;
            assert!(script.contains("profile ram (group kept)"), "as it told before: {script}");
            other.more = "&serial=8".to_owned();
            assert!(other.script()?.contains("profile p (group g)"));
            Ok(())
        })
    });
}

#[test]
fn a_power_cut_means_again_and_the_third_in_vain_is_held_with_words() {
    with_site("a_power_cut_means_again", 2, GROUP, |site| {
        let (mut cut, mut failing) = (Guest::number(1), Guest::number(2));
        site.plays(|| {
            let port_68 = port_68()?;
            assert!(cut.powers_on(&port_68)? && installs(&cut.script()?));
            // In the middle of the image.
            let part = cut.asks_with("GET", IMAGE, "Range: bytes=0-1000000\r\n")?;
            assert_eq!((part.status, part.body.len()), (206, 1_000_001));
            cut.story(&port_68)?;
            assert!(cut.is_left_alone(&port_68)?);
            assert_eq!(cut.scripts, 2);

            for _ in 0..3 {
                failing.story(&port_68)?;
                let said = failing.reports("state=failed&reason=BAD+signature")?;
                assert_eq!(said.0, 200, "{}", said.1);
            }
            assert!(failing.powers_on(&port_68)?, "it is told why");
            let script = failing.script()?;
            for words in [
                "last: BAD signature",
                "waits for its operator",
                "sleep 30\nchain --replace ipxe?mac=",
            ] {
                assert!(script.contains(words), "{words}: {script}");
            }
            for word in ["exit", "sanboot", "reboot", "\nboot", "kernel"] {
                assert!(!script.contains(word), "{word}: {script}");
            }
            // Its script's own word counts, as after any other failure.
            assert_eq!(failing.reports("state=installed")?.0, 200);
            assert!(failing.is_left_alone(&port_68)?);
            Ok(())
        })?;
        site.server.process().wait_for("held: held after 3 attempts", LIMIT)?;
        Ok(())
    });
}

#[test]
fn the_last_byte_of_an_image_in_parts_counts_and_the_rest_does_not() {
    with_site("the_last_byte_of_an_image_in_parts", 2, GROUP, |site| {
        let mut guest = Guest::number(1);
        site.plays(|| {
            assert!(guest.powers_on(&port_68()?)? && installs(&guest.script()?));
            let head =
                guest.asks_with("GET", IMAGE, &format!("Range: bytes=0-{}\r\n", SIZE - 2))?;
            assert_eq!(head.body.len(), SIZE - 1);
            assert!(installs(&guest.script()?), "the last byte is missing");
            let tail = guest.asks_with("GET", IMAGE, "Range: bytes=1000000-\r\n")?;
            assert_eq!(tail.body.len(), SIZE - 1_000_000);
            assert_eq!(tail.body.last(), Some(&(((SIZE - 1) % 251) as u8)));
            assert!(!installs(&guest.script()?), "it may have all of it");
            Ok(())
        })?;
        site.server.process().kill();
        let state = site.record(&guest).unwrap().state;
        assert!(matches!(&state, State::Installed(it) if it.proof == Proof::Presumed), "{state:?}");
        Ok(())
    });
}

#[test]
fn two_requests_on_one_connection_get_their_own_bytes() {
    with_site("two_requests_on_one_connection", 1, GROUP, |site| {
        let mut guest = Guest::number(1);
        site.plays(|| {
            use std::io::{Read, Write};
            assert!(guest.powers_on(&port_68()?)? && installs(&guest.script()?));
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            let here = std::net::SocketAddr::from((guest.walker.address, 0));
            socket.bind(&here.into())?;
            socket.connect(&std::net::SocketAddr::from(([10, 77, 0, 2], 80)).into())?;
            let mut stream = std::net::TcpStream::from(socket);
            stream.set_read_timeout(Some(LIMIT))?;
            let ask = |target: &str, more: &str| {
                format!("GET {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n")
            };
            let all = [ask(IMAGE, ""), ask("/k", ""), ask(IMAGE, "Connection: close\r\n")].concat();
            stream.write_all(all.as_bytes())?;
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard)?;
            let image: Vec<u8> = (0..SIZE).map(|index| (index % 251) as u8).collect();
            for body in [&image[..], &vec![b'k'; 100_000], &image] {
                let end = heard.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                assert!(heard[end..].starts_with(body), "{} bytes are not its own", body.len());
                heard.drain(..end + body.len());
            }
            assert!(heard.is_empty());
            Ok(())
        })
    });
}

#[test]
fn a_lost_group_and_another_card_install_nothing() {
    let own = |profile: &str| {
        let mac = Guest::number(1).walker.mac_text();
        format!("[[group]]\nname = \"own\"\nprofile = \"{profile}\"\nselector.mac = \"{mac}\"\n")
    };
    with_site("a_lost_group_and_another_card", 3, &(own("ram") + GROUP), |site| {
        let mut guest = Guest::number(1);
        site.plays(|| {
            assert!(guest.powers_on(&port_68()?)?);
            assert!(guest.script()?.contains("boots profile ram (group own)"));
            Ok(())
        })?;
        site.regroup(GROUP)?;
        site.plays(|| {
            assert!(guest.powers_on(&port_68()?)?);
            let script = guest.script()?;
            assert!(script.contains("it was in group own, which matches it no more"), "{script}");
            assert!(script.contains("bootbox reinstall 52:54:00:aa:00:01"), "{script}");
            Ok(())
        })?;
        site.regroup(&(own("p") + GROUP))?;
        site.plays(|| {
            assert!(guest.powers_on(&port_68()?)? && installs(&guest.script()?));
            Ok(())
        })?;
        site.regroup(GROUP)?;
        site.plays(|| {
            let script = guest.script()?;
            assert!(script.contains("its installation by group own is not finished"), "{script}");
            let uuid = "&platform=pcbios&uuid=564da6d2-1706-6343-dc2d-0123456789ab";
            let (mut one, mut two) = (Guest::number(2), Guest::number(3));
            for card in [&mut one, &mut two] {
                card.more = uuid.to_owned();
            }
            let port_68 = port_68()?;
            assert!(one.powers_on(&port_68)? && installs(&one.script()?));
            let script = two.script()?;
            assert!(script.contains("it has the UUID of 52:54:00:aa:00:02"), "{script}");
            assert!(script.contains("waits for its operator"), "{script}");
            one.installs()?;
            assert!(one.is_left_alone(&port_68)?);
            let script = two.script()?;
            assert!(
                script.contains("\nsanboot ") && script.contains("reinstall 52:54:00:aa:00:03")
            );
            assert!(two.is_left_alone(&port_68)?, "the other card is left alone, too");
            Ok(())
        })
    });
}

#[test]
fn two_hundred_machines_at_once_are_installed_exactly_once() {
    with_site("two_hundred_machines_at_once", 200, GROUP, |site| {
        let began = Instant::now();
        let guests = site.plays(|| {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (1..=200)
                    .map(|number| {
                        scope.spawn(move || {
                            let port_68 = port_68()?;
                            let mut guest = Guest::number(number);
                            guest.story(&port_68)?;
                            if number % 2 == 0 {
                                assert_eq!(guest.reports("state=installed")?.0, 200);
                            }
                            Ok::<_, Failure>(guest)
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect::<Result<Vec<_>, _>>()
            })
        })?;
        println!("200 machines installed in {:.1} s", began.elapsed().as_secs_f64());
        site.restart()?;
        site.plays(|| {
            let port_68 = port_68()?;
            for mut guest in guests.iter().cloned() {
                let script = guest.script()?;
                assert!(!installs(&script), "{script}");
            }
            assert!(guests[0].is_left_alone(&port_68)?);
            Ok(())
        })?;
        site.server.process().kill();
        for guest in &guests {
            let record = site.record(guest).unwrap();
            assert!(matches!(record.state, State::Installed(_)), "{:?}", record.state);
            let attempts =
                record.history.iter().filter(|line| line.text.starts_with("attempt ")).count();
            assert_eq!((attempts, guest.scripts, guest.images), (1, 1, 1));
        }
        Ok(())
    });
}

#[test]
fn without_its_ledger_it_does_not_start_where_machines_are_installed() {
    with_site("without_its_ledger", 1, GROUP, |site| {
        let (file, config) = (ledger_file(site.lab.scratch()), site.config.clone());
        let serve = |lab: &Lab| {
            let mut command = lab.server().command("timeout");
            let output = command.args(["5", BINARY, "serve", "--config"]).arg(&config).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok::<_, Failure>((output.status.code(), said))
        };
        let (code, said) = serve(site.lab)?;
        assert!(code == Some(78) && said.contains("another process has it open"), "{said}");
        site.server.process().kill();
        let good = fs::read(&file)?;
        for bad in [&b""[..], b"x", &good[..good.len() / 2]] {
            fs::write(&file, bad)?;
            let (code, said) = serve(site.lab)?;
            assert!(code == Some(70) && said.contains("put a copy back"), "{code:?}: {said}");
            assert_eq!(fs::read(&file)?.len(), bad.len(), "it was written to");
        }
        fs::remove_file(&file)?;
        let text = fs::read_to_string(&config)?;
        let moved = |to: &str| text.replace(file.to_str().unwrap(), to);
        let served = site.lab.scratch().join("link");
        std::os::unix::fs::symlink(site.lab.scratch().join("repository"), &served)?;
        fs::write(&config, moved(served.join("x.redb").to_str().unwrap()))?;
        let (code, said) = serve(site.lab)?;
        assert!(code == Some(78) && said.contains("anyone may read it"), "{said}");
        fs::write(&config, moved("/proc/ledger.redb"))?;
        let (code, said) = serve(site.lab)?;
        assert!(code == Some(78) && said.contains("must be one that bootbox may write"), "{said}");
        // Where nothing is installed, machines still boot.
        fs::write(&config, moved("/proc/ledger.redb").replace("cloud-config-url=", "x="))?;
        let (code, said) = serve(site.lab)?;
        assert!(said.contains("is ready") && said.contains("is not remembered"), "{code:?} {said}");
        fs::write(&config, text)?;
        let (_, said) = serve(site.lab)?;
        assert!(said.contains("every machine counts as new"), "{said}");
        Ok(())
    });
}

#[test]
fn an_image_fetched_from_an_address_of_nobody_holds_and_wipes_nothing() {
    with_site("an_image_fetched_from_an_address_of_nobody", 4, GROUP, |site| {
        let [mut one, mut other, mut own, card] = [1, 2, 3, 4].map(Guest::number);
        site.plays(|| {
            let port_68 = port_68()?;
            for guest in [&mut one, &mut other, &mut own] {
                assert!(guest.powers_on(&port_68)? && installs(&guest.script()?));
                guest.whole("GET", "/k")?;
            }
            // All but the last byte is no image, and whatever else is fetched neither.
            card.asks_with("GET", IMAGE, &format!("Range: bytes=0-{}\r\n", SIZE - 2))?;
            card.whole("GET", &format!("{IMAGE}.sig"))?;
            assert!(installs(&other.script()?), "nobody can have the image");
            other.whole("GET", "/k")?;

            assert!(card.asks("GET", IMAGE)?.is_whole);
            own.installs()?;
            assert!(own.is_left_alone(&port_68)?, "what it fetched itself settles it");
            for guest in [&mut one, &mut other] {
                assert!(guest.powers_on(&port_68)?, "it is told why");
                let script = guest.script()?;
                let mac = guest.walker.mac_text();
                assert!(!installs(&script) && script.contains("waits for its operator"));
                for words in
                    [card.walker.address.to_string(), format!("if not: bootbox reinstall {mac}")]
                {
                    assert!(script.contains(&words), "{words}: {script}");
                }
            }
            assert_eq!(one.reports("state=installed")?.0, 200);
            assert!(one.is_left_alone(&port_68)?, "its own word settles it");
            // An address of a machine that is not being installed is as good as nobody's.
            let mut last = Guest::number(4);
            assert!(last.powers_on(&port_68)? && installs(&last.script()?));
            assert!(own.asks("GET", IMAGE)?.is_whole);
            assert!(last.powers_on(&port_68)? && !installs(&last.script()?));
            Ok(())
        })?;
        site.server.process().wait_for("held: while it was being installed", LIMIT)?;
        site.restart()?;
        site.plays(|| {
            assert!(!installs(&other.script()?), "a restart forgets no doubt");
            Ok(())
        })
    });
}

/// What is on disk may not contradict what the machine has got.
fn check(guest: &Guest, record: Option<&Record>) {
    let Some(record) = record else {
        assert_eq!((guest.scripts, guest.images), (0, 0), "a script and no record: {guest:?}");
        return;
    };
    let image = match &record.state {
        State::New => {
            assert_eq!(guest.scripts, 0, "{record:?}");
            return;
        }
        State::Installing(attempt) => attempt.image,
        State::Installed(_) => Image::Whole,
        State::Failed { .. } | State::Held(_) => panic!("it never happened: {record:?}"),
    };
    match image {
        Image::Incomplete => assert_eq!(guest.images, 0, "the image and no word of it: {record:?}"),
        Image::LastByte => assert!(guest.image >= SIZE - 1, "{} bytes: {record:?}", guest.image),
        Image::Whole => assert!(guest.image == SIZE, "{} bytes: {record:?}", guest.image),
    }
}

#[test]
fn killed_at_any_moment_no_machine_is_installed_twice() {
    const KILLS: u16 = 60;
    with_site("killed_at_any_moment", KILLS, GROUP, |site| {
        let mut whole = Guest::number(0);
        let began = Instant::now();
        site.plays(|| whole.story(&port_68()?))?;
        let takes = began.elapsed();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let (mut cut, mut whole) = (0, 0);
        for number in 1..=KILLS {
            let mut guest = Guest::number(number);
            let micros = u64::try_from(takes.as_micros()).unwrap() * 9 / 10;
            let moment = Duration::from_micros(random(micros * u64::from(1 + number % 2 * 3)));
            // Every third time around the last byte.
            let instant = Duration::from_micros(random(3000));
            let heard = (number % 3 == 0).then(|| Arc::clone(&guest.heard));
            let desk = &site.desk;
            let process = site.server.process();
            std::thread::scope(|scope| {
                let played = scope.spawn(|| {
                    let _ = desk.enter(|| guest.story(&port_68()?));
                });
                match heard {
                    None => sleep(moment),
                    Some(heard) => {
                        let began = Instant::now();
                        while heard.load(Ordering::Relaxed) < SIZE && began.elapsed() < LIMIT {
                            std::hint::spin_loop();
                        }
                        sleep(instant);
                    }
                }
                process.kill();
                played.join().unwrap();
            });
            check(&guest, site.record(&guest).as_ref());
            site.restart()?;
            let had = guest.images;
            site.plays(|| {
                let port_68 = port_68()?;
                match had {
                    0 => drop(guest.powers_on(&port_68)?),
                    _ => assert!(guest.is_left_alone(&port_68)?, "an offer after the image"),
                }
                let script = guest.script()?;
                if had > 0 {
                    assert!(!installs(&script), "a second installation: {script}");
                } else if installs(&script) {
                    guest.installs()?;
                } else {
                    // All but the last byte, and the word that it leaves: nobody can tell.
                    assert!(guest.image >= SIZE - 1, "{} bytes: {script}", guest.image);
                }
                assert!(guest.is_left_alone(&port_68)? && !installs(&guest.script()?));
                Ok(())
            })?;
            assert!(guest.images <= 1, "{guest:?}");
            match had {
                0 => cut += 1,
                _ => whole += 1,
            }
        }
        println!("{KILLS} kills within {takes:?}: {cut} before the last byte, {whole} after");
        Ok(())
    });
}
