//! A failing history made smaller, for its reader: fewer turns, clients and SETs, and only the faults it takes.

use crate::case::Case;
use crate::fault::Fault;

/// Runs that looking for a smaller history may take.
const RUNS_MAX: usize = 400;

/// The smallest history found that still breaks a promise: not always the same one. `case` breaks one.
pub fn shrink(case: Case) -> Case {
    let mut best = case;
    let mut runs = 0;
    let mut fails = |case: &Case| {
        runs += 1;
        runs <= RUNS_MAX && case.run().violation.is_some()
    };
    let mut shrunk = true;
    while shrunk {
        shrunk = false;
        for smaller in smaller(&best) {
            if fails(&smaller) {
                (best, shrunk) = (smaller, true);
                break;
            }
        }
    }
    best
}

/// Histories that lack something, what is worth most first.
fn smaller(case: &Case) -> Vec<Case> {
    let plan = case.plan();
    let mut found = Vec::new();
    for part in [8, 4, 2] {
        let steps = plan.steps - plan.steps / part * (part - 1);
        found.push((steps < plan.steps).then_some(Case { steps: Some(steps), ..*case }));
    }
    for part in [4, 10, 40] {
        let steps = plan.steps - plan.steps / part;
        found.push((steps < plan.steps).then_some(Case { steps: Some(steps), ..*case }));
    }
    found.push((plan.clients > 1).then(|| Case { clients: Some(plan.clients - 1), ..*case }));
    found.push((plan.sets > 1).then(|| Case { sets: Some(plan.sets - 1), ..*case }));
    let present = Fault::ALL.iter().filter(|fault| plan.faults.has(**fault));
    found.extend(present.map(|fault| Some(Case { without: case.without.with(*fault), ..*case })));
    found.push((plan.steps > 0).then(|| Case { steps: Some(plan.steps - 1), ..*case }));
    found.into_iter().flatten().collect()
}
