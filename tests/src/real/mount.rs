//! A disk that forgets, mounted: [`Image`] as a FUSE file system that the kernel asks for everything.
//!
//! Names and attributes are cached for no time and nothing is written back late, so that each write and each sync of a
//! process arrives here at once. Bytes that were read may stay in the kernel's page cache, which `mmap` needs; a power
//! cut unmounts, and so drops them. Locks are the kernel's.

use super::image::{Facts, Fault, Image, Kept, ROOT};
use super::{Checked, doing};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// How long the kernel may believe what it was told.
const TTL: Duration = Duration::ZERO;
const BLOCK_BYTES: u32 = 4_096;
/// What the disk says it has room for.
const BLOCKS: u64 = 1 << 24;

/// A mounted disk; unmounted and forgotten when dropped.
#[derive(Debug)]
pub(super) struct Disk {
    shared: Arc<Shared>,
    /// `None` only while the power is off.
    session: Option<BackgroundSession>,
    mount: TempDir,
}

#[derive(Debug)]
struct Shared {
    image: Mutex<Image>,
    went_off: Condvar,
}

/// Why there is no disk.
#[derive(Debug)]
pub(super) enum NoDisk {
    /// This machine has or allows no FUSE.
    NotHere(String),
    Failed(String),
}

impl Disk {
    /// An empty disk.
    pub(super) fn mount() -> Result<Disk, NoDisk> {
        if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/fuse") {
            return Err(NoDisk::NotHere(format!("/dev/fuse: {error}")));
        }
        let mount = tempfile::tempdir().map_err(|error| NoDisk::Failed(format!("a folder to mount on: {error}")))?;
        let shared = Arc::new(Shared { image: Mutex::new(Image::new()), went_off: Condvar::new() });
        match session(&shared, mount.path()) {
            Ok(session) => Ok(Disk { shared, session: Some(session), mount }),
            // Without the right to mount, fuser looks for a helper program, which may not be installed.
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => {
                Err(NoDisk::NotHere(format!("mounting FUSE: {error}")))
            }
            Err(error) => Err(NoDisk::Failed(format!("mounting FUSE: {error}"))),
        }
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.mount.path().to_owned()
    }

    /// Lets the power go at the changing call after `calls` others.
    pub(super) fn cut_after(&self, calls: u64) {
        self.shared.image().cut_after(calls);
    }

    /// Waits until the power is off, at most for `patience`, and then cuts it. True when it went as planned.
    pub(super) fn wait_for_cut(&self, patience: Duration) -> bool {
        let waited = self.shared.went_off.wait_timeout_while(self.shared.image(), patience, |image| !image.is_off());
        let (mut image, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        image.cut();
        !timeout.timed_out()
    }

    /// Turns the power on again. Nobody may have a file open.
    pub(super) fn power_on(&mut self, kept: Kept) -> Checked<()> {
        if let Some(session) = self.session.take() {
            match session.umount_and_join() {
                // The session may learn of the unmounting as the end of its connection.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                ended => ended.map_err(doing("unmounting"))?,
            }
        }
        self.shared.image().power_on(kept);
        self.session = Some(session(&self.shared, self.mount.path()).map_err(doing("mounting again"))?);
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Before the folder is removed. A disk that is still in use is left to the end of this process.
        if let Some(session) = self.session.take() {
            session.umount_and_join().ok();
        }
    }
}

fn session(shared: &Arc<Shared>, mount: &Path) -> std::io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("forgetful".to_owned())];
    fuser::spawn_mount(Mounted(Arc::clone(shared)), mount, &config)
}

impl Shared {
    fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that may change something.
    fn change<T>(&self, change: impl FnOnce(&mut Image) -> Result<T, Fault>) -> Result<T, Errno> {
        let mut image = self.image();
        let changed = change(&mut image);
        if image.is_off() {
            self.went_off.notify_all();
        }
        changed.map_err(errno)
    }

    fn look<T>(&self, look: impl FnOnce(&Image) -> Result<T, Fault>) -> Result<T, Errno> {
        look(&self.image()).map_err(errno)
    }
}

fn errno(fault: Fault) -> Errno {
    match fault {
        Fault::Off => Errno::EIO,
        Fault::NotFound => Errno::ENOENT,
        Fault::Exists => Errno::EEXIST,
        Fault::NotAFolder => Errno::ENOTDIR,
        Fault::IsAFolder => Errno::EISDIR,
        Fault::NotEmpty => Errno::ENOTEMPTY,
    }
}

