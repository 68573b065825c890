//! `bootbox serve`: the server, on a runtime of its own.

use std::{path::PathBuf, process::ExitCode};

use super::{SYSTEM, exit_code, fail};
use crate::serve::{
    self,
    log::{self, Format},
};

pub(super) fn run(config: Option<PathBuf>, format: Format) -> ExitCode {
    let _log = log::start(format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(SYSTEM, &error),
    };
    let ended = runtime.block_on(serve::run(config));
    // A read from a dead disk may hang for ever; the process does not wait for it.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.to_string().lines().for_each(|line| tracing::error!("{line}"));
            exit_code(&error).into()
        }
    }
}
