//! Reads spans of blocks from seed files through io_uring, ahead of whoever needs them.
//!
//! The buffers are made once and go round: reader, chunk, and back. In the steady state nothing of ours is allocated here; tokio-uring
//! keeps an operation in a slab that stays, and allocates only to open and close a file.

use std::io;
use std::rc::Rc;

use hongbao_protocol::seed::{BLOCK_BYTES, Header};
use tokio::sync::mpsc;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::File;

use super::SeedFile;
use crate::limits::{FEEDER_READ_BLOCKS, FEEDER_READS_AHEAD};

/// Record blocks of one file that are read together; at most [`FEEDER_READ_BLOCKS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Which file, by its place in the list.
    pub(super) file: usize,
    /// The first block, from 0; the file's header is not counted.
    pub(super) first: u32,
    /// How many.
    pub(super) blocks: u32,
}

impl Span {
    /// Where record block `number` begins in its file, in bytes.
    pub(super) const fn offset(number: u32) -> u64 {
        (number as u64 + 1) * BLOCK_BYTES as u64
    }

    /// All blocks of `files`, in order.
    pub(super) fn all(files: Rc<[SeedFile]>) -> impl Iterator<Item = Self> {
        (0..files.len()).flat_map(move |file| {
            let end = files[file].header.blocks();
            (0..end).step_by(FEEDER_READ_BLOCKS as usize).map(move |first| Self {
                file,
                first,
                blocks: FEEDER_READ_BLOCKS.min(end - first),
            })
        })
    }
}

/// What was read of a span: not verified yet.
pub(super) struct Chunk {
    /// What was to be read.
    pub(super) span: Span,
    /// What was, from its start: shorter where there was trouble.
    buffer: Vec<u8>,
    /// Why it is shorter.
    trouble: Option<String>,
}

impl Chunk {
    /// The bytes of record block `number`, which lies in the span, or why they are not there.
    pub(super) fn block(&self, number: u32) -> Result<&[u8; BLOCK_BYTES], &str> {
        let start = (number - self.span.first) as usize * BLOCK_BYTES;
        match self.buffer.get(start..start + BLOCK_BYTES) {
            Some(bytes) => Ok(bytes.try_into().expect("as long as a block")),
            None => Err(self.trouble.as_deref().unwrap_or("the file ends before the block does")),
        }
    }
}

/// What a look at the reader found.
pub(super) enum Look {
    /// The next chunk.
    Chunk(Chunk),
    /// It is still being read.
    Later,
    /// Every span was handed over.
    End,
}

/// What reads: the runtime's ring, or a simulation.
pub trait SeedReads {
    /// Takes over a job, which goes on beside whoever asked for it.
    fn start(&self, job: ReadJob);
}

/// Through the tokio-uring runtime that this is used on.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingReads;

impl SeedReads for RingReads {
    fn start(&self, job: ReadJob) {
        tokio_uring::spawn(read(job));
    }
}

/// Spans to be read, and the far ends of the [`Reader`] that wants them. Whoever drops it has read all that will be read.
pub struct ReadJob {
    files: Rc<[SeedFile]>,
    spans: Box<dyn Iterator<Item = Span>>,
    chunks: mpsc::Sender<Chunk>,
    spare: mpsc::Receiver<Vec<u8>>,
}

impl ReadJob {
    /// Reads the next span where a buffer is free, by `read`: from which file, from which byte on, how many, to where; what it leaves
    /// out is trouble. False at the end. For simulations, which do not wait.
    pub fn step(&mut self, read: impl FnOnce(&SeedFile, u64, usize, &mut Vec<u8>)) -> bool {
        let Ok(mut buffer) = self.spare.try_recv() else { return !self.chunks.is_closed() };
        let Some(span) = self.spans.next() else { return false };
        buffer.clear();
        read(&self.files[span.file], Span::offset(span.first), span.blocks as usize * BLOCK_BYTES, &mut buffer);
        self.chunks.try_send(Chunk { span, buffer, trouble: None }).is_ok()
    }
}

/// The near end of a reader. Dropping it ends the reader after the read that is under way.
pub(super) struct Reader {
    chunks: mpsc::Receiver<Chunk>,
    spare: mpsc::Sender<Vec<u8>>,
}

