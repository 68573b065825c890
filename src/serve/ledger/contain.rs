//! Keeps a panic of the database inside, and off standard error.
//!
//! redb takes for granted in places that a file is what it wrote, and panics where it is not. That
//! is a damaged file, not a bug of ours: the caller says so in one line. So the panic is caught,
//! and the hook that would print it first is left out on this thread, for as long as redb runs.
//! Panics of other threads, and of this one at any other time, are printed as ever.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// The database panicked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Panicked;

/// Runs what calls the database.
pub(super) fn contain<T>(database: impl FnOnce() -> T) -> Result<T, Panicked> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| match CONTAINED.get() {
            true => tracing::debug!("the ledger's database: {panicked}"),
            false => before(panicked),
        }));
    });
    let outer = CONTAINED.replace(true);
    let ended = panic::catch_unwind(AssertUnwindSafe(database));
    CONTAINED.set(outer);
    ended.map_err(|_| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_no_more() {
        assert_eq!(contain(|| 7), Ok(7));
        let inner = || contain(|| -> u8 { panic!("as this test wants") });
        assert_eq!(inner(), Err(Panicked));
        assert_eq!(contain(inner), Ok(Err(Panicked)));
        assert!(!CONTAINED.get(), "panics are printed again");
    }
}
