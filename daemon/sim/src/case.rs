//! A history by its name: the seed, and what of it is left out. What fails is told as one, so that it can be run again.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use crate::fault::{Fault, FaultSet};
use crate::history::{self, Outcome, Trace};
use crate::plan::Plan;

/// Which history to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The seed that everything else is drawn from.
    pub seed: u64,
    /// At most so many turns before it is brought to its end.
    pub steps: Option<usize>,
    /// At most so many clients.
    pub clients: Option<usize>,
    /// At most so many SETs.
    pub sets: Option<usize>,
    /// Kinds of faults that are left out.
    pub without: FaultSet,
}

impl Case {
    /// The whole history of a seed.
    pub const fn of_seed(seed: u64) -> Self {
        Self { seed, steps: None, clients: None, sets: None, without: FaultSet::NONE }
    }

    pub(crate) fn plan(&self) -> Plan {
        let mut plan = Plan::of_seed(self.seed);
        plan.steps = plan.steps.min(self.steps.unwrap_or(usize::MAX));
        plan.clients = plan.clients.min(self.clients.unwrap_or(usize::MAX));
        plan.users = plan.users.min(plan.clients);
        plan.sets = plan.sets.min(self.sets.unwrap_or(usize::MAX));
        plan.faults = Fault::ALL
            .iter()
            .filter(|fault| self.without.has(**fault))
            .fold(plan.faults, |faults, fault| faults.without(*fault));
        plan
    }

    /// Runs it. A panic anywhere in it, the daemon's assertions included, is a broken promise like any other.
    pub fn run(&self) -> Outcome {
        self.run_to(None)
    }

    /// Runs it, with a line for each turn.
    pub fn run_traced(&self, trace: &mut Trace<'_>) -> Outcome {
        self.run_to(Some(trace))
    }

    fn run_to(&self, trace: Option<&mut Trace<'_>>) -> Outcome {
        let plan = self.plan();
        panic::catch_unwind(AssertUnwindSafe(|| history::run(&plan, trace))).unwrap_or_else(|payload| Outcome {
            violation: Some((plan.steps, format!("panicked: {}", describe(&*payload)))),
            ..Outcome::default()
        })
    }
}

/// The arguments that name it.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--seed {}", self.seed)?;
        for (flag, value) in [("steps", self.steps), ("clients", self.clients), ("sets", self.sets)] {
            if let Some(value) = value {
                write!(f, " --{flag} {value}")?;
            }
        }
        let without: Vec<_> =
            Fault::ALL.iter().filter(|fault| self.without.has(**fault)).map(|fault| fault.name()).collect();
        if without.is_empty() { Ok(()) } else { write!(f, " --without {}", without.join(",")) }
    }
}

thread_local! {
    /// What the last panic of this thread said, and where.
    static LAST_WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on a panic is told with its history, and not by itself.
pub fn hush_panics() {
    panic::set_hook(Box::new(|info| LAST_WORDS.set(Some(info.to_string()))));
}

fn describe(payload: &(dyn Any + Send)) -> String {
    let told = LAST_WORDS.take();
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    told.unwrap_or_else(|| text.unwrap_or("no text").to_owned())
}
