//! How small: the binary, its memory idle and after 200 machines, its cold start.
//! One process does it, so there is no peer beside it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use crate::Options;
use crate::lab::office::Office;
use crate::lab::server::Bootbox;
use crate::lab::site::Site;
use crate::lab::walker::{Walker, port_68};
use crate::lab::{Failure, Lab};

/// Machines that boot, and how many of them at once.
const MACHINES: u16 = 200;
const AT_ONCE: u16 = 20;
/// Starts to take the median of.
const STARTS: usize = 11;

/// Prints the table.
pub(crate) fn print(_options: &Options) -> Result<(), Failure> {
    let binary = Path::new(env!("CARGO_BIN_EXE_bootbox"));
    let mut lab = Lab::new("bench-size", &Office::Plain)?;
    let root = lab.scratch().join("repository");
    fs::create_dir_all(root.join("lab"))?;
    fs::write(root.join("lab/vmlinuz"), vec![1; 14 << 20])?;
    fs::write(root.join("lab/initrd.img"), vec![2; 32 << 20])?;
    let config = lab.scratch().join("bootbox.toml");
    fs::write(&config, Site::new().boots(None, "everybody").toml(&root))?;

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Bootbox::start(&lab, binary, &config, "json")?.ready_after());
    }
    starts.sort();
    let mut server = Bootbox::start(&lab, binary, &config, "json")?;
    let pid = server.process().pid();
    let (idle, idle_own) = (resident(pid, "VmRSS")?, resident(pid, "RssAnon")?);
    let bytes = boot_all(&mut lab)?;
    let (after, after_own) = (resident(pid, "VmRSS")?, resident(pid, "RssAnon")?);

    println!(
        "Small (after {MACHINES} simulated boots, {AT_ONCE} at once, {} MiB each)",
        bytes >> 20
    );
    println!("{:<24}{:>9}{:>9}", "", "bootbox", "aim");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("{:<24}{:>9.1}{:>9}", "binary, MiB", mib(fs::metadata(binary)?.len()), 15);
    // The rest is the program's file: how much of it the kernel maps depends on how the file came
    // into the page cache, and a copy made just now is mapped almost whole.
    println!("{:<24}{:>9.1}{:>9}", "RSS idle, MiB", mib(idle), 10);
    println!("{:<24}{:>9.1}{:>9}", "  its own memory", mib(idle_own), "");
    println!("{:<24}{:>9.1}{:>9}", "RSS after boots, MiB", mib(after), 20);
    println!("{:<24}{:>9.1}{:>9}", "  its own memory", mib(after_own), "");
    println!("{:<24}{:>9.1}{:>9}", "start to ready, ms", milliseconds(starts[STARTS / 2]), 50);
    Ok(())
}

/// All machines, from discover to the last byte of the initrd; the bytes each was given.
fn boot_all(lab: &mut Lab) -> Result<usize, Failure> {
    let desk = lab.desk("desk", "02:00:00:00:77:09")?;
    desk.run("ip address add 10.77.0.9/16 dev eth0")?;
    let next = AtomicU16::new(0);
    let bytes = AtomicUsize::new(0);
    let walk = || -> Result<(), Failure> {
        let socket = port_68()?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= MACHINES {
                return Ok(());
            }
            let walker = Walker::number(number, Ipv4Addr::BROADCAST);
            bytes.store(walker.boot(&socket, 80)?, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let walkers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| desk.enter(walk)?)).collect();
        for walker in walkers {
            walker.join().expect("a walker does not panic")?;
        }
        Ok::<_, Failure>(())
    })?;
    Ok(bytes.into_inner())
}

/// A figure of `/proc/PID/status` that is given in kB, in bytes.
fn resident(pid: u32, name: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| {
            let figure = line.strip_prefix(name)?.strip_prefix(':')?;
            figure.trim().strip_suffix(" kB")?.trim().parse().ok()
        })
        .map(|kibibytes: u64| kibibytes << 10)
        .ok_or_else(|| Failure::new(format!("no {name} in /proc")))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
