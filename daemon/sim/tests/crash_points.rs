//! Every crash of a short history, with everything that the disk could hold after it.

use hongbao_sim::enumerate_crash_points;
use hongbao_uring::WritePath;

#[test]
fn wherever_a_short_history_ends_every_answered_win_is_there_and_the_journal_goes_on() {
    let mut states = 0;
    for path in [WritePath::Direct, WritePath::Linked] {
        let found = enumerate_crash_points(path).unwrap_or_else(|broken| panic!("{}: {broken}", path.label()));
        println!("{}: {} crash points, {} states, 0 violations", path.label(), found.points, found.states);
        states += found.states;
    }
    assert!(states >= 100_000, "only {states} states");
}