impl Reader {
    /// Starts reading `spans`.
    pub(super) fn start(
        reads: &dyn SeedReads,
        files: Rc<[SeedFile]>,
        spans: impl Iterator<Item = Span> + 'static,
    ) -> Self {
        let (chunk_sender, chunks) = mpsc::channel(FEEDER_READS_AHEAD);
        let (spare, spare_receiver) = mpsc::channel(FEEDER_READS_AHEAD);
        for _ in 0..FEEDER_READS_AHEAD {
            let buffer = Vec::with_capacity(FEEDER_READ_BLOCKS as usize * BLOCK_BYTES);
            spare.try_send(buffer).expect("room for every buffer there is");
        }
        reads.start(ReadJob { files, spans: Box::new(spans), chunks: chunk_sender, spare: spare_receiver });
        Self { chunks, spare }
    }

    /// The next chunk if it is there. Never waits.
    pub(super) fn look(&mut self) -> Look {
        match self.chunks.try_recv() {
            Ok(chunk) => Look::Chunk(chunk),
            Err(mpsc::error::TryRecvError::Empty) => Look::Later,
            Err(mpsc::error::TryRecvError::Disconnected) => Look::End,
        }
    }

    /// Waits for the next chunk; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        self.chunks.recv().await
    }

    /// Gives a chunk's buffer back for further reads.
    pub(super) fn reuse(&mut self, chunk: Chunk) {
        // The reader is gone where all is read; then the buffer is not needed either.
        let _ = self.spare.try_send(chunk.buffer);
    }
}

async fn read(job: ReadJob) {
    let ReadJob { files, spans, chunks, mut spare } = job;
    let mut open: Option<(usize, Result<File, String>)> = None;
    for span in spans {
        let Some(mut buffer) = spare.recv().await else { break };
        if open.as_ref().is_none_or(|(file, _)| *file != span.file) {
            if let Some((_, Ok(file))) = open.take() {
                close(file).await;
            }
            let (found, lent) = open_checked(&files[span.file], buffer).await;
            buffer = lent;
            open = Some((span.file, found));
        }
        let chunk = match &open {
            Some((_, Ok(file))) => {
                let bytes = span.blocks as usize * BLOCK_BYTES;
                let (trouble, buffer) = read_full(file, buffer, Span::offset(span.first), bytes).await;
                Chunk { span, buffer, trouble: trouble.err().map(|error| error.to_string()) }
            }
            Some((_, Err(trouble))) => {
                buffer.clear();
                Chunk { span, buffer, trouble: Some(trouble.clone()) }
            }
            None => unreachable!("it was just opened"),
        };
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    if let Some((_, Ok(file))) = open {
        close(file).await;
    }
}

/// Opens a file and sees that it is still the one that was scanned.
async fn open_checked(seed: &SeedFile, buffer: Vec<u8>) -> (Result<File, String>, Vec<u8>) {
    let file = match File::open(&seed.path).await {
        Ok(file) => file,
        Err(error) => return (Err(format!("the file cannot be opened: {error}")), buffer),
    };
    let (result, buffer) = read_full(&file, buffer, 0, BLOCK_BYTES).await;
    let trouble = match result {
        Err(error) => format!("its header cannot be read again: {error}"),
        Ok(()) => match <&[u8; BLOCK_BYTES]>::try_from(&buffer[..]).map(Header::decode) {
            Ok(Ok(header)) if header == seed.header => return (Ok(file), buffer),
            _ => "the file was changed after the start".to_owned(),
        },
    };
    close(file).await;
    (Err(trouble), buffer)
}

/// Fills `buffer` with `bytes` from `offset`, or with as many as there are before the end of the file or an error.
async fn read_full(file: &File, mut buffer: Vec<u8>, offset: u64, bytes: usize) -> (io::Result<()>, Vec<u8>) {
    buffer.clear();
    while buffer.len() < bytes {
        let filled = buffer.len();
        let (result, slice) = file.read_at(buffer.slice(filled..bytes), offset + filled as u64).await;
        buffer = slice.into_inner();
        match result {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return (Err(error), buffer),
        }
    }
    (Ok(()), buffer)
}

/// A close of a file that was only read can fail in no way that matters.
async fn close(file: File) {
    if let Err(error) = file.close().await {
        tracing::debug!("closing a seed file: {error}");
    }
}
