//! A folder of this process alone, gone when it is no longer needed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Folders made by this process: each has a name of its own.
static MADE: AtomicU32 = AtomicU32::new(0);

/// See the module's text.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes one among the system's temporary files, for nobody else to look into. It must not be there before: who made it could be
    /// somebody else.
    pub(super) fn make(purpose: &str) -> io::Result<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("hongbao-{purpose}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("making the folder {}: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Itself.
    #[cfg(test)]
    pub(super) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_a_time_are_two_and_nothing_is_left() {
        let folders = [Folder::make("test").unwrap(), Folder::make("test").unwrap()];
        fs::write(folders[0].file("x"), "x").unwrap();
        assert!(!folders[1].file("x").exists());
        let paths = folders.each_ref().map(|folder| folder.path().to_owned());
        drop(folders);
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
