//! `hongbao-loadgen pages`: manual pages and completions, from the command line's own description.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate_to};

use crate::arguments::CommandLine;
use crate::exit::{Exit, Failure};

/// Arguments of `pages`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  hongbao-loadgen pages /usr/local/share/hongbao
  hongbao-loadgen pages /tmp/pages && man -l /tmp/pages/hongbao-loadgen-run.1

The Debian package has them in place.")]
pub struct PagesArgs {
    /// The folder; made where it is missing
    folder: PathBuf,
}

/// Runs it.
pub fn run(arguments: &PagesArgs) -> Result<Exit, Failure> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(&arguments.folder)?;
        clap_mangen::generate_to(CommandLine::command(), &arguments.folder)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut CommandLine::command(), "hongbao-loadgen", &arguments.folder)?;
        }
        Ok(())
    };
    write().map_err(|error| Failure::error(format!("writing pages into {}: {error}", arguments.folder.display())))?;
    Ok(Exit::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        run(&PagesArgs { folder: folder.path().to_path_buf() }).expect("a folder of our own");
        let page = fs::read_to_string(folder.path().join("hongbao-loadgen-run.1")).expect("the page of run");
        assert!(page.contains("\\-\\-schedule") && page.contains("60,000 shakes a second"), "{page}");
        for name in [
            "hongbao-loadgen.1",
            "hongbao-loadgen-compare.1",
            "hongbao-loadgen.bash",
            "_hongbao-loadgen",
            "hongbao-loadgen.fish",
        ] {
            assert!(folder.path().join(name).is_file(), "{name}");
        }
    }
}
