//! Orders to a running daemon: each is known by its effect on clients, not by its answer alone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};

use hongbao_protocol::wire::{GoAwayReason, ServerFrame};
use nix::sys::signal::Signal;

use crate::client::{Client, hello};
use crate::daemon::{BINARY, Campaign, Daemon, until};

impl Campaign {
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.path("admin.sock")
    }

    /// `serve` with an admin socket and this configuration file.
    pub(crate) fn serve_with(&self, configuration: &str) -> Command {
        self.configure(configuration);
        let mut serve = self.serve();
        serve.arg("--admin-socket").arg(self.admin_socket()).arg("--config").arg(self.path("hongbaod.json"));
        serve
    }

    pub(crate) fn configure(&self, configuration: &str) {
        fs::write(self.path("hongbaod.json"), configuration).expect("own folder");
    }

    /// `hongbaod ctl WORDS`.
    pub(crate) fn ctl(&self, words: &str) -> Output {
        let mut ctl = Command::new(BINARY);
        ctl.arg("ctl").arg("--socket").arg(self.admin_socket()).args(words.split_whitespace());
        ctl.output().expect("the binary runs")
    }

    /// An order that must be carried out, and be in force: what was answered.
    pub(crate) fn order(&self, words: &str) -> String {
        let output = self.ctl(words);
        let said = String::from_utf8(output.stdout).expect("text");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{words}: {said} {errors}");
        assert!(said.contains("(in force after "), "{words}: {said}");
        said
    }

    /// An order that must be refused with this exit code: why.
    pub(crate) fn refused_order(&self, words: &str, code: i32) -> String {
        let output = self.ctl(words);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        said
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.ctl("status --json");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a status is JSON")
    }
}

/// Shakes so often, and says how often it won.
fn wins_of(client: &mut Client, shakes: u32) -> usize {
    (0..shakes).filter(|sequence| matches!(client.shake(*sequence), ServerFrame::Envelope { .. })).count()
}

const WITHOUT_CAPS: &str = r#"{"cap_per_user": "unlimited", "cap_per_sponsor": "unlimited"}"#;

#[test]
fn a_pause_is_in_force_when_it_is_answered_and_loses_nothing() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_with(WITHOUT_CAPS));
    let (mut client, _) = Client::login(daemon.listen, 7);
    client.win();
    campaign.order("pause");
    assert_eq!(wins_of(&mut client, 300), 0, "not one is issued after the answer");
    daemon.wait_for_metric("hongbao_balance_envelopes{state=\"with_sets\"}", |held| held == 0);
    let status = campaign.status();
    assert_eq!(status["state"], "paused", "{status}");
    assert_eq!(status["issue"]["rate"], "0/s", "{status}");
    assert!(campaign.order("pause").contains("already"));
    assert!(campaign.order("resume").contains("unlimited"));
    client.win();
    assert_eq!(campaign.status()["state"], "serving");
    let log = daemon.stop();
    let pause = log.lines().find(|line| line.contains("operator command") && line.contains("command=pause"));
    let pause = pause.expect("the order is logged");
    assert!(pause.contains("uid=") && pause.contains("pid=") && pause.contains("outcome=\"done\""), "{pause}");
}

#[test]
fn the_rate_is_what_was_ordered_last_until_it_is_planned_again() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_with(r#"{"cap_per_user": "unlimited"}"#));
    let said = campaign.order("rate 70/s");
    assert!(said.contains("70/s") && said.contains("planned: unlimited"), "{said}");
    assert_eq!(daemon.metric("hongbao_issue_rate_envelopes"), 70);
    assert_eq!(campaign.status()["issue"]["by_operator"], true);
    campaign.order("rate 0/s");
    let (mut client, _) = Client::login(daemon.listen, 7);
    assert_eq!(wins_of(&mut client, 100), 0);
    campaign.order("rate planned");
    client.win();
    assert_eq!(daemon.metric("hongbao_commands_total{command=\"rate\",outcome=\"done\"}"), 3);
    assert!(campaign.refused_order("rate 70", 64).contains("200/s"));
    daemon.stop();
}

