//! Attacks of a neighbour, or a disk, on the others of a LAN, each with its bound.

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

#[path = "attack/fuse.rs"]
mod fuse;
mod lab;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use lab::namespace::Namespace;
use lab::office::Office;
use lab::server::{Bootbox, Subject};
use lab::site::one_kernel;
use lab::walker::{Stage, Walker, ask_http, fetch_http, fetch_tftp, port_68};
use lab::{BOX, Failure, Lab};

const NEIGHBOUR: &str = "02:00:00:00:77:0a";
const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
/// Long for a request that nothing keeps waiting, on a busy machine.
const SOON: Duration = Duration::from_secs(3);

/// Starts the binary under test, or the one that `BOOTBOX_UNDER_TEST` names.
fn start(lab: &Lab, config: &Path) -> Result<Bootbox, Failure> {
    match Subject::from_environment(BINARY) {
        Subject::Bootbox(binary) => Bootbox::start(lab, &binary, config, "json"),
        Subject::Peer => Err(Failure::new("these attacks are on bootbox")),
    }
}

/// A desk on the LAN, at 10.77.0.9.
fn desk(lab: &Lab) -> Result<Namespace, Failure> {
    let desk = lab.desk("desk", "02:00:00:00:77:09")?;
    desk.run("ip address add 10.77.0.9/16 dev eth0")?;
    Ok(desk)
}

fn http() -> SocketAddrV4 {
    SocketAddrV4::new(BOX.parse().unwrap(), 80)
}

/// One boot of a machine of this number, from its first discover to its kernel.
fn boots(number: u16) -> Result<Duration, Failure> {
    let began = Instant::now();
    let address = Ipv4Addr::new(10, 77, 0, 9);
    let walker = Walker { address, ..Walker::number(number, Ipv4Addr::BROADCAST) };
    let offer = walker.discover(&port_68()?, Stage::Bios)?;
    fetch_tftp(offer.server, "vmlinuz")?;
    let script = fetch_http(http(), &format!("/ipxe?mac={}", walker.mac_text()))?;
    assert!(String::from_utf8_lossy(&script).contains("\nboot"), "{script:?}");
    fetch_http(http(), "/vmlinuz")?;
    Ok(began.elapsed())
}

/// A neighbour at 10.77.0.10 with a card of its own.
fn neighbour(lab: &Lab) -> Result<Namespace, Failure> {
    let desk = lab.desk("neighbour", NEIGHBOUR)?;
    desk.run("ip address add 10.77.0.10/16 dev eth0")?;
    Ok(desk)
}

/// Gives the attacker's desk so many addresses more, from 10.77.4.1 on.
fn claim(desk: &Namespace, addresses: u8) -> Result<Vec<Ipv4Addr>, Failure> {
    let all: Vec<Ipv4Addr> = (1..=addresses).map(|last| Ipv4Addr::new(10, 77, 4, last)).collect();
    for address in &all {
        desk.run(&format!("ip address add {address}/16 dev eth0"))?;
    }
    Ok(all)
}

/// A socket for each of many clients.
fn many_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard).unwrap();
}

/// A request that is sent, and not waited for.
fn ask(target: &str) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect_timeout(&http().into(), SOON)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {BOX}\r\n\r\n")?;
    Ok(stream)
}

#[test]
fn a_file_that_hangs_when_it_is_opened_stops_nobody_else() {
    lab::run("a_file_that_hangs_when_it_is_opened", &Office::Plain, 0, |lab| {
        let (file, root) = one_kernel(lab)?;
        let tap = fuse::hanging(&root.join("hung"))?;
        let mut server = start(lab, &file)?;
        // It ends before the server, which could not.
        let tap = tap;
        desk(lab)?.enter(|| -> Result<(), Failure> {
            fetch_http(http(), "/hung/kernel")?;
            tap.hang();
            // More than there are threads that serve, and places for one folder.
            let mut hung: Vec<TcpStream> =
                (0..48).map(|_| ask("/hung/kernel")).collect::<Result<_, _>>()?;
            hung.push(ask("/hung/current/version.txt")?);
            for number in 1..=8 {
                let took = boots(number)?;
                assert!(took < SOON, "{took:?}");
            }
            for mut stream in hung {
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                assert!(answer.contains("\r\nRetry-After: "), "{answer}");
                assert!(answer.contains("the disk does not answer"), "{answer}");
            }
            let told = fetch_tftp(BOX.parse().unwrap(), "hung/kernel").unwrap_err().to_string();
            assert!(told.contains("TFTP hung/kernel"), "{told}");
            Ok(())
        })??;
        server.process().wait_for("\"step\":\"disk-stalled\"", SOON)?;
        Ok(())
    });
}

