//! The events of one boot, and the words for them.
//!
//! A [`Step`] is what one protocol saw or did; [`Boots`] says which boot it belongs to, and where one
//! stopped; a [`Finding`] is about another server. All log wording lives in this folder; writing it
//! out is `serve::journal`'s part.

mod boots;
mod finding;
mod step;
mod stop;
mod throttle;
mod watch;

use std::time::Duration;

pub use boots::{BootId, Boots, Fetched, Heading, Who};
pub use finding::Finding;
pub use step::{End, Prospect, Protocol, Stage, Step, Transfer};
pub use stop::{Heard, Knows, Stop};
pub use throttle::Throttle;

/// A lease that is taken later after our last offer is that of the system on its disk.
pub const BELONGS_TOGETHER: Duration = Duration::from_secs(60);