#[test]
fn who_is_kicked_may_come_back_and_who_is_barred_may_not() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve_with("{}");
    serve.args(["--sets", "3"]);
    let daemon = Daemon::start(serve);
    let (mut client, _) = Client::login(daemon.listen, 7);
    let (mut other, _) = Client::login(daemon.listen, 8);
    assert!(campaign.order("kick 7").contains("1 connection;"));
    let farewell = client.frame();
    assert!(matches!(farewell, ServerFrame::GoAway { reason: GoAwayReason::Dismissed, .. }), "{farewell:?}");
    client.is_closed();
    assert!(campaign.order("kick 99").contains("0 connections"));
    let (mut back, _) = Client::login(daemon.listen, 7);
    back.is_served();

    assert!(campaign.order("bar 7").contains("1 connection"));
    assert_eq!(campaign.status()["connections"]["barred"], 1);
    assert!(matches!(back.frame(), ServerFrame::GoAway { reason: GoAwayReason::Barred, .. }));
    for _ in 0..6 {
        let mut again = Client::connect(daemon.listen);
        again.send(&hello(7));
        assert!(matches!(again.frame(), ServerFrame::GoAway { reason: GoAwayReason::Barred, .. }));
        again.is_closed();
    }
    campaign.order("unbar 7");
    Client::login(daemon.listen, 7).0.is_served();
    other.is_served();
    assert!(campaign.refused_order("kick 3/0", 64).contains("0 to 2"));
    daemon.stop();
}

#[test]
fn a_reload_brings_caps_and_interval_into_force_and_names_what_must_wait() {
    let campaign = Campaign::new();
    let mut daemon = Daemon::start(campaign.serve_with(r#"{"cap_per_user": 1, "server_id": 1}"#));
    let (mut client, _) = Client::login(daemon.listen, 7);
    client.win();
    assert!(matches!(client.shake(2), ServerFrame::UserLimit { .. }));

    // The sets are a flag, and flags stay above the file.
    campaign.configure(
        r#"{"cap_per_user": 2, "cap_per_sponsor": 2, "sets": 2, "idle_timeout": "3m", "login_timeout": "9s"}"#,
    );
    let said = campaign.order("reload");
    assert!(said.contains("in force now: cap_per_sponsor, cap_per_user, login_timeout"), "{said}");
    assert!(said.contains("NOT in force before a restart: idle_timeout ("), "{said}");
    client.win();
    assert!(matches!(client.shake(3), ServerFrame::UserLimit { .. }));

    // By signal, too.
    campaign.configure(r#"{"cap_per_user": 3, "cap_per_sponsor": 3}"#);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_line("SIGHUP");
    client.win();
    daemon.stop();
}

#[test]
fn a_bad_file_changes_nothing_and_every_fault_is_told() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_with(r#"{"cap_per_user": 1}"#));
    for (file, fault) in [
        (r#"{"cap_per_user": 2, "login_timeout": "soon"}"#, "login_timeout"),
        (r#"{"cap_per_user": 2, "caps": 3}"#, "caps: unknown field"),
        (r#"{"cap_per_user": 2, "login_timeout": "0s"}"#, "login-timeout is 0s"),
        (r#"{"cap_per_user": 2"#, "not a JSON object"),
    ] {
        campaign.configure(file);
        let said = campaign.refused_order("reload", 78);
        assert!(said.contains(fault) && said.contains("nothing was changed"), "{said}");
    }
    fs::remove_file(campaign.path("hongbaod.json")).expect("own folder");
    assert!(campaign.refused_order("reload", 69).contains("hongbaod.json"));
    let (mut client, _) = Client::login(daemon.listen, 7);
    client.win();
    assert!(matches!(client.shake(2), ServerFrame::UserLimit { .. }), "the cap is still 1");
    assert_eq!(daemon.metric("hongbao_config_reloads_total{outcome=\"refused\"}"), 5);
    daemon.stop();
}

#[test]
fn the_status_of_a_daemon_at_work_tells_what_an_operator_looks_for() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_with(WITHOUT_CAPS));
    let (mut client, _) = Client::login(daemon.listen, 7);
    let won = client.win();
    let status = until("the rates are sampled", || {
        client.shake(1);
        let sampled = |status: &serde_json::Value| {
            status["requests"]["qps"].as_f64() > Some(0.0) && status["ledger"]["commit_p99_us"].as_u64() > Some(0)
        };
        Some(campaign.status()).filter(sampled)
    });
    assert_eq!(status["connections"]["users_online"], 1);
    assert_eq!(status["money"]["difference_cents"], 0);
    assert!(status["money"]["issued"]["cents"].as_u64() >= Some(won.amount.0), "{status}");
    assert_eq!(status["warnings"].as_array().map(Vec::len), Some(0), "{status}");
    assert_eq!(status["sets"].as_array().map(Vec::len), Some(1));
    let screen = String::from_utf8(campaign.ctl("status").stdout).expect("text");
    assert!(screen.starts_with("SERVING") && screen.contains("adds up"), "{screen}");
    assert!(screen.lines().count() <= 24, "{screen}");
    daemon.stop();
}

#[test]
fn a_drain_ends_the_daemon_in_good_order() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_with("{}"));
    let (mut client, _) = Client::login(daemon.listen, 7);
    let output = campaign.ctl("drain");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(matches!(client.frame(), ServerFrame::GoAway { reason: GoAwayReason::Stopping, .. }));
    client.is_closed();
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!campaign.admin_socket().exists(), "the socket goes with the daemon");
}

#[test]
fn a_killed_daemons_socket_is_told_as_such_and_taken_over_by_the_next() {
    let campaign = Campaign::new();
    assert!(campaign.refused_order("status", 69).contains("--admin-socket"));
    drop(Daemon::start(campaign.serve_with("{}")));
    assert!(campaign.admin_socket().exists(), "a killed daemon leaves it");
    assert!(campaign.refused_order("pause", 69).contains("has ended"));
    let daemon = Daemon::start(campaign.serve_with("{}"));
    campaign.order("pause");
    daemon.stop();
}

#[test]
fn clients_that_flood_the_admin_socket_hold_up_neither_orders_nor_shakes() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_with(WITHOUT_CAPS));
    let mut hostile: Vec<UnixStream> = (0..8)
        .map(|number: usize| {
            let mut stream = UnixStream::connect(campaign.admin_socket()).expect("it listens");
            let bytes: Vec<u8> = match number % 4 {
                0 => vec![b'{'; 100_000],
                1 => b"{\"command\":\"status\"}\n".repeat(500),
                2 => b"\n\n\0\xff\n{}\n".repeat(100),
                _ => b"{\"command\":\"ra".to_vec(),
            };
            // Whoever is cut off amid it has been heard enough.
            drop(stream.write_all(&bytes));
            stream
        })
        .collect();
    let (mut client, _) = Client::login(daemon.listen, 7);
    client.win();
    campaign.order("pause");
    assert_eq!(wins_of(&mut client, 50), 0);
    campaign.order("resume");
    client.win();
    let mut answers = Vec::new();
    drop(hostile[0].read_to_end(&mut answers));
    assert!(String::from_utf8_lossy(&answers).contains("at most 4096 bytes"));
    daemon.stop();
}