#[test]
fn a_file_that_hangs_while_it_is_sent_stops_nobody_else() {
    lab::run("a_file_that_hangs_while_it_is_sent", &Office::Plain, 0, |lab| {
        let (file, root) = one_kernel(lab)?;
        let tap = fuse::hanging(&root.join("hung"))?;
        let _server = start(lab, &file)?;
        let tap = tap;
        desk(lab)?.enter(|| -> Result<(), Failure> {
            tap.hang_behind(fuse::LENGTH / 2);
            let hung: Vec<TcpStream> =
                (0..16).map(|_| ask("/hung/kernel")).collect::<Result<_, _>>()?;
            let (head, _) = ask_http(http(), "/vmlinuz")?;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            for number in 1..=8 {
                let took = boots(number)?;
                assert!(took < SOON, "{took:?}");
            }
            for mut stream in hung {
                let mut first = vec![0; 100_000];
                stream.read_exact(&mut first)?;
                assert!(first.starts_with(b"HTTP/1.1 200 "));
            }
            // Closing a file asks the file system, too.
            tap.hang();
            assert!(boots(9)? < SOON);
            Ok(())
        })?
    });
}

#[test]
fn idle_connections_of_many_addresses_of_one_host_keep_nobody_out() {
    lab::run("idle_connections_of_many_addresses", &Office::Plain, 0, |lab| {
        let (file, _) = one_kernel(lab)?;
        let mut server = start(lab, &file)?;
        let (attacker, neighbour) = (desk(lab)?, neighbour(lab)?);
        let addresses = claim(&attacker, 140)?;
        many_files();
        let idle = attacker.enter(|| {
            let mut idle = Vec::new();
            for number in 0..4224 {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                // As many as an address may have while there is room, and then when there is none.
                let from = addresses[if number < 2048 { number / 512 } else { number / 16 - 124 }];
                socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
                socket.connect_timeout(&SocketAddr::from(http()).into(), SOON).unwrap();
                let mut stream = TcpStream::from(socket);
                // A refused connection ends here.
                let _ = write!(stream, "GET /boot.ipxe HTTP/1.1\r\nHost: {BOX}\r\n\r\n");
                idle.push(stream);
            }
            idle
        })?;
        neighbour.enter(|| -> Result<(), Failure> {
            for _ in 0..8 {
                let began = Instant::now();
                fetch_http(http(), &format!("/ipxe?mac={NEIGHBOUR}"))?;
                assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
            }
            Ok(())
        })??;
        server.process().wait_for("\"step\":\"full\"", SOON)?;
        drop(idle);
        Ok(())
    });
}

