use clap::{Args as _, FromArgMatches as _};

use super::*;
use crate::limits;

const HOST: Host = Host { cores: 4, nofile: 20_000, direct_descriptors: true };

fn settings(json: &str) -> Settings {
    Settings::from_json(json).expect("good settings")
}

fn problem(json: &str, host: &Host) -> String {
    let failure = Config::resolve(settings(json), host).expect_err("must be refused");
    assert_eq!(failure.exit, Exit::Config);
    failure.message
}

fn flags(arguments: &[&str]) -> Settings {
    let command = Settings::augment_args(clap::Command::new("t").no_binary_name(true));
    Settings::from_arg_matches(&command.get_matches_from(arguments)).expect("good flags")
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = settings(r#"{"sets": 3, "issue_rate": "7/s"}"#);
    let config = Config::resolve(flags(&["--sets", "2"]).over(file), &HOST).expect("fits");
    assert_eq!(config.sets, 2);
    assert_eq!(config.issue_rate, Rate::PerSecond(7));
    assert_eq!(config.cap_per_user, Cap::AtMost(3));
}

#[test]
fn every_problem_of_a_file_is_told_at_once_with_its_key() {
    let problems = Settings::from_json(r#"{"sets": "two", "lisen": "127.0.0.1:1", "issue_rate": "200"}"#)
        .expect_err("three faults");
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.starts_with("lisen: unknown field")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.starts_with("sets: invalid type")), "{problems:?}");
    assert!(
        problems.iter().any(|problem| problem.starts_with("issue_rate: ") && problem.contains("200/s")),
        "{problems:?}"
    );
}

#[test]
fn a_file_that_is_no_object_or_says_a_key_twice_is_refused() {
    for text in ["", "[]", "{", "3", r#"{"sets": 1, "sets": 2}"#] {
        assert_eq!(Settings::from_json(text).expect_err("no settings").len(), 1, "{text}");
    }
}

#[test]
fn every_setting_that_does_not_fit_is_told_at_once() {
    let message = problem(
        r#"{"sets": 0, "connections_per_set": 0, "issue_rate": "0/s", "idle_timeout": "1us", "data_dir": "/d",
            "journal_segment_size": "5000B", "listen": "127.0.0.1:1", "metrics_listen": "127.0.0.1:1"}"#,
        &HOST,
    );
    for key in
        ["sets is 0", "connections-per-set is 0", "issue-rate", "idle-timeout", "seed-dir", "journal-seg", "both"]
    {
        assert!(message.contains(key), "{key} is missing in {message}");
    }
    assert!(message.contains("7 problems"), "{message}");
}

#[test]
fn more_connections_than_files_names_the_limit_and_how_to_raise_it() {
    let direct = problem(r#"{"sets": 2, "connections_per_set": 20000}"#, &HOST);
    assert!(
        direct.contains("RLIMIT_NOFILE") && direct.contains("20000") && direct.contains("LimitNOFILE="),
        "{direct}"
    );
    let plain = problem(r#"{"sets": 2, "connections_per_set": 10000, "descriptors": "plain"}"#, &HOST);
    assert!(plain.contains("RLIMIT_NOFILE") && plain.contains("plain"), "{plain}");
    let older = Host { direct_descriptors: false, ..HOST };
    assert!(Config::resolve(settings(r#"{"sets": 2, "connections_per_set": 19000}"#), &HOST).is_ok());
    assert!(Config::resolve(settings(r#"{"sets": 2, "connections_per_set": 19000}"#), &older).is_err());
    let large = Host { nofile: 1 << 30, ..HOST };
    assert!(problem(r#"{"connections_per_set": 1048576}"#, &large).contains("a ring's table"));
}

#[test]
fn the_defaults_fit_any_machine() {
    for cores in [1, 2, 64, 256] {
        for nofile in [1024, 20_000, 1 << 20, 1 << 30] {
            for direct_descriptors in [false, true] {
                let host = Host { cores, nofile, direct_descriptors };
                let config = Config::resolve(Settings::default(), &host).expect("defaults fit");
                assert!(config.connections_per_set > 0);
                let all = u64::from(config.connections_per_set) * u64::from(config.sets);
                assert!(all <= u64::from(limits::CONNECTIONS_DEFAULT_MAX), "{host:?}: {all}");
            }
        }
    }
}

#[test]
fn the_demo_campaign_never_listens_to_the_world() {
    assert!(problem(r#"{"listen": "0.0.0.0:8866"}"#, &HOST).contains("loopback only"));
    let with_campaign = r#"{"listen": "0.0.0.0:8866", "seed_dir": "/s", "data_dir": "/d"}"#;
    assert!(Config::resolve(settings(with_campaign), &HOST).is_ok());
}

#[test]
fn what_is_shown_as_in_force_is_a_file_that_gives_the_same_again() {
    for json in [
        "{}",
        r#"{"seed_dir": "/s", "data_dir": "/d", "cap_per_user": "unlimited", "pin": "0,1", "issue_rate": "unlimited"}"#,
    ] {
        let config = Config::resolve(settings(json), &HOST).expect("fits");
        let shown = serde_json::to_string(&config).expect("serializes");
        let again = Config::resolve(settings(&shown), &Host { cores: 9, nofile: 1 << 20, ..HOST }).expect("fits");
        assert_eq!(serde_json::to_string(&again).expect("serializes"), shown);
    }
}

/// The help text is all a person reads: its "[default: ...]" must be what happens.
#[test]
fn each_default_in_the_help_is_the_one_in_force() {
    let in_force = Config::resolve(Settings::default(), &HOST).expect("defaults fit");
    let command = Settings::augment_args(clap::Command::new("t"));
    let mut checked = 0;
    for argument in command.get_arguments() {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let flag = argument.get_long().expect("every setting has a long flag");
        let Some(default) = help.split_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']')) else {
            assert!(["seed-dir", "data-dir", "admin-socket"].contains(&flag), "{flag} tells no default");
            continue;
        };
        if default.contains(' ') {
            continue; // said in words: it depends on the machine
        }
        let config = Config::resolve(flags(&[&format!("--{flag}"), default]), &HOST).expect("a default is good");
        assert_eq!(config, in_force, "{flag}");
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} defaults were checked");
}

#[test]
fn every_flag_has_its_variable_and_its_key_of_the_same_name() {
    let keys = serde_json::to_value(Settings::default()).expect("serializes");
    let mut keys = keys.as_object().expect("an object").clone();
    // Structures that no flag could hold.
    assert!(["rounds", "playbooks"].iter().all(|key| keys.remove(*key).is_some()));
    let command = Settings::augment_args(clap::Command::new("t"));
    for argument in command.get_arguments() {
        let name = argument.get_long().expect("every setting has a long flag").replace('-', "_");
        let variable = argument.get_env().expect("every setting has a variable").to_string_lossy();
        assert_eq!(variable, format!("HONGBAO_{}", name.to_uppercase()));
        assert!(keys.contains_key(&name), "{name} is no key of the file");
    }
    assert_eq!(command.get_arguments().count(), keys.len());
}
