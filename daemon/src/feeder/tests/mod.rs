//! What the tests of the feeder share: real seed files in a folder, a real tokio-uring runtime, real rings, and SETs that do nothing
//! but take.

mod audit;
mod damage;
mod dealer;
mod dealing;
mod scan;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hongbao_protocol::seed::{BLOCK_BYTES, Header, RECORDS_PER_BLOCK, SeedBinding, encode_block};
use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId};
use rtrb::{Consumer, Producer, RingBuffer};
use tempfile::TempDir;

use super::{Feeder, FeederOptions, FeederSummary};
use crate::cells::{FeederCells, SetCells};
use crate::exit::Failure;
use crate::issued::IssuedBefore;
use crate::limits::ISSUE_RATE_UNLIMITED;
use crate::messages::{FeederCommand, FeederSetEnds};

const CAMPAIGN: CampaignId = CampaignId(2015);
const SERVER: ServerId = ServerId(7);
/// How long a test waits for what must come: far beyond what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The prize at `index`: different for neighbours, so that a shifted record shows.
fn prize(index: u32) -> (SponsorId, Cents) {
    (SponsorId(index % 13), Cents(u64::from(index % 97) + 1))
}

fn envelope(shard: u16, index: u32) -> Envelope {
    let (sponsor, amount) = prize(index);
    Envelope { id: EnvelopeId::new(SERVER, ShardId(shard), index), sponsor, amount }
}

fn header(shard: u16, count: u32) -> Header {
    let binding = SeedBinding { campaign: CAMPAIGN, server: SERVER, shard: ShardId(shard) };
    Header { binding, count, total: (0..count).map(|index| prize(index).1).sum(), digest: [0; 32] }
}

/// The bytes of a whole seed file.
fn seed_bytes(header: &Header) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    let mut block = [0; BLOCK_BYTES];
    for number in 0..header.blocks() {
        let first = number * RECORDS_PER_BLOCK as u32;
        let count = (header.count - first).min(RECORDS_PER_BLOCK as u32) as usize;
        encode_block(&header.binding, number, (0..count).map(|place| prize(first + place as u32)), &mut block);
        bytes.extend_from_slice(&block);
    }
    bytes
}

fn write_seed(dir: &TempDir, name: &str, header: &Header) -> PathBuf {
    write_file(dir, name, &seed_bytes(header))
}

fn write_file(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A journal that issued these envelopes, given in order.
fn issued(envelopes: impl IntoIterator<Item = Envelope>) -> IssuedBefore {
    let mut before = IssuedBefore { campaign: Some(CAMPAIGN), ..IssuedBefore::default() };
    for envelope in envelopes {
        assert!(before.set.insert(envelope.id));
        before.envelopes.push(envelope);
    }
    before
}

/// The far ends of one SET.
struct FakeSet {
    stock: Consumer<Envelope>,
    returns: Producer<Envelope>,
    cells: Arc<SetCells>,
}

impl FakeSet {
    /// Counts shakes and takes what is there.
    fn shake_and_take(&mut self, shakes: u64, taken: &mut Vec<Envelope>) {
        self.cells.shakes.add(shakes);
        while let Ok(envelope) = self.stock.pop() {
            taken.push(envelope);
        }
    }
}

/// A feeder on a thread of its own, with everything around it.
struct Show {
    sets: Vec<FakeSet>,
    commands: Producer<FeederCommand>,
    cells: Arc<FeederCells>,
    ready: mpsc::Receiver<Result<FeederSummary, Failure>>,
    log: Log,
    thread: JoinHandle<FeederSummary>,
}

impl Show {
    fn start(dir: &Path, issued: IssuedBefore, sets: usize, issue_rate: u64) -> Self {
        const STOCK: usize = 2048;
        let (near, sets) = (0..sets)
            .map(|_| {
                let (stock_producer, stock) = RingBuffer::new(STOCK);
                let (returns, returns_consumer) = RingBuffer::new(STOCK);
                let cells = Arc::new(SetCells::default());
                let near = FeederSetEnds { stock: stock_producer, returns: returns_consumer, cells: cells.clone() };
                (near, FakeSet { stock, returns, cells })
            })
            .unzip();
        let (commands, commands_consumer) = RingBuffer::new(16);
        let cells = Arc::new(FeederCells::default());
        let (ready_sender, ready) = mpsc::channel();
        let log = Log::default();
        let options = FeederOptions { scan: super::scan(dir, SERVER).unwrap(), server: SERVER, issue_rate };
        let feeder = Feeder::new(options, issued, near, cells.clone(), commands_consumer);
        let writer = log.clone();
        let thread = std::thread::spawn(move || {
            let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
            tracing::subscriber::with_default(subscriber, || {
                feeder.run(|result| ready_sender.send(result).unwrap(), std::future::pending)
            })
        });
        Self { sets, commands, cells, ready, log, thread }
    }

    /// As fast as demanded, on one SET.
    fn start_unlimited(dir: &Path, issued: IssuedBefore) -> Self {
        Self::start(dir, issued, 1, ISSUE_RATE_UNLIMITED)
    }

    fn ready(&self) -> Result<FeederSummary, Failure> {
        self.ready.recv_timeout(PATIENCE).expect("the feeder says whether it is ready")
    }

    /// Ends every SET, and the feeder with them.
    fn end(self) -> FeederSummary {
        drop(self.sets);
        let summary = self.thread.join().unwrap();
        assert!(summary.is_balanced(), "{summary:?}");
        summary
    }
}

/// Polls until `done`, which does the work of the other side meanwhile.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// What a thread logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