#[test]
fn transfers_of_many_addresses_of_one_host_keep_nobody_out() {
    lab::run("transfers_of_many_addresses", &Office::Plain, 0, |lab| {
        let (file, _) = one_kernel(lab)?;
        let _server = start(lab, &file)?;
        let (attacker, neighbour) = (desk(lab)?, neighbour(lab)?);
        let addresses = claim(&attacker, 70)?;
        many_files();
        let kept = attacker.enter(|| {
            let mut kept = Vec::new();
            for number in 0..70 * 16 {
                let socket = UdpSocket::bind((addresses[number % 70], 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let to = SocketAddrV4::new(BOX.parse().unwrap(), 69);
                socket.send_to(b"\0\x01vmlinuz\0octet\0", to).unwrap();
                let mut block = [0; 600];
                if let Ok((_, from)) = socket.recv_from(&mut block) {
                    socket.send_to(&[0, 4, 0, 1], from).unwrap();
                }
                kept.push(socket);
            }
            kept
        })?;
        neighbour.enter(|| -> Result<(), Failure> {
            for _ in 0..4 {
                let began = Instant::now();
                fetch_tftp(BOX.parse().unwrap(), "vmlinuz")?;
                assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
            }
            Ok(())
        })??;
        drop(kept);
        Ok(())
    });
}

#[test]
fn a_full_table_of_transfers_is_told() {
    lab::run("a_full_table_of_transfers", &Office::Plain, 0, |lab| {
        let (file, _) = one_kernel(lab)?;
        let mut server = start(lab, &file)?;
        many_files();
        // Two hosts, as one cannot take all seats.
        let mut open = Vec::new();
        for host in [desk(lab)?, neighbour(lab)?] {
            host.enter(|| -> Result<(), Failure> {
                for _ in 0..600 {
                    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                    let to = SocketAddrV4::new(BOX.parse().unwrap(), 69);
                    socket.send_to(b"\0\x01vmlinuz\0octet\0", to)?;
                    // A closed port would end the transfer.
                    open.push(socket);
                }
                Ok(())
            })??;
        }
        server.process().wait_for("\"reason\":\"too-many-transfers\"", SOON)?;
        drop(open);
        Ok(())
    });
}

#[test]
fn requests_that_list_20000_folders_keep_nobody_waiting() {
    lab::run("requests_that_list_20000_folders", &Office::Plain, 0, |lab| {
        let (file, root) = one_kernel(lab)?;
        for number in 0..20_000 {
            fs::create_dir_all(root.join(format!("many/{number}.0.0")))?;
        }
        let _server = start(lab, &file)?;
        desk(lab)?.enter(|| -> Result<(), Failure> {
            let asked: Vec<TcpStream> =
                (0..32).map(|_| ask("/many/current/version.txt")).collect::<Result<_, _>>()?;
            let mut longest = Duration::ZERO;
            for number in 1..=8 {
                longest = longest.max(boots(number)?);
            }
            assert!(longest < SOON, "{longest:?}");
            for mut stream in asked {
                let mut head = [0; 12];
                stream.read_exact(&mut head)?;
                assert!(head.starts_with(b"HTTP/1.1 "), "{head:?}");
            }
            Ok(())
        })?
    });
}

#[test]
fn made_up_machines_take_nobodys_token() {
    lab::run("made_up_machines_take_nobodys_token", &Office::Plain, 0, |lab| {
        let (file, root) = one_kernel(lab)?;
        fs::write(root.join("c.json"), "{\"ignition\":{\"version\":\"3.3.0\"}}")?;
        let text = fs::read_to_string(&file)?.replace(
            "kernel = ",
            "install = \"never\"\nargs = [\"ignition.config.url={{ base_url }}/c.json\"]\nkernel = ",
        );
        let text = text.replace(
            "[[profile]]",
            "[http]\nconfig-access = \"token\"\n[[template]]\npath = \"/c.json\"\n[[profile]]",
        );
        fs::write(&file, text)?;
        let _server = start(lab, &file)?;
        let (attacker, neighbour) = (desk(lab)?, neighbour(lab)?);
        let script =
            neighbour.enter(|| fetch_http(http(), &format!("/ipxe?mac={NEIGHBOUR}")))??;
        let script = String::from_utf8_lossy(&script).into_owned();
        let (_, behind) = script.split_once("/~").unwrap();
        let url = format!("/~{}/c.json", &behind[..32]);
        attacker.enter(|| -> Result<(), Failure> {
            for number in 0..5000_u16 {
                let [high, low] = number.to_be_bytes();
                let target = format!("/ipxe?mac=02:11:00:00:{high:02x}:{low:02x}");
                ask_http(http(), &target)?;
            }
            ask_http(http(), &format!("/ipxe?mac={NEIGHBOUR}")).map(drop)
        })??;
        let (head, _) = neighbour.enter(|| ask_http(http(), &url))??;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        // A token that nobody has may be one that was dropped.
        let nobody = format!("/~{}/c.json", "0".repeat(32));
        let (head, _) = neighbour.enter(|| ask_http(http(), &nobody))??;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(head.contains("\r\nRetry-After: "), "{head}");
        Ok(())
    });
}