/// The next frame about a round; answers to shakes that come before it are passed over.
fn round_told(client: &mut Client) -> (u16, u64, u64, u64) {
    loop {
        if let ServerFrame::Round { round, server_time_us, start_us, end_us } = client.frame() {
            return (round, server_time_us, start_us, end_us);
        }
    }
}

/// Shakes until it wins; what of rounds comes meanwhile is passed over. `None` where it did not within so many.
fn wins_within(client: &mut Client, shakes: u32) -> Option<u64> {
    for sequence in 0..shakes {
        client.send(&hongbao_protocol::wire::ClientFrame::Shake { sequence });
        loop {
            match client.frame() {
                ServerFrame::Envelope { envelope, .. } => return Some(envelope.id.0),
                ServerFrame::Round { .. } => {}
                _ => break,
            }
        }
    }
    None
}

const CUED: &str = r#"{"issue_rate": "0/s", "cap_per_user": 9, "cap_per_sponsor": 9, "rounds": [
    {"name": "warm-up", "duration": "1h", "rate": "unlimited", "cap_per_user": 2, "note": "after the anthem"},
    {"name": "main", "duration": "10m", "envelopes": 3000, "leftover": "carry"}]}"#;

impl Campaign {
    /// Without the issue rate of the other tests, which would go before the file's.
    fn serve_rounds(&self, configuration: &str) -> Command {
        let with_rate = self.serve_with(configuration);
        let mut serve = Command::new(BINARY);
        let mut arguments = with_rate.get_args();
        while let Some(argument) = arguments.next() {
            if argument == "--issue-rate" {
                arguments.next();
            } else {
                serve.arg(argument);
            }
        }
        serve
    }
}