/// The kernel's side of a disk.
#[derive(Debug)]
struct Mounted(Arc<Shared>);

fn kind(facts: Facts) -> FileType {
    if facts.is_folder { FileType::Directory } else { FileType::RegularFile }
}

fn attributes(facts: Facts) -> FileAttr {
    let then = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(facts.number),
        size: facts.bytes,
        blocks: facts.bytes.div_ceil(512),
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind: kind(facts),
        perm: if facts.is_folder { 0o755 } else { 0o644 },
        nlink: 1,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn reply_entry(found: Result<Facts, Errno>, reply: ReplyEntry) {
    match found {
        Ok(facts) => reply.entry(&TTL, &attributes(facts), Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

fn reply_attr(found: Result<Facts, Errno>, reply: ReplyAttr) {
    match found {
        Ok(facts) => reply.attr(&TTL, &attributes(facts)),
        Err(errno) => reply.error(errno),
    }
}

fn reply_empty(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        reply_entry(self.0.look(|image| image.look_up(parent.0, name)), reply);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply_attr(self.0.look(|image| image.facts(number.0)), reply);
    }

    /// Only the length can be set.
    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = self.0.change(|image| {
            if let Some(size) = size {
                image.set_len(number.0, index(size))?;
            }
            image.facts(number.0)
        });
        reply_attr(set, reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        reply_entry(self.0.change(|image| image.create(parent.0, name, true)), reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.0.change(|image| image.create(parent.0, name, false)) {
            Ok(facts) => {
                reply.created(&TTL, &attributes(facts), Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.0.change(|image| image.unlink(parent.0, name, false)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.0.change(|image| image.unlink(parent.0, name, true)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        reply_empty(self.0.change(|image| image.rename((parent.0, name), (new_parent.0, new_name))), reply);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.image().read(number.0, index(offset), index(size.into())) {
            Ok(bytes) => reply.data(bytes),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.change(|image| image.write(number.0, index(offset), data)) {
            // A request is far shorter than 4 GiB.
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    /// At each close of a file, which syncs nothing.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply_empty(self.0.change(|image| image.sync(number.0)), reply);
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply_empty(self.0.change(|image| image.sync_folder(number.0)), reply);
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.0.look(|image| image.list(number.0)) {
            Ok(names) => {
                // The kernel asks on from the offset of the last name that it took.
                for (at, (name, facts)) in names.iter().enumerate().skip(index(offset)) {
                    if reply.add(INodeNo(facts.number), at as u64 + 1, kind(*facts), name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS / 2, BLOCKS / 2, 0, 0, BLOCK_BYTES, 255, BLOCK_BYTES);
    }
}

const _: () = assert!(ROOT == INodeNo::ROOT.0, "the kernel's name of the topmost folder");

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn a_mounted_disk_forgets_what_was_not_synced() {
        let mut disk = match Disk::mount() {
            Ok(disk) => disk,
            Err(NoDisk::NotHere(why)) => return eprintln!("skipped: {why}"),
            Err(NoDisk::Failed(why)) => panic!("{why}"),
        };
        let path = |name: &str| disk.path().join(name);
        let (kept, lost, folder) = (path("kept"), path("lost"), path("folder"));
        fs::create_dir(&folder).unwrap();
        for file in [&kept, &lost, &folder.join("inner")] {
            fs::write(file, "synced").unwrap();
        }
        File::open(&kept).unwrap().sync_all().unwrap();
        File::open(disk.path()).unwrap().sync_all().unwrap();
        fs::write(&kept, "not synced").unwrap();
        fs::rename(&kept, path("renamed")).unwrap();
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 3);
        let locked = File::open(&lost).unwrap();
        locked.try_lock().unwrap();
        assert!(File::open(&lost).unwrap().try_lock().is_err(), "locks hold");
        drop(locked);
        disk.power_on(Kept::Synced).unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), "synced");
        assert_eq!(fs::read(&lost).unwrap(), b"", "its name was synced, its bytes were not");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        disk.cut_after(0);
        assert!(fs::write(&kept, "after the end").is_err());
        assert!(disk.wait_for_cut(Duration::ZERO));
        assert!(fs::read_dir(&folder).is_err(), "nothing works without power");
        disk.power_on(Kept::Synced).unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), "synced");
    }
}
