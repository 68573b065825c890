//! What is served now: replaced whole when the config is read again.

use super::store::Store;

/// One config and the folders it names. A request keeps the site it began with.
#[derive(Debug)]
pub struct Site {
    /// The files.
    pub store: Store,
}
