//! Log lines on their way out, through a thread of their own.
//!
//! Whoever reads them may be slow or have stopped: a line that finds no room is counted and let go,
//! and nobody who boots machines waits for it.

use std::{
    borrow::Cow,
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::{printable, token::Token};

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

/// Waits a second for what is still to be written when it goes.
#[must_use = "lines are written as long as it is there"]
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
        let (mut batch, mut lost, mut is_torn) = (Vec::new(), 0, false);
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
            lost += mem::take(&mut now.lost);
            drop(now);
            // The next line does not go on where the last one broke off.
            is_torn = is_torn && !write(&mut out, b"\n").is_empty();
            let left = if is_torn { &batch[..] } else { write(&mut out, &batch) };
            let written = &batch[..batch.len() - left.len()];
            is_torn |= !written.is_empty() && !written.ends_with(b"\n");
            lost += left.iter().filter(|&&byte| byte == b'\n').count() as u64;
            // Told where nothing is written, it would only be lost itself.
            if left.is_empty() && lost > 0 {
                tell(mem::take(&mut lost));
            }
            batch.clear();
            batch.shrink_to(KEPT);
        }
    }
}

impl Write for Queue {
    /// Takes a whole line, or counts it as lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = line.len();
        // A terminal may be what reads the JSON.
        let text = str::from_utf8(line).map(fit);
        let line = text.as_ref().map_or(line, |text| text.as_bytes());
        let mut waiting = lock(&self.0.waiting);
        if waiting.bytes.len() + line.len() > ROOM {
            waiting.lost += 1;
            return Ok(written);
        }
        if waiting.bytes.is_empty() {
            self.0.changed.notify_all();
        }
        waiting.bytes.extend_from_slice(line);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line without any token, whoever wrote it, and with nothing that a terminal acts on.
fn fit(line: &str) -> Cow<'_, str> {
    let shown = printable::in_json(line);
    match shown.contains(['~', '%']) {
        true => Token::hidden(&shown).into(),
        false => shown,
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

/// Writes as much as `out` takes; what is left where it fails. One that is merely full may take more
/// later.
fn write<'a>(out: &mut impl Write, bytes: &'a [u8]) -> &'a [u8] {
    let mut left = bytes;
    while !left.is_empty() {
        match out.write(left) {
            Ok(0) => break,
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(GATHER),
            Err(_) => break,
        }
    }
    left
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

    const LONG: Duration = Duration::from_secs(20);

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

    #[test]
    fn a_line_has_no_token_and_is_still_json() {
        let token = "00112233445566778899aabbccddeeff";
        let said = format!("GET \"/~{token}\" /%7E{token}/x?a=1 A\u{9b}2J \u{202e}B");
        let line = serde_json::json!({ "message": said, "file": format!("/~{token}") }).to_string();
        let shown = fit(&line);
        assert!(!shown.contains(token) && !shown.contains(printable::is_hidden), "{shown:?}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read["message"], "GET \"/~...\" /~.../x?a=1 A\u{9b}2J \u{202e}B");
        assert_eq!(read["file"], "/~...");
        assert!(!fit(&said).contains(token), "text");
        assert!(matches!(fit("{\"a\":1}"), Cow::Borrowed(_)));
    }

    fn held() -> (Held, Sender<()>, Receiver<Vec<u8>>) {
        let (let_go, go) = channel();
        let (seen, written) = channel();
        (Held { go, seen }, let_go, written)
    }

    /// What was written, until it is so much.
    fn bytes(written: &Receiver<Vec<u8>>, enough: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < enough {
            all.extend(written.recv_timeout(LONG).expect("more is written"));
        }
        all
    }

    /// A disk that is full for a while: what is let through is how many bytes fit into each write.
    struct Full(Receiver<usize>, Sender<Vec<u8>>);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.0.recv().map_err(io::Error::other)?.min(bytes.len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.send(bytes[..room].to_vec()).map_err(io::Error::other)?;
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_is_torn_ends_before_the_next_and_counts_as_lost() {
        let ((room, rooms), (seen, written)) = (channel(), channel());
        let (told, lost) = channel();
        let (mut queue, guard) = start(Full(rooms, seen), move |lines| told.send(lines).unwrap());
        queue.write_all(b"first\nsecond\nthird\n").unwrap();
        [8, 0].into_iter().for_each(|bytes| room.send(bytes).unwrap());
        assert_eq!(bytes(&written, 8), b"first\nse");
        assert_eq!(lost.recv_timeout(20 * GATHER).ok(), None, "it would be lost, too");
        queue.write_all(b"fourth\n").unwrap();
        for _ in 0..2 {
            room.send(usize::MAX).unwrap();
        }
        assert_eq!(bytes(&written, 8), b"\nfourth\n");
        assert_eq!(lost.recv_timeout(LONG), Ok(2));
        drop(guard);
    }

    #[test]
    fn lines_are_written_in_order_and_whole_when_the_guard_goes() {
        let (out, go, written) = held();
        let (told, lost) = channel();
        let (mut queue, guard) = start(out, move |lines| told.send(lines).unwrap());
        let mut expected = Vec::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            queue.write_all(line.as_bytes()).unwrap();
            expected.extend(line.bytes());
            go.send(()).unwrap();
        }
        drop(guard);
        assert_eq!(bytes(&written, expected.len()), expected);
        assert_eq!(lost.try_iter().count(), 0);
    }

    #[test]
    fn who_writes_never_waits_for_who_reads_and_what_was_lost_is_told() {
        let (out, go, written) = held();
        let (told, lost) = channel();
        let (mut queue, guard) = start(out, move |lines| told.send(lines).unwrap());
        let began = Instant::now();
        let mut line = [b'x'; 1024];
        line[1023] = b'\n';
        queue.write_all(&line).unwrap();
        assert_eq!(written.recv().unwrap(), line);
        for _ in 0..ROOM / line.len() + 7 {
            queue.write_all(&line).unwrap();
        }
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
        for _ in 0..2 {
            go.send(()).unwrap();
        }
        drop(guard);
        assert_eq!(bytes(&written, ROOM).len(), ROOM);
        assert_eq!(lost.recv_timeout(LONG), Ok(7));
    }

    #[test]
    fn the_end_waits_for_who_holds_the_lines_no_longer_than_said() {
        let (out, _go, _written) = held();
        let (mut queue, guard) = start(out, |_| {});
        queue.write_all(b"a line\n").unwrap();
        let began = Instant::now();
        drop(guard);
        assert!((PATIENCE..LONG).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
