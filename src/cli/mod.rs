//! The command line: one file a command, and the exit code each ending has.

mod args;
mod check;
mod explain;
mod images;
mod lan;
mod link;
mod machines;
mod man;
mod orders;
mod serve;
mod vmware;
mod when;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};

use crate::serve::ServeError;
use args::{Args, Command};

/// sysexits(3) has no code for it: the question was answered, with no.
const NOT_SO: u8 = 1;
/// sysexits(3): the command was used wrongly.
const USAGE: u8 = 64;
/// sysexits(3): no server runs.
const UNAVAILABLE: u8 = 69;
/// sysexits(3): something that must not happen did.
const SOFTWARE: u8 = 70;
/// sysexits(3): the system refuses what it always gives.
const SYSTEM: u8 = 71;
/// sysexits(3): a capability or a right is missing.
const PERMISSION: u8 = 77;
/// sysexits(3): the config, or what it names, is wrong.
const CONFIG: u8 = 78;

/// Reads the command line, does what it says, and tells the exit code.
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // To the terminal that asked; when it is gone, so is the reader.
            let _ = error.print();
            return match error.use_stderr() {
                true => USAGE.into(),
                false => ExitCode::SUCCESS,
            };
        }
    };
    match args.command {
        Command::Check(options) => check::run(&options),
        Command::Completions { shell } => {
            let mut command = Args::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "bootbox", &mut script);
            print(&script)
        }
        Command::Explain(options) => explain::run(&options),
        Command::Forget(options) => orders::forget(&options),
        Command::Hold(options) => orders::hold(&options),
        Command::Images(options) => images::run(&options),
        Command::Installed(options) => orders::installed(&options),
        Command::Machine(options) => machines::one(&options),
        Command::Machines(options) => machines::list(&options),
        Command::Man => match man::page() {
            Ok(page) => print(&page),
            Err(error) => fail(SOFTWARE, &error),
        },
        Command::Reinstall(options) => orders::reinstall(&options),
        Command::Release(options) => orders::release(&options),
        Command::Serve { config, log_format } => serve::run(config, log_format.into()),
        Command::Vmware(options) => vmware::run(&options),
    }
}

fn print(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        // `bootbox man | head` closes the pipe, and that is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(SYSTEM, &error),
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    // Where standard error is closed, only the code is left to tell.
    let _ = writeln!(io::stderr(), "bootbox: {error}");
    code.into()
}

fn exit_code(error: &ServeError) -> u8 {
    match error {
        ServeError::Bind(error) if error.is_permission() => PERMISSION,
        ServeError::Bind(_) | ServeError::Control(_) | ServeError::Io(_) => SYSTEM,
        ServeError::Interface(_) | ServeError::Site(_) => CONFIG,
        ServeError::Ledger(error) if error.is_about_the_file() => SOFTWARE,
        ServeError::Ledger(_) => CONFIG,
        ServeError::Service(_) => SOFTWARE,
    }
}
