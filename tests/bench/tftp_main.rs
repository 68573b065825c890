//! Runs the TFTP tables alone: `cargo bench --bench tftp [-- --quick]`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tables are its output")]

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
