//! `hongbaod pages`: manual pages and completions, from the command line's own description.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate_to};

use super::Cli;
use crate::exit::Failure;

/// Arguments of `pages`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  hongbaod pages /usr/local/share/hongbao
  hongbaod pages /tmp/pages && man -l /tmp/pages/hongbaod-serve.1

The Debian package has them in place.")]
pub(super) struct PagesArgs {
    /// The folder; made where it is missing
    folder: PathBuf,
}

/// Runs it.
pub(super) fn run(arguments: &PagesArgs) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(&arguments.folder)?;
        clap_mangen::generate_to(Cli::command(), &arguments.folder)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut Cli::command(), "hongbaod", &arguments.folder)?;
        }
        Ok(())
    };
    write().map_err(|error| Failure::io(format_args!("writing pages into {}", arguments.folder.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        run(&PagesArgs { folder: folder.path().to_path_buf() }).expect("a folder of our own");
        let serve = fs::read_to_string(folder.path().join("hongbaod-serve.1")).expect("the page of serve");
        assert!(serve.contains("\\-\\-issue\\-rate") && serve.contains("a demo campaign on loopback"), "{serve}");
        for name in ["hongbaod.1", "hongbaod-seed-generate.1", "hongbaod.bash", "_hongbaod", "hongbaod.fish"] {
            assert!(folder.path().join(name).is_file(), "{name}");
        }
    }
}
