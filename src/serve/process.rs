//! All about being a process: signals, readiness, limits.

use std::{io, pin::pin};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How much longer systemd waits after each sign of life, in microseconds.
const EXTENSION: u32 = 60_000_000;

/// What the outside asks of us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Request {
    /// SIGHUP: read the config again.
    Reload,
    /// SIGTERM or SIGINT: finish what goes on, then end.
    Stop,
}

/// The signals we answer to.
#[derive(Debug)]
pub(super) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    /// Whether a reload was asked for where none could begin.
    missed_reload: bool,
}

impl Signals {
    /// Takes the signals over from the system's own handling.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            missed_reload: false,
        })
    }

    /// Waits for this, or for a stop: then there is nothing.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                request = self.next() => match request {
                    Request::Reload => self.missed_reload = true,
                    Request::Stop => {
                        notify_stopping();
                        tracing::info!("stopped before it was ready");
                        return None;
                    }
                },
            }
        }
    }

    /// Whether a reload was asked for meanwhile.
    pub(super) fn take_missed_reload(&mut self) -> bool {
        std::mem::take(&mut self.missed_reload)
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.hangup.recv() => Request::Reload,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.terminate.recv() => Request::Stop,
        }
    }
}

/// Tells systemd, where it started us, that machines can be booted now.
pub(super) fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that the config is being read again; [`notify_ready`] ends it.
pub(super) fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Tells systemd that a start or a reload goes on, and is not stuck.
pub(super) fn notify_busy() {
    notify(&[NotifyState::ExtendTimeoutUsec(EXTENSION)]);
}

/// Tells systemd that we are on the way out.
pub(super) fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell, and nothing depends on it.
    let _ = sd_notify::notify(states);
}

/// Lets this process hold as many files and connections as the system allows: the usual soft limit
/// of 1024 is less than what idle connections may take.
pub(super) fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}
