//! Receipts of wins: the key that makes them, and checking one without the ledger.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hongbao_protocol::{CampaignId, Envelope, Receipt, UserId};
use rand::TryRng;
use thiserror::Error;

/// The key of a data folder. It never leaves its file and this type: neither is it logged, nor shown.
#[derive(Clone)]
pub struct ReceiptKey([u8; 32]);

impl fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptKey(not shown)")
    }
}

/// The key's file cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The operating system refused.
    #[error("cannot {doing} the receipt key {}: {error}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is not what was written.
    #[error("{}: the receipt key is damaged (block 0, offset 0: not one line `hongbao-receipt-key-1 KEY CHECKSUM`)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// There is none, and receipts were given out under one.
    #[error("{}: the receipt key is missing, and receipts were given out under it", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
}

const MARK: &str = "hongbao-receipt-key-1";

impl ReceiptKey {
    /// Its place in a data folder.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("receipt.key")
    }

    /// Reads a key's file.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::Io { doing: "read", path: path.to_owned(), error };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        match file.take(256).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Err(error) => return Err(failed(error)),
        }
        Self::parse(&text).ok_or_else(|| KeyError::Damaged { path: path.to_owned() })
    }

    /// The data folder's key. Where there is none it is made, durably, unless receipts were `given` out under one.
    pub fn read_or_make(data_dir: &Path, given: bool) -> Result<Self, KeyError> {
        let path = Self::path(data_dir);
        match Self::read(&path) {
            Err(KeyError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
        if given {
            return Err(KeyError::Missing { path });
        }
        Self::make(data_dir)
    }

    /// Not a secret: for simulations, which have no folder to keep one in.
    pub(super) fn of_simulation(number: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        Self(key)
    }

    /// Makes a new key in the data folder, in the place of any before it.
    pub fn make(data_dir: &Path) -> Result<Self, KeyError> {
        let path = Self::path(data_dir);
        let failed = |error| KeyError::Io { doing: "make", path: path.clone(), error };
        let mut key = [0; 32];
        rand::rngs::SysRng.try_fill_bytes(&mut key).map_err(|error| failed(io::Error::other(error)))?;
        let key = Self(key);
        let passing = path.with_extension("key.new");
        key.write(&passing)
            .and_then(|()| fs::rename(&passing, &path))
            .and_then(|()| File::open(data_dir)?.sync_all())
            .map_err(failed)?;
        Ok(key)
    }

    /// Writes it to a file of its owner alone.
    fn write(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()
    }

    fn text(&self) -> String {
        let half = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().expect("half of 32 bytes"));
        format!("{MARK} {:032x}{:032x} {:08x}\n", half(&self.0[..16]), half(&self.0[16..]), crc32c::crc32c(&self.0))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(MARK)?.strip_prefix(' ')?.get(..64)?;
        let mut key = [0; 32];
        for (place, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
        }
        let key = Self(key);
        (key.text() == text).then_some(key)
    }
}

/// Makes the receipts of a campaign.
#[derive(Clone, Debug)]
pub struct Receipts {
    key: ReceiptKey,
    campaign: CampaignId,
}

impl Receipts {
    /// Under this key.
    pub fn new(key: ReceiptKey, campaign: CampaignId) -> Self {
        Self { key, campaign }
    }

    /// The receipt of a win.
    pub fn of(&self, user: UserId, envelope: &Envelope) -> Receipt {
        Receipt::new(&self.key.0, self.campaign, user, envelope)
    }

    /// Whether a receipt is the one of this win.
    pub fn is_right(&self, user: UserId, envelope: &Envelope, receipt: &Receipt) -> bool {
        self.of(user, envelope).matches(receipt)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_never_shown() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let made = ReceiptKey::read_or_make(dir.path(), false).expect("made");
        let path = ReceiptKey::path(dir.path());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let read = ReceiptKey::read_or_make(dir.path(), true).expect("read");
        assert_eq!(made.0, read.0);
        let digits = &made.text()[MARK.len() + 1..][..64];
        assert!(!format!("{made:?}").contains(digits));
        assert_ne!(ReceiptKey::make(dir.path()).expect("another").0, made.0);
    }

    #[test]
    fn a_lost_key_is_not_replaced_by_itself_where_receipts_were_given_out() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error = ReceiptKey::read_or_make(dir.path(), true).expect_err("none is there");
        assert!(matches!(error, KeyError::Missing { .. }), "{error}");
        assert!(!ReceiptKey::path(dir.path()).exists());
    }

    /// A key of which a bit is wrong would call every receipt a forgery.
    #[test]
    fn every_flipped_bit_and_every_cut_of_a_key_is_found() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let key = ReceiptKey::make(dir.path()).expect("made");
        let path = ReceiptKey::path(dir.path());
        let whole = fs::read(&path).expect("read");
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).expect("written");
            let read = ReceiptKey::read(&path);
            assert!(matches!(read, Err(KeyError::Damaged { .. })), "bit {bit}");
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("written");
            assert!(ReceiptKey::read(&path).is_err(), "cut at {length}");
        }
        fs::write(&path, &whole).expect("written");
        assert_eq!(ReceiptKey::read(&path).expect("whole again").0, key.0);
    }
}
