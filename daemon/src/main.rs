//! hongbaod: see `hongbaod --help`.

fn main() {}
