//! What can go wrong, by name: each kind can be left out of a history, and each is counted when it happens.

/// Declares the kinds once: as an enum, with their names, in one order.
macro_rules! faults {
    ($($(#[doc = $text:literal])+ $kind:ident = $name:literal,)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Fault { $($(#[doc = $text])+ $kind,)+ }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// As the command line and the summary call it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }
        }
    };
}

faults! {
    /// The process is killed; what it wrote stays with the kernel.
    Kill = "kill",
    /// The power goes; what was not flushed is lost, in whole or in part.
    PowerCut = "power-cut",
    /// A power cut left some sectors of a block and not others.
    TornBlock = "torn-block",
    /// A power cut undid a change of a name that was not synced.
    NameLost = "name-lost",
    /// The end came in the middle of a file operation of a start or of a segment in the making.
    CrashInFiles = "crash-in-files",
    /// A file operation of a start fails once.
    FileError = "file-error",
    /// The write of a block fails.
    WriteError = "write-error",
    /// The flush of a block fails once; the next one reports success, and the cache shows what the disk does not hold.
    FlushError = "flush-error",
    /// The write of a block ends short.
    ShortWrite = "short-write",
    /// No room for further files, for a while.
    DiskFull = "disk-full",
    /// Bits of the journal change at rest.
    BitFlip = "bit-flip",
    /// A block is written elsewhere than it was told to be, and said to be written.
    Misdirected = "misdirected-write",
    /// A block is said to be written, and was not.
    LostWrite = "lost-write",
    /// The daemon is told to stop, and does.
    OrderlyStop = "orderly-stop",
    /// The wall clock is set.
    ClockJump = "clock-jump",
    /// A client's connection breaks.
    Reset = "reset",
    /// A client closes.
    Close = "close",
    /// A client says that it will send no more.
    HalfClose = "half-close",
    /// A client stops reading, and goes on later.
    SlowReader = "slow-reader",
    /// A frame arrives in pieces.
    SplitFrame = "split-frame",
    /// A client sends what is no frame.
    Garbage = "garbage",
    /// A client says a shake again, with the same number.
    RepeatedShake = "repeated-shake",
    /// A user is online twice.
    TwoDevices = "two-devices",
    /// A client reconnects to another SET.
    Moved = "reconnect-elsewhere",
    /// The ring has no receive buffers.
    NoBuffers = "no-buffers",
    /// Multishot operations end, as after an overflow of the completion queue.
    MultishotsEnd = "multishots-end",
    /// An accept fails for want of descriptors.
    AcceptError = "accept-error",
    /// The issue rate changes, pauses or resumes.
    RateChange = "rate-change",
}

/// Some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSet(u64);

const _: () = assert!(Fault::ALL.len() <= 64);

impl FaultSet {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Those whose bit is set.
    pub(crate) const fn of_bits(bits: u64) -> Self {
        Self(bits & ((1 << Fault::ALL.len()) - 1))
    }

    /// Whether this one is among them.
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u8) != 0
    }

    /// The same and this one.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | (1 << fault as u8))
    }

    /// The same but for this one.
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u8))
    }
}

/// How often each happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultCounts([u64; Fault::ALL.len()]);

impl Default for FaultCounts {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl FaultCounts {
    /// Counts one.
    pub(crate) fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often this one happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Adds those of another history.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own += more;
        }
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}
