//! `hongbaod seed`: the command line of this module.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use hongbao_protocol::{CampaignId, Cents};

use super::{GenerateOptions, entropy, generate, parse_number, show, verify};
use crate::exit::{Exit, Failure};
use crate::meter::Meter;

/// Seed files: the envelopes of a campaign, made beforehand.
#[derive(Args, Clone, Debug)]
pub struct SeedArgs {
    #[command(subcommand)]
    command: SeedCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum SeedCommand {
    /// Make the seed files of a campaign, split over its servers.
    #[command(after_help = GENERATE_HELP)]
    Generate(GenerateArgs),
    /// Check seed files to the last bit.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
    /// Show what is in a seed file.
    #[command(after_help = SHOW_HELP)]
    Show(ShowArgs),
}

const GENERATE_HELP: &str = "\
Amounts follow the double-mean rule: each envelope but a file's last holds a random
amount between 1 cent and twice the mean of what is left, the last one the rest.
They sum to --total exactly. Server N finds its files in DIR/server-NN.
All files are written before the first gets its name. Their paths go to stdout,
everything else to stderr.

Examples:
  Ten million envelopes worth a million, for one server:
    hongbaod seed generate --count 10M --total 100M --sponsors 20 --servers 1 --output seeds
  A campaign of 600 servers, to be made again to the bit:
    hongbaod seed generate --count 60M --total 1_000_000_000 --sponsors 50 \\
      --servers 600 --campaign 2027 --rng-seed 42 --output seeds";

const VERIFY_HELP: &str = "\
Checks every block, every file's digest, count and total, and that no two files are
for the same campaign, server and shard. One line a file or damage goes to stdout:
FILE: ok: ... or FILE: PLACE: what is wrong. It goes on after any damage, and ends
with exit code 65 where there was one.

Examples:
  hongbaod seed verify seeds
  hongbaod seed verify seeds/server-01/seed-2027-s01-00.hbs";

const SHOW_HELP: &str = "\
Examples:
  hongbaod seed show seeds/server-01/seed-1-s01-00.hbs
  hongbaod seed show seeds/server-01/seed-1-s01-00.hbs --json
  The ten largest envelopes:
    hongbaod seed show FILE --envelopes | sort -k3 -n -r | head";

/// Arguments of `seed generate`.
#[derive(Args, Clone, Debug)]
struct GenerateArgs {
    /// Envelopes in all, such as 250000 or 10M.
    #[arg(long, value_name = "N", value_parser = parse_number)]
    count: u64,
    /// Money in all, in cents, such as 2000000 or 100M.
    #[arg(long, value_name = "CENTS", value_parser = parse_number)]
    total: u64,
    /// Sponsors, numbered from 1; each gets as many envelopes as any other.
    #[arg(long, value_name = "K")]
    sponsors: u32,
    /// Servers, numbered from 1.
    #[arg(long, value_name = "M")]
    servers: u16,
    /// Directory that gets a directory for each server; made where it is missing.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Campaign that the envelopes belong to.
    #[arg(long, value_name = "ID", default_value_t = 1)]
    campaign: u64,
    /// Files for each server.
    #[arg(long, value_name = "N", default_value_t = 1)]
    shards_per_server: u16,
    /// Makes the same files again; without it a random seed is taken and shown.
    #[arg(long, value_name = "S")]
    rng_seed: Option<u64>,
    /// Replace files of the same names.
    #[arg(long)]
    force: bool,
}

/// Arguments of `seed verify`.
#[derive(Args, Clone, Debug)]
struct VerifyArgs {
    /// Seed files, or directories of *.hbs files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Arguments of `seed show`.
#[derive(Args, Clone, Debug)]
struct ShowArgs {
    /// A seed file.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// One JSON object (with --envelopes: one a line).
    #[arg(long)]
    json: bool,
    /// List the envelopes instead: id, sponsor and amount in cents.
    #[arg(long)]
    envelopes: bool,
}

/// Runs the command: data to stdout, everything else to stderr.
pub fn run(args: SeedArgs) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.command {
        SeedCommand::Generate(args) => run_generate(args, &mut out),
        SeedCommand::Verify(args) => verify::run(&args.paths, &mut out),
        SeedCommand::Show(args) => show::run(&args.path, args.json, args.envelopes, &mut out),
    }?;
    written(out.flush())
}

/// What becomes of a failed write to stdout: a reader that has read enough (`| head`) is no failure.
pub(super) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io("Cannot write to stdout", &error)),
        _ => Ok(()),
    }
}

fn run_generate(args: GenerateArgs, out: &mut impl Write) -> Result<(), Failure> {
    if args.servers == 0 {
        return Err(Failure::new(Exit::Usage, "There must be at least one server. Raise --servers."));
    }
    let rng_seed = args.rng_seed.map_or_else(entropy, Ok)?;
    let options = GenerateOptions {
        campaign: CampaignId(args.campaign),
        count: args.count,
        total: Cents(args.total),
        sponsors: args.sponsors,
        servers: args.servers,
        shards_per_server: args.shards_per_server,
        output: args.output,
        rng_seed,
        force: args.force,
    };
    let mut meter = Meter::new("envelopes", options.count);
    let summary = generate(&options, &mut |progress| meter.at(progress.envelopes, progress.of))?;
    drop(meter);
    for file in &summary.files {
        written(writeln!(out, "{}", file.path.display()))?;
    }
    eprintln!(
        "campaign {}: {} envelopes worth {} in {} files below {}; made again by --rng-seed {rng_seed}",
        options.campaign,
        options.count,
        options.total,
        summary.files.len(),
        options.output.display(),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        seed: SeedArgs,
    }

    fn parse(line: &str) -> Result<Line, clap::Error> {
        Line::try_parse_from(std::iter::once("seed").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_what_the_contract_names() {
        Line::command().debug_assert();
        let line = "generate --count 10M --total 1_000 --sponsors 3 --servers 2 --output out --rng-seed 9";
        let SeedCommand::Generate(args) = parse(line).expect("valid").seed.command else { panic!("not generate") };
        assert_eq!((args.count, args.total, args.rng_seed), (10_000_000, 1_000, Some(9)));
        parse("verify a b").expect("valid");
        parse("show a --json").expect("valid");
        parse("verify").expect_err("nothing to verify");
        parse("generate --count ten --total 1 --sponsors 1 --servers 1 --output out").expect_err("no number");
    }

    #[test]
    fn a_reader_that_has_read_enough_is_no_failure() {
        written(Err(io::ErrorKind::BrokenPipe.into())).expect("no failure");
        assert_eq!(written(Err(io::ErrorKind::StorageFull.into())).expect_err("disk full").exit, Exit::Io);
    }
}
