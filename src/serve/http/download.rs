//! One file on its way to one client, and the one line about it when it ends.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::Notify;

use super::{super::journal::Journal, evidence::Evidence, wire::Line};
use crate::trace::{End, Protocol, Step, Transfer, Who};

/// Shared by the body and the chunks that hyper holds of it; the last to go writes the line.
pub(super) struct Download {
    journal: Journal,
    peer: SocketAddr,
    line: Arc<Line>,
    file: String,
    size: u64,
    sent: AtomicU64,
    /// Rings when the kernel has taken more.
    news: Notify,
    end: OnceLock<End>,
    /// What it means for an installation that it is complete.
    evidence: Option<Evidence>,
    started: Instant,
}

impl Download {
    pub(super) fn new(
        journal: Journal,
        peer: SocketAddr,
        line: Arc<Line>,
        file: String,
        size: u64,
        started: Instant,
    ) -> Self {
        let (sent, end) = (AtomicU64::new(0), OnceLock::new());
        let (news, evidence) = (Notify::new(), None);
        Self { journal, peer, line, file, size, sent, news, end, evidence, started }
    }

    /// The same, that tells the ledger when it is complete.
    pub(super) fn with(mut self, evidence: Option<Evidence>) -> Self {
        self.evidence = evidence;
        self
    }

    /// Waits until the kernel has taken so many bytes.
    pub(super) async fn taken(&self, bytes: u64) {
        loop {
            let news = self.news.notified();
            if self.sent.load(Ordering::Relaxed) >= bytes {
                return;
            }
            news.await;
        }
    }

    /// Counts bytes that the kernel took.
    pub(super) fn sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        self.news.notify_waiters();
    }

    /// Settles how it ends, unless that is settled.
    pub(super) fn ends(&self, end: End) {
        // The first word counts.
        let _ = self.end.set(end);
    }

    fn end(&self, sent: u64) -> End {
        if let Some(end) = self.end.get() {
            return end.clone();
        }
        if sent == self.size {
            return End::Complete;
        }
        let left = || End::Abort { reason: "it closed the connection".to_owned() };
        self.line.fault().cloned().unwrap_or_else(left)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let bytes = self.sent.load(Ordering::Relaxed);
        // Boots are told apart by IPv4 addresses, the only ones a ProxyDHCP client has.
        let IpAddr::V4(address) = self.peer.ip() else { return };
        let end = self.end(bytes);
        if let (End::Complete, Some(evidence)) = (&end, &self.evidence) {
            evidence.is_complete();
        }
        let transfer = Transfer {
            protocol: Protocol::Http,
            file: std::mem::take(&mut self.file),
            end,
            bytes,
            size: self.size,
            took: self.started.elapsed(),
        };
        self.journal.step(Who::Address(address), &Step::Transfer(transfer));
    }
}
