//! The events of one boot, and the words for them.
//!
//! A [`Step`] is what one protocol saw or did; [`Boots`] says which boot it belongs to. All log
//! wording lives in this folder; writing it out is `serve::journal`'s part.

mod boots;
mod step;
mod throttle;

pub use boots::{BootId, Boots, Heading, Who};
pub use step::{End, Protocol, Stage, Step, Transfer};
pub use throttle::Throttle;
