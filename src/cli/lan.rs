//! `bootbox check --lan`: asks on the LAN as a machine that boots, and says who answered.

use std::{io, process::ExitCode};

use super::{CONFIG, NOT_SO, PERMISSION, SYSTEM, fail, print};
use crate::{
    lan::{Silence, Verdict},
    machine::Mac,
    serve::{ear, interface::Interface},
};

/// Asks on the interface of this name.
pub(super) fn look_at(name: &str) -> ExitCode {
    match Interface::named(name) {
        Ok(interface) => look(&[interface], |_| Silence::Unknown),
        Err(error) => fail(CONFIG, &error),
    }
}

/// Asks on each of these; the first thing that keeps machines from booting is the exit code.
/// `silence` says why bootbox may not answer a made-up machine.
pub(super) fn look(interfaces: &[Interface], silence: impl Fn(Mac) -> Silence) -> ExitCode {
    let mut told = ExitCode::SUCCESS;
    for interface in interfaces {
        // Without randomness the process id still tells two runs apart.
        let seed = getrandom::u32().unwrap_or_else(|_| std::process::id());
        let mut survey = match ear::survey(interface, seed) {
            Ok(survey) => survey,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let why = "asking on the LAN needs the capability CAP_NET_RAW: run it as root";
                return fail(PERMISSION, &format_args!("{interface}: {why}"));
            }
            Err(error) => return fail(SYSTEM, &format_args!("{interface}: {error}")),
        };
        if let Some(mac) = survey.probes().first().map(|probe| probe.mac) {
            survey.explain(silence(mac));
        }
        let printed = print(survey.to_string().as_bytes());
        if printed != ExitCode::SUCCESS {
            return printed;
        }
        match survey.verdict() {
            Verdict::Fine => {}
            Verdict::DhcpServerClaimsToBoot | Verdict::NoDhcpServer => told = NOT_SO.into(),
        }
    }
    told
}
