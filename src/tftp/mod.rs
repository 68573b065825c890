//! TFTP, read-only: RFC 1350 with the options of RFC 2347 to 2349 and the windows of RFC 7440.
//!
//! Decides what a datagram means and what is sent next; never opens a file, a socket or a clock.
//!
//! ```text
//! port 69    datagram → answer() → Open(ReadRequest) | Refuse(Refusal) | Ignore(Reason)
//! own port   ReadRequest, size, now → Session::start → Send(Flight)
//!            datagram | time-out, now → Session      → Send(Flight) | Wait | End(how)
//! ```

mod reply;
mod request;
mod session;
mod timer;

pub use reply::{Code, data_header, error};
pub use request::{OptionName, ReadRequest, Reason, Refusal, file_name};
pub use session::{Action, Flight, Session};

/// What becomes of a datagram that came to the service's port.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nothing is sent.
    Ignore(Reason),
    /// A file is asked for: a session may begin.
    Open(ReadRequest),
    /// An ERROR is sent, and that is all.
    Refuse(Refusal),
}

/// Reads a datagram that came to the service's port.
pub fn answer(datagram: &[u8]) -> Answer {
    request::read(datagram)
}
