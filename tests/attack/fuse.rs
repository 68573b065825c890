//! A file system that stops answering when told to: FUSE by its own protocol, so that no package is
//! needed. The mount is in a namespace of the calling thread and what it starts, and ends with it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use crate::lab::Failure;

/// Size of its one file, `kernel`.
pub(crate) const LENGTH: u64 = 4 << 20;
/// Before a request's and an answer's own content.
const HEADER: usize = 40;
/// Linux error numbers, as FUSE has them.
const ENOENT: i32 = -2;
const ENOSYS: i32 = -38;

const HANGS: u64 = u64::MAX;

/// The mount. What waits for an answer fails when it is dropped: without that, not even SIGKILL ends
/// who waits.
pub(crate) struct Hanging {
    folder: PathBuf,
    /// How much of the file can still be read; nothing is answered once it is `HANGS`.
    open_to: Arc<AtomicU64>,
}

impl Drop for Hanging {
    fn drop(&mut self) {
        umount2(&self.folder, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).unwrap();
    }
}

impl Hanging {
    /// From now on nothing is answered.
    pub(crate) fn hang(&self) {
        self.open_to.store(HANGS, Ordering::SeqCst);
    }

    /// From now on reads behind so many bytes are not answered.
    pub(crate) fn hang_behind(&self, bytes: u64) {
        self.open_to.store(bytes, Ordering::SeqCst);
    }
}

/// Gives this thread mounts of its own, and mounts the file system there.
pub(crate) fn hanging(folder: &Path) -> Result<Hanging, Failure> {
    fs::create_dir_all(folder)?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(io::Error::from)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(io::Error::from)?;
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let options =
        format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("hanging"), folder, Some("fuse"), flags, Some(&*options))
        .map_err(io::Error::from)?;
    let open_to = Arc::new(AtomicU64::new(LENGTH));
    let answers = Arc::clone(&open_to);
    // It ends with the mount.
    thread::spawn(move || serve(device, &answers));
    Ok(Hanging { folder: folder.to_owned(), open_to })
}

fn serve(mut device: File, open_to: &AtomicU64) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(length) = device.read(&mut buffer) {
        let request = &buffer[..length];
        let open_to = open_to.load(Ordering::SeqCst);
        if open_to == HANGS {
            continue;
        }
        let Some((error, content)) = answer(request, open_to) else { continue };
        let mut reply = Vec::with_capacity(16 + content.len());
        reply.extend(((16 + content.len()) as u32).to_ne_bytes());
        reply.extend(error.to_ne_bytes());
        reply.extend(&request[8..16]);
        reply.extend(content);
        // The asker may have been killed.
        let _ = device.write_all(&reply);
    }
}

/// Error and content; `None` where there is no answer.
fn answer(request: &[u8], open_to: u64) -> Option<(i32, Vec<u8>)> {
    let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().unwrap());
    let node = long(16);
    let ok = |content| Some((0, content));
    match word(4) {
        // LOOKUP
        1 => match request[HEADER..].split(|&byte| byte == 0).next() {
            Some(b"kernel") => {
                let mut entry = [2_u64, 0, 0, 0, 0].map(u64::to_ne_bytes).concat();
                entry.extend(attributes(2));
                ok(entry)
            }
            _ => Some((ENOENT, Vec::new())),
        },
        // FORGET, BATCH_FORGET and INTERRUPT have no answer.
        2 | 36 | 42 => None,
        // GETATTR
        3 => {
            let mut content = vec![0; 16];
            content.extend(attributes(node));
            ok(content)
        }
        // OPEN, OPENDIR
        14 | 27 => ok(vec![0; 16]),
        // READ
        15 => {
            let (offset, size) = (long(HEADER + 8), u64::from(word(HEADER + 16)));
            let end = (offset + size).min(LENGTH);
            (end <= open_to).then(|| (0, vec![b'h'; end.saturating_sub(offset) as usize]))
        }
        // INIT
        26 => {
            let mut content = [7_u32, 31, 128 << 10, 0].map(u32::to_ne_bytes).concat();
            content.resize(64, 0);
            content[20..24].copy_from_slice(&(128_u32 << 10).to_ne_bytes());
            ok(content)
        }
        // RELEASE, FLUSH, READDIR and RELEASEDIR
        18 | 25 | 28 | 29 => ok(Vec::new()),
        _ => Some((ENOSYS, Vec::new())),
    }
}

fn attributes(node: u64) -> Vec<u8> {
    let (size, mode): (u64, u32) = if node == 1 { (0, 0o40755) } else { (LENGTH, 0o100_444) };
    let mut attributes = [node, size, size / 512, 0, 0, 0].map(u64::to_ne_bytes).concat();
    attributes.extend([0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_ne_bytes).concat());
    attributes
}
