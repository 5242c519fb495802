//! Bugs put into the daemon on purpose, in a build with the feature `planted-bugs`: a simulation that does not find them does not look.

#[cfg(not(feature = "planted-bugs"))]
#[test]
fn the_simulation_finds_the_bugs_that_were_planted() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args([
        "test",
        "--locked",
        "--offline",
        "--features",
        "planted-bugs",
        "--test",
        "planted",
        "--",
        "--nocapture",
    ]);
    let run = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}");
    assert!(told.contains("5 of 5 planted bugs found"), "{told}");
    println!("{told}");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_is_found_and_a_smaller_history_shows_it_too() {
    use hongbao_sim::{Case, hush_panics, shrink};
    use hongbaod::planted::{Bug, plant};

    /// Far more histories than any of them takes.
    const HISTORIES: u64 = 20_000;

    hush_panics();
    let mut found = 0;
    for bug in Bug::ALL {
        plant(Some(bug));
        let failing = (0..HISTORIES).map(Case::of_seed).find(|case| case.run().violation.is_some());
        let Some(case) = failing else { panic!("{bug:?} was not found in {HISTORIES} histories") };
        let small = shrink(case);
        let (step, text) = small.run().violation.expect("what was shrunk still fails");
        assert_eq!(small.run().violation, Some((step, text.clone())), "and fails the same way again");
        println!("{bug:?}: history {}; smallest `{small}`: turn {step}: {text}", case.seed + 1);
        found += 1;
        plant(None);
        assert_eq!(small.run().violation, None, "without the bug the same history is right");
    }
    println!("{found} of {} planted bugs found", Bug::ALL.len());
}
