//! What both directions share: the header, the bounds, and reading and writing of little-endian fields.

use thiserror::Error;

use super::HEADER_BYTES;

/// Why bytes are no frame. After any of these the stream cannot be followed: answer with an error frame and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The header gives a length that its kind does not have.
    #[error("a frame of kind {kind:#04x} cannot be {length} bytes long")]
    Length {
        /// Kind byte of the header.
        kind: u8,
        /// Length the header gave, in bytes.
        length: u16,
    },
    /// No frame of this version has this kind.
    #[error("unknown frame kind {kind:#04x}")]
    Kind {
        /// Kind byte of the header.
        kind: u8,
    },
    /// Flags or a reserved field hold bits that version 1 does not define.
    #[error("a frame of kind {kind:#04x} has bits set that must be zero")]
    Reserved {
        /// Kind byte of the header.
        kind: u8,
    },
    /// A field holds a value that it cannot have.
    #[error("a field of a frame of kind {kind:#04x} is out of range")]
    Value {
        /// Kind byte of the header.
        kind: u8,
    },
}

/// What the start of a stream of bytes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<F> {
    /// One whole frame, and how many bytes it took.
    Frame(F, usize),
    /// The beginning of a frame that may yet turn out well: come back with more bytes.
    Incomplete,
}

/// One encoded frame of at most `N` bytes, on the stack.
#[derive(Clone, Copy)]
pub struct Encoded<const N: usize> {
    bytes: [u8; N],
    length: u16,
}

impl<const N: usize> Encoded<N> {
    /// An empty frame of this kind; the length is filled in by `finish`.
    pub(super) const fn new(kind: u8, flags: u8) -> Self {
        let mut bytes = [0; N];
        bytes[2] = kind;
        bytes[3] = flags;
        Self { bytes, length: HEADER_BYTES as u16 }
    }

    pub(super) fn put<const B: usize>(mut self, field: [u8; B]) -> Self {
        let start = usize::from(self.length);
        self.bytes[start..start + B].copy_from_slice(&field);
        self.length += B as u16;
        self
    }

    pub(super) fn finish(mut self) -> Self {
        self.bytes[..2].copy_from_slice(&self.length.to_le_bytes());
        self
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The header of the frame that `bytes` start with: (kind, flags, total length). `None` where four bytes are not there yet.
///
/// `fits` says whether a kind may have this length, and `None` of no kind; a wrong length is found from the header alone, before the body
/// arrives.
pub(super) fn header(
    bytes: &[u8],
    fits: impl FnOnce(u8, usize) -> Option<bool>,
) -> Result<Option<(u8, u8, usize)>, WireError> {
    let Some(&[low, high, kind, flags]) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = u16::from_le_bytes([low, high]);
    let whole = usize::from(length);
    if !fits(kind, whole).ok_or(WireError::Kind { kind })? {
        return Err(WireError::Length { kind, length });
    }
    Ok((bytes.len() >= whole).then_some((kind, flags, whole)))
}

/// Reads fields off the front of a body whose length was checked against its kind.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk::<N>() else {
            debug_assert!(false, "the header's length covers every field");
            return [0; N];
        };
        self.0 = rest;
        *field
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
