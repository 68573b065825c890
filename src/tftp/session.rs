//! One transfer, from the read request to its end: a datagram or a time-out in, what to send out.
//!
//! Names blocks, never holds them: the caller reads their bytes and sends them. The clock is an
//! argument. Blocks are counted from 1 without wrapping here; on the wire they wrap to 0.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{
    reply,
    request::{OptionName, ReadRequest, file_name},
    timer::Timer,
};
use crate::trace::End;

/// Bytes in a block where the client does not ask for another size, RFC 1350.
const PLAIN_BLOCK: u64 = 512;
/// Smallest block size that may be asked for, RFC 2348.
const SMALLEST_BLOCK: u64 = 8;
/// What IPv4, UDP and TFTP put before a block, RFC 2348 appendix: 20 + 8 + 4 bytes.
const HEADERS: u16 = 32;
/// More blocks than this in a row overrun the small receive rings of boot ROMs; u-root's limit.
const WIDEST_WINDOW: u64 = 64;
/// Time-outs in seconds that are agreed to; a longer one would hold a dead transfer for minutes.
const TIME_OUTS: Range<u64> = 1..11;

/// How often a request that is sent again is answered again: no more than our own timer would.
const MOST_REPEATS: u32 = 4;
const ACK: u16 = 4;
const ERROR: u16 = 5;
/// Error code "User aborted the transfer": EDK2 ends its size probe with it; Intel's ROM with 0.
const USER_ABORT: u16 = 8;

/// One transfer.
#[derive(Debug)]
pub struct Session {
    size: u64,
    block_size: u64,
    window: u64,
    /// The OACK, where an option was agreed.
    oack: Option<Vec<u8>>,
    /// Whether the OACK told the file's size: a client may have come for that alone.
    tells_size: bool,
    /// How often its request was answered again.
    repeats: u32,
    /// Whether the client has answered; until then its address may be made up.
    proven: bool,
    /// Blocks acknowledged and blocks sent, from the first one on.
    acked: u64,
    sent: u64,
    /// Whether some block after `acked` was sent twice, and whether `acked` itself was.
    resent: bool,
    echoes: bool,
    started: Instant,
    timer: Timer,
}

/// What the caller does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The transfer is over; nothing more is sent.
    End(End),
    /// Send this.
    Send(Flight),
    /// Wait for a datagram or the deadline.
    Wait,
}

/// Datagrams that leave together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Flight {
    /// These blocks, each as a DATA packet: [`reply::data_header`], then [`Session::bytes_of`].
    Blocks(Range<u64>),
    /// [`Session::oack`].
    Oack,
}

impl Session {
    /// Begins a transfer of `size` bytes, in blocks that fit a network of `mtu` bytes.
    pub fn start(request: &ReadRequest, size: u64, mtu: u16, now: Instant) -> (Self, Action) {
        let largest = u64::from(mtu.saturating_sub(HEADERS)).max(SMALLEST_BLOCK);
        let mut session = Self {
            size,
            block_size: PLAIN_BLOCK.min(largest),
            window: 1,
            oack: None,
            tells_size: false,
            proven: false,
            repeats: 0,
            acked: 0,
            sent: 0,
            resent: false,
            echoes: false,
            started: now,
            timer: Timer::new(now),
        };
        let mut agreed: Vec<(&[u8], u64)> = Vec::new();
        for asked in &request.options {
            if let Some(value) = session.agree(asked.option, asked.value, largest) {
                agreed.push((&asked.written, value));
            }
        }
        if !agreed.is_empty() {
            session.oack = Some(reply::oack(agreed.into_iter()));
        }
        let first = session.send_first(now);
        (session, first)
    }

    /// Takes a datagram from the client.
    pub fn take(&mut self, datagram: &[u8], now: Instant) -> Action {
        let Some((&[a, b, c, d], text)) = datagram.split_first_chunk::<4>() else {
            return Action::Wait;
        };
        let number = u16::from_be_bytes([c, d]);
        match u16::from_be_bytes([a, b]) {
            ACK => self.acknowledge(number, now),
            ERROR => Action::End(self.aborted(number, text)),
            // A reader sends nothing else; what it is does not disturb the transfer.
            _ => Action::Wait,
        }
    }

    /// Called at the deadline: sends the window again, or gives up.
    pub fn time_out(&mut self, now: Instant) -> Action {
        if now < self.timer.deadline() {
            return Action::Wait;
        }
        if self.timer.is_over(self.proven, now) {
            return Action::End(End::TimeOut);
        }
        self.timer.back_off();
        self.send_again(now)
    }

