//! A rehearsed set of orders, for when there is no time to think of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Command;
use crate::limits::PLAYBOOKS_MAX;
use crate::rounds::is_name;

/// One playbook, as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    /// When to use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its orders, as they are typed behind `hongbaod ctl`, in their order.
    #[serde(serialize_with = "as_words", deserialize_with = "from_words")]
    pub actions: Vec<Command>,
}

fn as_words<S: Serializer>(actions: &[Command], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(actions.iter().map(Command::to_string))
}

fn from_words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Command>, D::Error> {
    let parse = |words: String| words.parse().map_err(|error| serde::de::Error::custom(format!("`{words}`: {error}")));
    Vec::<String>::deserialize(deserializer)?.into_iter().map(parse).collect()
}

/// What is wrong with playbooks, each with what to do about it.
pub fn playbook_problems(playbooks: &BTreeMap<String, Playbook>) -> Vec<String> {
    let mut problems = Vec::new();
    if playbooks.len() > PLAYBOOKS_MAX {
        problems.push(format!("playbooks: there are {}, and at most {PLAYBOOKS_MAX} may be", playbooks.len()));
    }
    for (name, playbook) in playbooks {
        let mut wrong = |problem: String| problems.push(format!("playbooks: `{name}`: {problem}"));
        if !is_name(name) {
            wrong("a name is 1 to 32 of a-z, 0-9, - and _".to_owned());
        }
        if !(1..=PLAYBOOKS_MAX).contains(&playbook.actions.len()) {
            wrong(format!("it must have between 1 and {PLAYBOOKS_MAX} actions"));
        }
        for action in playbook.actions.iter().filter(|action| !is_undone(action)) {
            wrong(format!(
                "`{action}` cannot be undone, so it has no place here: there are rate, interval, pause, resume, bar and unbar"
            ));
        }
    }
    problems
}

/// Whether another order takes it back.
const fn is_undone(command: &Command) -> bool {
    matches!(
        command,
        Command::Rate { .. }
            | Command::Interval { .. }
            | Command::Pause
            | Command::Resume
            | Command::Gifts { .. }
            | Command::Bar { .. }
            | Command::Unbar { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playbook_with_an_order_that_is_none_or_cannot_be_undone_is_refused() {
        let parse = serde_json::from_str::<BTreeMap<String, Playbook>>;
        let error = parse(r#"{"calm": {"actions": ["rate 50/s", "slow down"]}}"#).expect_err("no such order");
        assert!(error.to_string().contains("`slow down`: unrecognized"), "{error}");
        assert!(parse(r#"{"calm": {"action": ["pause"]}}"#).is_err());
        let wrong = parse(r#"{"calm": {"actions": []}, "Calm": {"actions": ["drain", "pause"]}}"#).expect("orders");
        let told = playbook_problems(&wrong).join("\n");
        assert!(
            told.contains("between 1 and") && told.contains("`drain` cannot be undone") && told.contains("a-z"),
            "{told}"
        );
        let text = r#"{"calm":{"note":"when it is too much","actions":["rate 50/s","interval 20s","bar 7 --for 1m"]}}"#;
        let good = parse(text).expect("good");
        assert_eq!(playbook_problems(&good), [] as [&str; 0]);
        assert_eq!(serde_json::to_string(&good).expect("serializes"), text);
    }
}
