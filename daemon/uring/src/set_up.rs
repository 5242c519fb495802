//! How a ring is set up: with the best flags that the kernel knows, and as large as memory allows.

use std::fmt;

use io_uring::{Builder, IoUring, Parameters};
use nix::errno::Errno;

use crate::Unavailable;
use crate::core::errno_of;

/// Below these sizes, want of memory is an error and no longer a reason to halve.
pub(crate) const SIZES_FLOOR: Sizes = Sizes { submissions: 32, completions: 128 };

/// Entries of the two queues, powers of two. The kernel takes less where these are beyond its maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) submissions: u32,
    pub(crate) completions: u32,
}

impl Sizes {
    fn halved(self) -> Option<Self> {
        (self != SIZES_FLOOR).then(|| Self {
            submissions: (self.submissions / 2).max(SIZES_FLOOR.submissions),
            completions: (self.completions / 2).max(SIZES_FLOOR.completions),
        })
    }
}

/// One rung of the ladder of set-up flags; the later need less of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetUp {
    /// 6.6: as below, and no indirection array.
    DeferredWithoutArray,
    /// 6.1: completions are worked off inside the enter of the one thread that submits.
    Deferred,
    /// 5.19: completions do not interrupt the thread.
    Cooperative,
    /// Anything older.
    Bare,
}

impl SetUp {
    pub(crate) const ALL: [Self; 4] = [Self::DeferredWithoutArray, Self::Deferred, Self::Cooperative, Self::Bare];

    fn builder(self, sizes: Sizes) -> Builder {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_clamp().setup_cqsize(sizes.completions);
        match self {
            Self::DeferredWithoutArray => {
                builder.setup_submit_all().setup_single_issuer().setup_defer_taskrun();
                builder.setup_taskrun_flag().setup_no_sqarray();
            }
            Self::Deferred => {
                builder.setup_submit_all().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
            }
            Self::Cooperative => {
                builder.setup_submit_all().setup_coop_taskrun().setup_taskrun_flag();
            }
            Self::Bare => {}
        }
        builder
    }
}

/// What the kernel gave this ring; for the start-up message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    set_up: SetUp,
    /// An enter can wait a little for several completions (6.12); otherwise two enters do it.
    pub(crate) min_wait: bool,
    /// A thread that waits for its clients can be told apart from one that waits for a disk (6.15), so that an idle server does not
    /// look like a machine with a slow disk.
    pub(crate) no_iowait: bool,
    /// Entries of the submission queue.
    pub submissions: u32,
    /// Entries of the completion queue.
    pub completions: u32,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = match self.set_up {
            SetUp::DeferredWithoutArray => "single issuer, deferred completions, no submission array",
            SetUp::Deferred => "single issuer, deferred completions",
            SetUp::Cooperative => "cooperative completions",
            SetUp::Bare => "no set-up flags",
        };
        let min_wait = if self.min_wait { "min_wait" } else { "min_wait by two enters" };
        let iowait = if self.no_iowait { "no iowait" } else { "waiting counts as iowait" };
        write!(f, "{flags}, {min_wait}, {iowait}")
    }
}

/// Makes a ring; a smaller one where memory lacks.
pub(crate) fn set_up(sizes: Sizes) -> Result<(IoUring, Features), Unavailable> {
    let mut sizes = sizes;
    loop {
        match climb(sizes) {
            Ok((set_up, ring)) => return checked(set_up, ring),
            Err(Errno::ENOMEM) => match sizes.halved() {
                Some(halved) => sizes = halved,
                None => return Err(Unavailable::refused("io_uring_setup", Errno::ENOMEM)),
            },
            Err(errno) => return Err(Unavailable::refused("io_uring_setup", errno)),
        }
    }
}

/// Makes a ring on one rung, whatever the kernel could do better; for tests of the fallbacks.
#[cfg(test)]
pub(crate) fn set_up_as(set_up: SetUp, sizes: Sizes) -> (IoUring, Features) {
    let ring = set_up.builder(sizes).build(sizes.submissions).expect("this kernel knows every rung");
    checked(set_up, ring).expect("and has every feature")
}

/// The first rung that this kernel knows.
fn climb(sizes: Sizes) -> Result<(SetUp, IoUring), Errno> {
    for set_up in SetUp::ALL {
        match set_up.builder(sizes).build(sizes.submissions) {
            Ok(ring) => return Ok((set_up, ring)),
            Err(error) => match errno_of(&error) {
                Errno::EINVAL => {}
                errno => return Err(errno),
            },
        }
    }
    Err(Errno::EINVAL)
}

fn checked(set_up: SetUp, ring: IoUring) -> Result<(IoUring, Features), Unavailable> {
    type Has = fn(&Parameters) -> bool;
    let needed: [(&'static str, Has); 4] = [
        ("IORING_FEAT_NODROP", Parameters::is_feature_nodrop),
        ("IORING_FEAT_SUBMIT_STABLE", Parameters::is_feature_submit_stable),
        ("IORING_FEAT_EXT_ARG", Parameters::is_feature_ext_arg),
        ("IORING_FEAT_CQE_SKIP", Parameters::is_feature_skip_cqe_on_success),
    ];
    let parameters = ring.params();
    if let Some((name, _)) = needed.iter().find(|(_, has)| !has(parameters)) {
        return Err(Unavailable::missing(name));
    }
    let features = Features {
        set_up,
        min_wait: parameters.is_feature_min_timeout(),
        no_iowait: parameters.is_feature_no_iowait(),
        submissions: parameters.sq_entries(),
        completions: parameters.cq_entries(),
    };
    Ok((ring, features))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_ends_at_a_floor() {
        let mut sizes = Sizes { submissions: 2048, completions: 16_384 };
        let mut steps = 0;
        while let Some(halved) = sizes.halved() {
            assert!(halved.submissions <= sizes.submissions && halved.completions < sizes.completions);
            sizes = halved;
            steps += 1;
        }
        assert!(sizes == SIZES_FLOOR && steps == 7, "{sizes:?} after {steps}");
    }
}
