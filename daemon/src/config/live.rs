//! What of the configuration can change while the daemon runs.

use serde_json::{Map, Value};

use super::Config;

/// The keys that a reload brings into force; each of the others takes a restart.
pub const LIVE_KEYS: [&str; 8] = [
    "issue_rate",
    "cap_per_user",
    "cap_per_sponsor",
    "min_shake_interval",
    "login_timeout",
    "log_level",
    "rounds",
    "playbooks",
];

impl Config {
    /// The keys in which `fresh` differs: those that can change now, and those that take a restart.
    pub fn differences(&self, fresh: &Self) -> (Vec<String>, Vec<String>) {
        let (old, new) = (keys(self), keys(fresh));
        let mut differing: Vec<String> =
            old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).cloned().collect();
        differing.sort_unstable();
        differing.dedup();
        differing.into_iter().partition(|key| LIVE_KEYS.contains(&key.as_str()))
    }

    /// Takes over what can change now.
    pub fn take_live(&mut self, fresh: &Self) {
        self.issue_rate = fresh.issue_rate;
        self.cap_per_user = fresh.cap_per_user;
        self.cap_per_sponsor = fresh.cap_per_sponsor;
        self.min_shake_interval = fresh.min_shake_interval;
        self.login_timeout = fresh.login_timeout;
        self.log_level = fresh.log_level;
        self.rounds.clone_from(&fresh.rounds);
        self.playbooks.clone_from(&fresh.playbooks);
    }
}

fn keys(config: &Config) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(keys)) => keys,
        other => unreachable!("a configuration is an object of keys, not {other:?}"),
    }
}
