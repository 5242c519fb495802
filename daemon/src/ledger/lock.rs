//! One daemon on one data folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::error::LedgerError;

/// Held as long as this lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Makes the data folder where it is missing, and locks it.
    pub(super) fn acquire(data_dir: &Path) -> Result<Self, LedgerError> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o750);
        folder.create(data_dir).map_err(LedgerError::data_dir("make the folder", data_dir, data_dir))?;
        // An earlier start may have been killed before the folder's name was durable.
        sync_parent(data_dir).map_err(LedgerError::data_dir("sync the folder above", data_dir, data_dir))?;
        let path = data_dir.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let mut file = options.open(&path).map_err(LedgerError::data_dir("open", &path, data_dir))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::Locked { data_dir: data_dir.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => {
                return Err(LedgerError::data_dir("lock", &path, data_dir)(error));
            }
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        written.map_err(LedgerError::data_dir("write to", &path, data_dir))?;
        Ok(Self { _file: file })
    }
}

/// A parent that may not be opened belongs to somebody else, who made the folder.
fn sync_parent(data_dir: &Path) -> io::Result<()> {
    let parent = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(parent) {
        Ok(parent) => parent.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whoever wrote the file last: the holder, but for the moment between its lock and its write.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_on_the_same_data_is_refused_and_told_which_is_the_first() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let data_dir = dir.path().join("deep/data");
        let first = DataLock::acquire(&data_dir).expect("the first gets it");
        let refused = DataLock::acquire(&data_dir).expect_err("the second does not").to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        DataLock::acquire(&data_dir).expect("free again");
    }
}
