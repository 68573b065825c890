//! The commands and their options; help, man page and shell completions are generated from here.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::serve::log::Format;

/// Boots every machine on a VLAN from power-on: ProxyDHCP, TFTP and HTTP in one process, beside
/// the DHCP server that is already there.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Start here:\n  \
        1. Put kernel and initrd below /var/lib/bootbox.\n  \
        2. Write /etc/bootbox/bootbox.toml: a [[profile]] with kernel, initrd and args, and a \
        [[group]] that gives it to machines.\n  \
        3. bootbox check\n  \
        4. bootbox serve, and power a machine on.\n\n\
        BOOTBOX_LOG=debug in the environment logs what is ignored, too.\n\n\
        machines, machine, installed, reinstall, hold, release and forget ask the running server, over the \
        [control] socket of its config; only root and the server's own user may.\n\n\
        Exit codes: 0 done; 1 the answer is no: no group matches, the machine has not been seen or \
        is not held, a release is not whole, no machine can boot on the LAN; 64 wrong usage; 69 no server runs; 70 a service \
        failed, the ledger is damaged, or the running server is of another release; 71 a port or the \
        control socket is taken, the ledger cannot be written or the system refuses; 77 a capability or \
        the right to the control socket is missing; 78 the config is wrong."
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find what is wrong with the config, its files, interfaces and ports, and serve nothing.
    Check(super::check::Options),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Say which group a machine is in and why, and print its script and configs; 1 if in none.
    Explain(super::explain::Options),
    /// Treat a machine as new: it is INSTALLED, and its disk wiped, at its next network boot if a
    /// group with an installing profile matches it. Says so first, and asks.
    Forget(super::orders::ForgetOptions),
    /// Install nothing on a machine until it is released, whatever its group says. It boots its own
    /// disk, whoever installed it. Where an installation of ours has begun and is not complete, it
    /// waits, with the reason on its console. The machine need not have been seen yet.
    Hold(super::orders::HoldOptions),
    /// List the CoreOS and Flatcar releases in the repository, up to 8 folders deep; 1 if one is
    /// incomplete or badly signed.
    Images(super::images::Options),
    /// Say that machines are installed, by bootbox or by somebody else: they boot their own disks,
    /// and nothing is installed on them. Takes back a mistaken reinstall. They need not have been
    /// seen yet.
    Installed(super::orders::InstalledOptions),
    /// Tell all that is known of a machine: its state, what its next network boot comes to, and its
    /// history; 1 if it has not been seen.
    Machine(super::machines::OneOptions),
    /// List the machines that the running server has seen, and how far each has come.
    Machines(super::machines::ListOptions),
    /// Print the man page.
    Man,
    /// Install a machine once more at its next network boot, which wipes its disk. Does not ask.
    Reinstall(super::orders::Options),
    /// Take a hold away: the machine boots its own disk, and counts as installed. A release wipes
    /// nothing: where nothing is on that disk, use reinstall. 1 if it is not held.
    Release(super::orders::Options),
    /// Serve until SIGTERM or Ctrl-C; SIGHUP reads the config again. Logs to standard error.
    Serve {
        /// The config [default: /etc/bootbox/bootbox.toml if it is there, else built-in defaults]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// How log lines are written: for people, or one JSON object a line.
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
        log_format: LogFormat,
    },
    /// Print the govc commands, and the .vmx lines, for VMware VMs that boot from here.
    ///
    /// They make a template, and a VM of it for each machine that a group names. Nothing is run:
    /// read them, and paste them into a shell that has govc. docs/vmware.md explains each step.
    Vmware(super::vmware::Options),
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One readable line a step.
    #[default]
    Text,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Text => Self::Text,
        }
    }
}
