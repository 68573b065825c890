//! Work that takes long, beside the threads that serve.

use std::{io, thread, time::Duration};

use tokio::{runtime::Handle, sync::oneshot, time::interval};

use super::process;

/// How often systemd is told that we are still at it; each time it waits longer.
const STILL_AT_IT: Duration = Duration::from_secs(5);

/// Does it on a thread of its own, which nobody waits for who is told to stop.
pub(super) async fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (answer, mut answered) = oneshot::channel();
    let runtime = Handle::current();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _runtime = runtime.enter();
        // It is of no use to anybody after a stop.
        let _ = answer.send(work());
    })?;
    let mut still = interval(STILL_AT_IT);
    loop {
        tokio::select! {
            done = &mut answered => {
                return done.map_err(|_| io::Error::other(format!("{name} has panicked")));
            }
            _ = still.tick() => process::notify_busy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_stop_does_not_wait_for_what_is_loaded() {
        let began = Instant::now();
        let slow = aside("slow", || thread::sleep(Duration::from_secs(600)));
        let is_stopped = tokio::select! {
            _ = slow => false,
            () = tokio::time::sleep(Duration::from_millis(50)) => true,
        };
        assert!(is_stopped && began.elapsed() < Duration::from_secs(60));
        assert_eq!(aside("quick", || 7).await.unwrap(), 7);
        assert!(aside("bad", || -> u8 { panic!("on purpose") }).await.is_err());
    }
}
