//! Work on the disk, never on the threads that serve.
//!
//! A network mount that stalls keeps a thread in the kernel for as long as it likes. So each open,
//! look and read is a job on a blocking thread. The number of jobs is limited for each folder
//! right below the root and in all. A folder that hangs takes its own places and no others. The
//! caller stops waiting after a while; the job keeps its place until the kernel lets go of it.

use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    panic::resume_unwind,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, spawn_blocking},
    time::timeout,
};

use super::store::{Content, Opened};
use crate::path::RepositoryPath;

/// Jobs at once that open files or look at them, in all and for one folder.
const LOOKS: Places = Places { all: 128, of_one: 32 };
/// Jobs at once that read what is sent.
const READS: Places = Places { all: 256, of_one: 64 };
/// How long a look may wait for a place, and then for the disk.
const LOOK_PLACE: Duration = Duration::from_secs(3);
const LOOK_ANSWER: Duration = Duration::from_secs(10);
/// The same for a read: a slow disk with 500 readers takes its time, and goes on.
const READ_PLACE: Duration = Duration::from_secs(120);
const READ_ANSWER: Duration = Duration::from_secs(30);
/// How often the log hears that the disk does not answer.
const NEWS: Duration = Duration::from_secs(60);
/// Folders that are remembered before those without work are forgotten.
const MOST_AREAS: usize = 1024;

static DISK: LazyLock<Disk> = LazyLock::new(Disk::new);

/// How many jobs may be at work.
#[derive(Clone, Copy)]
struct Places {
    all: usize,
    of_one: usize,
}

/// All places of this process: it has one set of disks.
struct Disk {
    looks: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    areas: Mutex<HashMap<Box<[u8]>, Weak<Lanes>>>,
    told: Mutex<Option<Instant>>,
}

/// The places of one folder.
#[derive(Debug)]
struct Lanes {
    looks: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

/// A folder right below the root, whose files hang together or not at all. Files of the root
/// itself are one area.
#[derive(Clone, Debug)]
pub(super) struct Area(Arc<Lanes>);

/// Why there is no answer from the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stall {
    /// As many jobs as may be are waiting for it.
    Full,
    /// It did not answer in time.
    Silent,
}

/// An open file and its area. Closing it may hang too, so that is a job as well.
#[derive(Debug)]
pub(super) struct Held {
    opened: Option<Opened>,
    area: Area,
}

impl Stall {
    /// Its name among the silences of the log.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Full => "disk-too-many-waiting",
            Self::Silent => "disk-no-answer",
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the disk does not answer, and too many requests wait for it already",
            Self::Silent => "the disk does not answer",
        })
    }
}

impl Area {
    /// The area of this path.
    pub(super) fn of(path: &RepositoryPath) -> Self {
        let bytes = path.as_bytes();
        let end = bytes.iter().position(|&byte| byte == b'/').unwrap_or(0);
        DISK.area(&bytes[..end])
    }

    /// Opens files or looks at them.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stall> {
        self.look_within((LOOK_PLACE, LOOK_ANSWER), work).await
    }

    async fn look_within<T: Send + 'static>(
        &self,
        patience: (Duration, Duration),
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stall> {
        job((&self.0.looks, &DISK.looks), patience, work).await
    }

    /// Reads what is sent.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stall> {
        let lanes = (&self.0.reads, &DISK.reads);
        job(lanes, (READ_PLACE, READ_ANSWER), work).await
    }

    /// Takes over an open file.
    pub(super) fn hold(&self, opened: Opened) -> Held {
        Held { opened: Some(opened), area: self.clone() }
    }
}

impl Held {
    /// The area of the file.
    pub(super) fn area(&self) -> &Area {
        &self.area
    }
}

impl Deref for Held {
    type Target = Opened;

    fn deref(&self) -> &Opened {
        // It is taken when this is dropped, and nobody can look then.
        self.opened.as_ref().unwrap_or_else(|| unreachable!("a file that is held is open"))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(opened) = self.opened.take() else { return };
        let is_on_disk = matches!(opened.content, Content::File(_));
        let Some(runtime) = Handle::try_current().ok().filter(|_| is_on_disk) else { return };
        let lane = Arc::clone(&self.area.0.looks);
        match Arc::clone(&lane).try_acquire_owned() {
            Ok(place) => drop(runtime.spawn_blocking(move || {
                drop(opened);
                drop(place);
            })),
            Err(_) => drop(runtime.spawn(async move {
                let place = lane.acquire_owned().await;
                spawn_blocking(move || {
                    drop(opened);
                    drop(place);
                });
            })),
        }
    }
}

