//! Debian's clients: curl, tftp-hpa and atftp.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::service::Service;

const MIB: usize = 1 << 20;

/// Runs a client for at most a minute; it fetches `name` into `to`.
fn fetch(command: &[&str], to: &Path, expected: &[u8]) {
    let _ = fs::remove_file(to);
    let output = Command::new("timeout").arg("60").args(command).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {} {said}", output.status);
    assert!(fs::read(to).unwrap() == expected, "{command:?} got another file: {said}");
}

fn curl(service: &Service, name: &str, options: &[&str], expected: &[u8]) {
    let to = received(service, "curl");
    let url = format!("tftp://{}/{name}", service.v4());
    let command = ["curl", "-sS", "-o", to.to_str().unwrap(), &url];
    fetch(&[&command[..], options].concat(), &to, expected);
}

fn tftp_hpa(service: &Service, name: &str, expected: &[u8]) {
    let to = received(service, "tftp-hpa");
    let (port, file) = (service.port(), to.to_str().unwrap());
    let command = ["tftp", "-m", "binary", "127.0.0.1", &port, "-c", "get", name, file];
    fetch(&command, &to, expected);
}

fn atftp(service: &Service, name: &str, options: &[&str], expected: &[u8]) {
    let to = received(service, "atftp");
    let (port, file) = (service.port(), to.to_str().unwrap());
    let mut command = vec!["atftp", "-g", "-r", name, "-l", file];
    for option in options {
        command.extend(["--option", option]);
    }
    command.extend(["127.0.0.1", &port]);
    fetch(&command, &to, expected);
}

fn received(service: &Service, client: &str) -> PathBuf {
    service.root.join(format!("received-by-{client}"))
}

#[test]
fn curl_fetches_32_mib_with_and_without_options() {
    let service = Service::start();
    let expected = service.file("big", 32 * MIB);
    curl(&service, "big", &[], &expected);
    curl(&service, "big", &["--tftp-blksize", "1468"], &expected);
    curl(&service, "big", &["--tftp-no-options"], &expected);
}

#[test]
fn tftp_hpa_fetches_32_mib() {
    let service = Service::start();
    let expected = service.file("big", 32 * MIB);
    tftp_hpa(&service, "big", &expected);
}

#[test]
fn atftp_fetches_32_mib_with_each_window() {
    let service = Service::start();
    let expected = service.file("big", 32 * MIB);
    for window in ["windowsize 1", "windowsize 4", "windowsize 16", "windowsize 64"] {
        atftp(&service, "big", &["blksize 1468", window], &expected);
    }
    atftp(&service, "big", &[], &expected);
}

#[test]
fn exact_multiples_and_empty_files_end_where_they_should() {
    let service = Service::start();
    for (name, length) in
        [("empty", 0), ("one", 1), ("512", 512), ("1468", 1468 * 64), ("511", 511)]
    {
        let expected = service.file(name, length);
        curl(&service, name, &[], &expected);
        curl(&service, name, &["--tftp-blksize", "1468"], &expected);
        tftp_hpa(&service, name, &expected);
        for window in ["windowsize 1", "windowsize 4", "windowsize 16", "windowsize 64"] {
            atftp(&service, name, &["blksize 1468", window], &expected);
        }
    }
}

/// Block numbers wrap to 0 after 65535.
#[test]
fn more_than_65535_blocks_are_no_obstacle() {
    let service = Service::start();
    let expected = service.file("long", 33 * MIB + 5);
    curl(&service, "long", &[], &expected);
    tftp_hpa(&service, "long", &expected);
    atftp(&service, "long", &[], &expected);
    atftp(&service, "long", &["windowsize 16"], &expected);
    let expected = service.file("longer", 65536 * 512 * 2);
    atftp(&service, "longer", &["windowsize 64"], &expected);
}
