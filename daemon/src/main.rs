//! hongbaod: see `hongbaod --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hongbaod::cli::main()
}