    /// The same request came again before anything was acknowledged: our answer was lost.
    pub fn repeat(&mut self, now: Instant) -> Action {
        if self.acked > 0 || self.proven || self.repeats >= MOST_REPEATS {
            return Action::Wait;
        }
        self.repeats += 1;
        self.send_again(now)
    }

    /// Whether the client has acknowledged something.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// When [`Session::time_out`] is to be called.
    pub fn deadline(&self) -> Instant {
        self.timer.deadline()
    }

    /// When the transfer began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The OACK; empty where no option was agreed.
    pub fn oack(&self) -> &[u8] {
        self.oack.as_deref().unwrap_or_default()
    }

    /// Bytes in every block but the last.
    pub fn block_size(&self) -> u64 {
        self.block_size
    }

    /// Whether more than one block leaves at a time.
    pub fn has_window(&self) -> bool {
        self.window > 1
    }

    /// Where in the file these blocks are.
    pub fn bytes_of(&self, blocks: Range<u64>) -> Range<u64> {
        let start = blocks.start.saturating_sub(1) * self.block_size;
        let end = blocks.end.saturating_sub(1) * self.block_size;
        start.min(self.size)..end.min(self.size)
    }

    /// Whether the last block is among these: the moment to see whether the file is still whole.
    pub fn ends_with(&self, blocks: &Range<u64>) -> bool {
        blocks.contains(&self.last())
    }

    /// Bytes of the file that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        (self.acked * self.block_size).min(self.size)
    }

    fn agree(&mut self, option: OptionName, value: u64, largest: u64) -> Option<u64> {
        match option {
            OptionName::BlockSize => {
                self.block_size = (value >= SMALLEST_BLOCK).then(|| value.min(largest))?;
                Some(self.block_size)
            }
            OptionName::TimeOut => {
                TIME_OUTS.contains(&value).then(|| self.timer.agree(Duration::from_secs(value)))?;
                Some(value)
            }
            OptionName::TransferSize => {
                // curl takes a size of 0 for an error (7.88, exit 71); every client here reads an
                // empty file whose size it was not told.
                self.tells_size = self.size > 0;
                self.tells_size.then_some(self.size)
            }
            OptionName::WindowSize => {
                self.window = (value > 0).then(|| value.min(WIDEST_WINDOW))?;
                Some(self.window)
            }
        }
    }

    fn acknowledge(&mut self, number: u16, now: Instant) -> Action {
        // How far this is past the last acknowledged block, modulo the 16 bits of the wire.
        let ahead = u64::from(number.wrapping_sub(self.acked as u16));
        if ahead > self.sent - self.acked {
            return Action::Wait;
        }
        if ahead == 0 && (self.proven || self.oack.is_none()) {
            return self.acknowledge_again(now);
        }
        let whole = ahead == self.sent - self.acked;
        self.timer.progress(whole && !self.resent, now);
        self.proven = true;
        self.acked += ahead;
        // Blocks on their way twice make the client acknowledge twice.
        self.echoes = self.resent;
        self.resent = !whole;
        if self.acked == self.last() {
            return Action::End(End::Complete);
        }
        self.send_window(now)
    }

    /// A client repeats an ACK for each block that came out of order: the first of them means that
    /// the head of this window was lost. Those that only echo what we sent twice mean nothing; to
    /// answer them would send every block of the file twice, the Sorcerer's apprentice of RFC 1123
    /// section 4.2.3.1. Without windows nothing can come out of order, so the timer alone decides.
    fn acknowledge_again(&mut self, now: Instant) -> Action {
        if self.window == 1 || self.resent || self.echoes || self.timer.is_too_soon(now) {
            return Action::Wait;
        }
        self.send_again(now)
    }

    fn aborted(&self, code: u16, text: &[u8]) -> End {
        if self.tells_size && self.acked == 0 && matches!(code, 0 | USER_ABORT) {
            return End::Probe;
        }
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        End::Abort { reason: format!("error {code} {}", file_name(text)).trim_end().to_owned() }
    }

    fn send_first(&mut self, now: Instant) -> Action {
        if self.oack.is_some() {
            self.timer.sent(now);
            return Action::Send(Flight::Oack);
        }
        self.send_window(now)
    }

    fn send_again(&mut self, now: Instant) -> Action {
        self.resent = true;
        if self.proven { self.send_window(now) } else { self.send_first(now) }
    }

    fn send_window(&mut self, now: Instant) -> Action {
        self.timer.sent(now);
        self.sent = (self.acked + self.window).min(self.last());
        Action::Send(Flight::Blocks(self.acked + 1..self.sent + 1))
    }

    /// The last block's number; it is shorter than the others, empty where they fit exactly.
    fn last(&self) -> u64 {
        self.size / self.block_size + 1
    }
}

#[cfg(test)]
mod tests;
