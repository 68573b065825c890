//! How a command finds the running server, and what its answers mean for the exit code.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{CONFIG, NOT_SO, PERMISSION, SOFTWARE, SYSTEM, UNAVAILABLE, fail, machines::plain};
use crate::{
    control::{Refusal, Request, Sheet},
    serve::{
        control::link::{AskError, ask},
        site::Site,
    },
};

#[derive(Debug, Args)]
pub(super) struct Server {
    /// The config that the running server was started with [default: /etc/bootbox/bootbox.toml if it
    /// is there, else built-in defaults]; only its [control] socket is read.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Server {
    /// The machines that the answer is about; what went wrong has been said.
    pub(super) fn ask(&self, request: &Request) -> Result<Vec<Sheet>, ExitCode> {
        let socket =
            Site::control_socket(self.config.as_deref()).map_err(|error| fail(CONFIG, &error))?;
        if let Some(note) = &socket.note {
            // Where standard error is closed, the answer still comes.
            let _ = writeln!(io::stderr(), "bootbox: note: {}", plain(note));
        }
        // A refusal may quote what stands in the ledger.
        ask(&socket.path, request).map_err(|error| fail(code(&error), &plain(&error.to_string())))
    }

    /// The one machine that the answer is about.
    pub(super) fn ask_one(&self, request: &Request) -> Result<Sheet, ExitCode> {
        match self.ask(request)?.pop() {
            Some(sheet) => Ok(sheet),
            None => Err(fail(SOFTWARE, &"the server told of no machine; restart it")),
        }
    }
}

fn code(error: &AskError) -> u8 {
    match error {
        AskError::Lost { .. } | AskError::Nobody { .. } => UNAVAILABLE,
        AskError::Permission { .. } => PERMISSION,
        AskError::Refused(refusal) => match refusal {
            Refusal::Failed(_) | Refusal::NoLedger => SYSTEM,
            Refusal::NewAnyway(_)
            | Refusal::NotHeld(_)
            | Refusal::Several(..)
            | Refusal::Shared(_)
            | Refusal::Unknown(_) => NOT_SO,
            Refusal::NotPermitted { .. } => PERMISSION,
            Refusal::OtherVersion { .. } | Refusal::Unreadable(_) => SOFTWARE,
        },
    }
}
