//! The ledger's files outside of its ring, as a trait: [`RealFiles`] are those of the file system, a simulation has its own.
//!
//! A start reads through this, and so does whatever makes or removes files while the ring writes blocks. Paths instead of handles, and
//! nothing that is left unsynced within a file, so that what a power cut can undo is only what happened to names since the last
//! [`Files::sync_folder`].

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// The operations. Each blocks until it is done.
pub trait Files: fmt::Debug + Send + Sync {
    /// Makes a folder in one that is there, and its name durable. It may be there already: an earlier start may have been killed before
    /// the name was durable.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// The files in a folder, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>>;
    /// Reads all of a file into `bytes`, which takes its length.
    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()>;
    /// Fills `bytes` from `offset` on; an error where the file ends before.
    fn read_at(&self, path: &Path, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut whole = Vec::new();
        self.read(path, &mut whole)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = whole.get(start..).and_then(|rest| rest.get(..bytes.len()));
        part.map(|part| bytes.copy_from_slice(part)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
    /// Makes an empty file, in place of one of that name.
    fn create(&self, path: &Path) -> io::Result<()>;
    /// Writes to a file that is there, and syncs.
    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name, in place of one of that name. Lasts from the next [`sync_folder`](Self::sync_folder) on.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Lasts from the next [`sync_folder`](Self::sync_folder) on.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes sure that what will be read from a file is what the disk holds: flushes what an earlier process left in the page cache,
    /// then drops the pages, as after a failed flush the cache may show what never reached the disk.
    fn settle(&self, path: &Path) -> io::Result<()>;
}

/// Those of the file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if !folder.is_dir() {
            DirBuilder::new().mode(0o750).create(folder)?;
        }
        folder.parent().map_or(Ok(()), |parent| self.sync_folder(parent))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let listed = |entry: io::Result<fs::DirEntry>| {
            let path = entry?.path();
            let bytes = fs::metadata(&path)?.len();
            Ok(Listed { path, bytes })
        };
        fs::read_dir(folder)?.map(listed).collect()
    }

    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        File::open(path)?.read_to_end(bytes).map(drop)
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        File::open(path)?.read_exact_at(bytes, offset)
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(path).map(drop)
    }

    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.write_all_at(bytes, offset)?;
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn settle(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.sync_data()?;
        Ok(nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }
}
