//! What a neighbour, or a disk, may do to the others on the LAN: each attack with its bound.

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

#[path = "attack/fuse.rs"]
mod fuse;
mod lab;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::namespace::Namespace;
use lab::office::Office;
use lab::server::{Bootbox, Subject};
use lab::walker::{Stage, Walker, ask_http, fetch_http, fetch_tftp, port_68};
use lab::{BOX, Failure, Lab};

const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
/// Long for a request that nothing keeps waiting, on a busy machine.
const SOON: Duration = Duration::from_secs(3);

/// The repository of a lab and a config that gives its kernel to every machine.
fn config(lab: &Lab, more: &str) -> Result<(PathBuf, PathBuf), Failure> {
    let root = lab.scratch().join("repository");
    fs::create_dir_all(&root)?;
    fs::write(root.join("vmlinuz"), vec![b'k'; 100_000])?;
    let file = lab.evidence().join("bootbox.toml");
    fs::write(
        &file,
        format!(
            "{more}\n[network]\ninterfaces = [\"eth0\"]\n[repository]\nroot = {root:?}\n\
             [[profile]]\nname = \"p\"\nkernel = \"/vmlinuz\"\n\
             [[group]]\nname = \"g\"\nprofile = \"p\"\n"
        ),
    )?;
    Ok((file, root))
}

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
        let (file, root) = config(lab, "")?;
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
        let (file, root) = config(lab, "")?;
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
