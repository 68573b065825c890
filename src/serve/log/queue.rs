//! Log lines on their way out, through a thread of their own.
//!
//! Whoever reads them may be slow or have stopped: a line that finds no room is counted and let go,
//! and nobody who boots machines waits for it.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Bytes that may wait: more than the lines that the journal admits at once.
const ROOM: usize = 4 << 20;
/// What is kept of that for the next lines.
const KEPT: usize = 64 << 10;
/// How long lines gather. Woken for each of them, the thread would take the core away from those
/// who answer machines.
const GATHER: Duration = Duration::from_millis(2);
/// How long the end waits for whoever reads.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where lines are put. Clones put them into the same queue.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

/// Writes what waits when it goes.
pub struct Guard(Queue);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    lost: u64,
    is_over: bool,
    is_written: bool,
}

/// Starts the thread; `tell` says how many lines were lost, as a line of its own.
pub(super) fn start(
    out: impl Write + Send + 'static,
    tell: impl Fn(u64) + Send + 'static,
) -> (Queue, Guard) {
    let queue = Queue(Arc::default());
    let writer = queue.clone();
    thread::spawn(move || writer.run(out, tell));
    (queue.clone(), Guard(queue))
}

impl Queue {
    /// Writes what gathers, until the guard is gone and nothing waits.
    fn run(&self, mut out: impl Write, tell: impl Fn(u64)) {
        let Shared { waiting, changed } = &*self.0;
        let mut batch = Vec::new();
        loop {
            let is_idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.is_over;
            let mut now =
                changed.wait_while(lock(waiting), is_idle).unwrap_or_else(PoisonError::into_inner);
            if now.bytes.is_empty() {
                now.is_written = true;
                changed.notify_all();
                return;
            }
            let gathers = |waiting: &mut Waiting| !waiting.is_over;
            now = changed
                .wait_timeout_while(now, GATHER, gathers)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            mem::swap(&mut batch, &mut now.bytes);
            let lost = mem::take(&mut now.lost);
            drop(now);
            // There is nobody to tell where this fails.
            let _ = out.write_all(&batch);
            batch.clear();
            batch.shrink_to(KEPT);
            if lost > 0 {
                tell(lost);
            }
        }
    }
}

impl Write for Queue {
    /// Takes a whole line, or counts it as lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = lock(&self.0.waiting);
        if waiting.bytes.len() + line.len() > ROOM {
            waiting.lost += 1;
            return Ok(line.len());
        }
        if waiting.bytes.is_empty() {
            self.0.changed.notify_all();
        }
        waiting.bytes.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Shared { waiting, changed } = &*self.0.0;
        let mut now = lock(waiting);
        now.is_over = true;
        changed.notify_all();
        drop(changed.wait_timeout_while(now, PATIENCE, |waiting| !waiting.is_written));
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        time::Instant,
    };

    use super::*;

    /// Shows what is written, and holds it until it is let go.
    struct Held {
        go: Receiver<()>,
        seen: Sender<Vec<u8>>,
    }

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.seen.send(bytes.to_vec()).map_err(io::Error::other)?;
            self.go.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn held() -> (Held, Sender<()>, Receiver<Vec<u8>>) {
        let (let_go, go) = channel();
        let (seen, written) = channel();
        (Held { go, seen }, let_go, written)
    }

    #[test]
    fn lines_are_written_in_order_and_whole_when_the_guard_goes() {
        let (out, go, written) = held();
        let (mut queue, guard) = start(out, |_| panic!("nothing is lost"));
        let mut expected = Vec::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            queue.write_all(line.as_bytes()).unwrap();
            expected.extend(line.bytes());
            go.send(()).unwrap();
        }
        drop(guard);
        assert_eq!(written.try_iter().flatten().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn who_writes_never_waits_for_who_reads_and_what_was_lost_is_told() {
        let (out, go, written) = held();
        let (told, lost) = channel();
        let (mut queue, guard) = start(out, move |lines| told.send(lines).unwrap());
        let began = Instant::now();
        let line = [b'x'; 1024];
        queue.write_all(&line).unwrap();
        assert_eq!(written.recv().unwrap(), line);
        for _ in 0..ROOM / line.len() + 7 {
            queue.write_all(&line).unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        for _ in 0..2 {
            go.send(()).unwrap();
        }
        drop(guard);
        assert_eq!(written.try_iter().map(|bytes| bytes.len()).sum::<usize>(), ROOM);
        assert_eq!(lost.try_iter().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn the_end_waits_for_who_holds_the_lines_no_longer_than_said() {
        let (out, _go, _written) = held();
        let (mut queue, guard) = start(out, |_| {});
        queue.write_all(b"a line\n").unwrap();
        let began = Instant::now();
        drop(guard);
        assert!((PATIENCE..PATIENCE * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
