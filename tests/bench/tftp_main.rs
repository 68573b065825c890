//! Runs the TFTP tables alone: `cargo bench --bench tftp [-- PROGRAM ARGUMENTS…]`.
//!
//! PROGRAM is started in place of the service in this binary; it serves what is in its folder at
//! 127.0.69.1, port 69.

mod tftp;

use std::{io, process::ExitCode};

fn main() -> ExitCode {
    match tables() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn tables() -> io::Result<()> {
    if tftp::serve_if_asked()? {
        return Ok(());
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    tftp::run(&|folder, address| tftp::in_this_binary("bootbox", folder, address), quick)
}
