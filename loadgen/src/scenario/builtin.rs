//! The scenarios that come with the program, as their files.

/// A file of `loadgen/scenarios`.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// As typed.
    pub name: &'static str,
    /// What the file holds.
    pub json: &'static str,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(Builtin { name: $name, json: include_str!(concat!("../../scenarios/", $name, ".json")) }),*]
    };
}

const ALL: &[Builtin] = files![
    "connect-1m",
    "phase-2",
    "phase-3",
    "peak",
    "storm",
    "million",
    "gala",
    "connect-10k",
    "phase-2-10k",
    "phase-3-10k",
    "peak-10k",
    "storm-10k",
    "million-10k",
    "gala-10k",
];

/// All of them, the small twins after the large ones.
pub const fn builtin() -> &'static [Builtin] {
    ALL
}

/// The one with this name.
pub fn find(name: &str) -> Option<Builtin> {
    ALL.iter().find(|one| one.name == name).copied()
}
