//! The only code with sockets, tasks, a clock and files.
//!
//! Each service here reads a packet or request, asks its pure twin what to do, and does that.

pub mod drain;
pub mod journal;
pub mod site;
pub mod store;
pub mod tftp;
