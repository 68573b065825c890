//! The signal to finish: take nothing new, end what goes on.

use tokio::sync::watch;

/// Held by whoever may end the service.
#[derive(Debug)]
pub struct Tap(watch::Sender<bool>);

/// Watched by each service.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

/// A tap, and the drain that hears it.
pub fn channel() -> (Tap, Drain) {
    let (tap, drain) = watch::channel(false);
    (Tap(tap), Drain(drain))
}

impl Tap {
    /// Asks every service to finish.
    pub fn open(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Returns once the services are asked to finish, at once if they were already.
    pub async fn begun(&mut self) {
        // A dropped tap means that the process ends anyway.
        let _ = self.0.wait_for(|open| *open).await;
    }
}