impl Disk {
    fn new() -> Self {
        Self {
            looks: Arc::new(Semaphore::new(LOOKS.all)),
            reads: Arc::new(Semaphore::new(READS.all)),
            areas: Mutex::default(),
            told: Mutex::default(),
        }
    }

    fn area(&self, folder: &[u8]) -> Area {
        let mut areas = self.areas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lanes) = areas.get(folder).and_then(Weak::upgrade) {
            return Area(lanes);
        }
        if areas.len() >= MOST_AREAS {
            areas.retain(|_, lanes| lanes.strong_count() > 0);
        }
        let lanes = Arc::new(Lanes {
            looks: Arc::new(Semaphore::new(LOOKS.of_one)),
            reads: Arc::new(Semaphore::new(READS.of_one)),
        });
        areas.insert(folder.into(), Arc::downgrade(&lanes));
        Area(lanes)
    }

    /// Tells the operator, once a minute.
    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|then| then.elapsed() < NEWS) {
            return;
        }
        *told = Some(Instant::now());
        drop(told);
        let waiting =
            LOOKS.all - self.looks.available_permits() + READS.all - self.reads.available_permits();
        tracing::warn!(
            step = "disk-stalled",
            waiting,
            "the disk of the repository or of [firmware] dir does not answer: {waiting} reads wait \
             for it; machines get 503 or a TFTP error for what is on it"
        );
    }
}

/// Does this work on a blocking thread, once there is a place for it.
async fn job<T: Send + 'static>(
    (of_one, of_all): (&Arc<Semaphore>, &Arc<Semaphore>),
    (place, answer): (Duration, Duration),
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stall> {
    let places = async {
        let own = Arc::clone(of_one).acquire_owned().await;
        (own, Arc::clone(of_all).acquire_owned().await)
    };
    let places = timeout(place, places).await.map_err(|_| stalls(Stall::Full))?;
    let (Ok(own), Ok(all)) = places else { return Err(Stall::Full) };
    let work = spawn_blocking(move || with(work, own, all));
    match timeout(answer, work).await {
        Ok(done) => done.map_err(rethrow),
        Err(_) => Err(stalls(Stall::Silent)),
    }
}

fn with<T>(work: impl FnOnce() -> T, own: OwnedSemaphorePermit, all: OwnedSemaphorePermit) -> T {
    let done = work();
    drop((own, all));
    done
}

/// A panic belongs to whoever asked. Nobody cancels a job but the end of the process.
fn rethrow(error: JoinError) -> Stall {
    match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Stall::Silent,
    }
}

fn stalls(stall: Stall) -> Stall {
    DISK.tell();
    stall
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn area(path: &str) -> Area {
        Area::of(&RepositoryPath::parse(path.as_bytes()).unwrap())
    }

    const SOON: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(300));

    #[tokio::test]
    async fn a_folder_that_hangs_takes_its_own_places_and_no_others() {
        let (hung, other) = (area("/hung/kernel"), area("/other/kernel"));
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..2 * LOOKS.of_one {
            let (hung, gate) = (hung.clone(), Arc::clone(&gate));
            waiting.spawn(async move {
                let work = move || gate.lock().unwrap().recv().is_ok();
                hung.look_within(SOON, work).await
            });
        }
        let stalls = waiting.join_all().await;
        let count = |stall| stalls.iter().filter(|&it| *it == Err(stall)).count();
        assert_eq!([count(Stall::Silent), count(Stall::Full)], [LOOKS.of_one; 2]);
        assert_eq!(area("/hung/initrd").look_within(SOON, || 7).await, Err(Stall::Full));
        assert_eq!(other.look(|| 7).await, Ok(7));
        assert_eq!(area("/kernel").look(|| 7).await, Ok(7));
        drop(release);
        while hung.0.looks.available_permits() < LOOKS.of_one {
            tokio::task::yield_now().await;
        }
        assert_eq!(hung.look(|| 7).await, Ok(7));
    }

    #[test]
    fn areas_without_work_are_forgotten() {
        let disk = Disk::new();
        let kept = disk.area(b"kept");
        for number in 0..4 * MOST_AREAS {
            disk.area(number.to_string().as_bytes());
        }
        assert!(disk.areas.lock().unwrap().len() <= MOST_AREAS);
        assert!(Arc::ptr_eq(&kept.0, &disk.area(b"kept").0));
    }
}
