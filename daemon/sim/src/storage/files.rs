//! The disk as the ledger's files outside of its ring.

use std::io;
use std::path::Path;

use hongbao_uring::Errno;
use hongbaod::ledger::files::{Files, Listed};

use super::{File, FileId, NameChange, SECTOR_BYTES, Storage, apply};
use crate::fault::Fault;

impl Files for Storage {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.begin()?;
        if !platter.names.contains_key(folder) {
            platter.files.push(File { is_folder: true, ..File::default() });
            let id = FileId(platter.files.len() - 1);
            platter.change(NameChange::Linked(folder.to_owned(), id))?;
        }
        platter.done()?;
        drop(platter);
        folder.parent().map_or(Ok(()), |parent| self.sync_folder(parent))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let mut platter = self.platter();
        platter.look()?;
        let within = platter.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        Ok(within
            .map(|(path, file)| Listed { path: path.clone(), bytes: platter.files[file.0].durable.len() as u64 })
            .collect())
    }

    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut platter = self.platter();
        platter.look()?;
        let file = platter.file(path)?;
        let file = &platter.files[file.0];
        bytes.clone_from(&file.durable);
        for (sector, cached) in &file.cache {
            bytes[sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES].copy_from_slice(&cached.bytes);
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.begin()?;
        platter.files.push(File::default());
        let id = FileId(platter.files.len() - 1);
        platter.change(NameChange::Linked(path.to_owned(), id))
    }

    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        platter.begin()?;
        let (file, offset) = (platter.file(path)?, offset as usize);
        let more = (offset + bytes.len()).saturating_sub(platter.files[file.0].durable.len());
        if more > 0 && platter.taken().saturating_add(more) > platter.room {
            platter.counts.count(Fault::DiskFull);
            return Err(Errno::ENOSPC.into());
        }
        if platter.is_down {
            // What an end in its midst leaves of a write that makes the file longer is a file that is as long as it was.
            if more == 0 && platter.is_still_done() {
                platter.files[file.0].leave_behind(offset, bytes, true);
            }
            return platter.done();
        }
        platter.files[file.0].write_all(offset, bytes);
        platter.note(offset as u64 ^ (bytes.len() as u64) << 32);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.begin()?;
        let file = platter.file(from)?;
        platter.change(NameChange::Renamed(from.to_owned(), to.to_owned(), file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.begin()?;
        platter.file(path)?;
        platter.change(NameChange::Removed(path.to_owned()))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.begin()?;
        if platter.is_still_done() {
            let (within, elsewhere) =
                std::mem::take(&mut platter.changes).into_iter().partition(|change| change.folder() == Some(folder));
            platter.changes = elsewhere;
            let within: Vec<NameChange> = within;
            for change in within {
                apply(&mut platter.durable_names, &change);
            }
        }
        platter.done()
    }

    fn settle(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.begin()?;
        let file = platter.file(path)?;
        if platter.is_still_done() {
            platter.files[file.0].flush();
            platter.files[file.0].cache.clear();
        }
        platter.done()
    }
}