#[test]
fn a_round_begins_on_cue_is_told_to_clients_and_ends_with_the_last_envelope_in_it() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_rounds(CUED));
    let (mut client, _) = Client::login(daemon.listen, 7);
    assert_eq!(wins_within(&mut client, 100), None, "no round runs, and the rate outside of them is 0/s");
    let listed = campaign.ctl("rounds").stdout;
    assert!(String::from_utf8_lossy(&listed).contains("waits for its cue"));

    let said = campaign.order("round warm-up start-at +1s");
    assert!(said.contains("begins in"), "{said}");
    let (round, server_time_us, start_us, end_us) = round_told(&mut client);
    assert_eq!((round, end_us - start_us), (1, 3_600_000_000));
    assert!(server_time_us < start_us, "told before it begins");
    until("the round begins", || wins_within(&mut client, 10));
    assert_eq!(daemon.metric("hongbao_round"), 1);
    let (mut late, _) = Client::login(daemon.listen, 8);
    assert_eq!(round_told(&mut late).0, 1, "whoever comes later is told, too");
    // Its cap is 2, but 9 are allowed outside of it: nobody is told to give up.
    until("the second win", || wins_within(&mut client, 10));
    assert_eq!(wins_within(&mut client, 100), None);

    campaign.order("round warm-up end-at now");
    assert_eq!(daemon.metric("hongbao_round"), 0);
    assert_eq!(wins_within(&mut late, 100), None, "not one after the end");
    daemon.wait_for_metric("hongbao_balance_envelopes{state=\"with_sets\"}", |held| held == 0);
    assert!(campaign.refused_order("round warm-up start-at now", 64).contains("over"));
    assert!(campaign.refused_order("round none start-at now", 64).contains("warm-up, main"));
    daemon.stop();
}

#[test]
fn a_round_of_so_many_envelopes_is_smoothed_and_its_end_can_move() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_rounds(CUED));
    campaign.order("round main start-at now");
    daemon.wait_for_metric("hongbao_round_planned_envelopes", |planned| planned == 3000);
    let rate = daemon.metric("hongbao_issue_rate_envelopes");
    assert!((1..=6).contains(&rate), "3,000 in ten minutes are 5 a second, not {rate}");
    campaign.order("round main end-at +1s");
    let (mut client, _) = Client::login(daemon.listen, 7);
    until("the round is over", || {
        wins_within(&mut client, 3);
        (daemon.metric("hongbao_round") == 0).then_some(())
    });
    assert!(daemon.metric("hongbao_balance_difference_cents") == 0);
    daemon.stop();
}

#[test]
fn a_new_schedule_comes_with_a_reload_and_a_wrong_one_does_not() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_rounds(r#"{"issue_rate": "5/s"}"#));
    let wrong = r#"{"issue_rate": "5/s", "rounds": [{"name": "a", "rate": "5/s"}], "playbooks": {"b": {"actions": ["drain"]}}}"#;
    campaign.configure(wrong);
    let said = campaign.refused_order("reload", 78);
    assert!(said.contains("`a`: give it either an end or a duration") && said.contains("cannot be undone"), "{said}");
    campaign.configure(CUED);
    let said = campaign.order("reload");
    assert!(said.contains("rounds") && said.contains("issue_rate"), "{said}");
    let status = campaign.order("round main start-at +100s");
    assert!(status.contains("begins in"), "{status}");
    assert_eq!(campaign.status()["round"]["name"], "main");
    daemon.stop();
}

#[test]
fn a_playbook_is_one_order_that_can_be_rehearsed_and_undone() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_with(
        r#"{"cap_per_user": "unlimited", "cap_per_sponsor": "unlimited",
            "playbooks": {"calm": {"note": "when it is too much", "actions": ["pause", "interval 20s", "bar 9"]}}}"#,
    ));
    let (mut client, _) = Client::login(daemon.listen, 7);
    let rehearsed = campaign.ctl("playbook calm --dry-run");
    assert!(String::from_utf8_lossy(&rehearsed.stdout).contains("nothing was done"));
    client.win();
    campaign.order("playbook calm");
    assert_eq!(wins_of(&mut client, 20), 0);
    let ServerFrame::None { retry_after_ms, .. } = client.shake(99) else { panic!("no none") };
    assert!(retry_after_ms > 10_000, "the interval is in force: {retry_after_ms}");
    assert_eq!(campaign.status()["playbooks"][0], "calm");
    campaign.order("playbook calm --undo");
    client.win();
    assert_eq!(campaign.status()["connections"]["barred"], 0);
    assert!(campaign.refused_order("playbook calm --undo", 64).contains("not in force"));
    daemon.stop();
}
