//! How a campaign is split over servers and files: without overlap, and to the cent.

use std::path::{Path, PathBuf};

use hongbao_protocol::seed::SeedBinding;
use hongbao_protocol::{Cents, ServerId, ShardId};

use super::GenerateOptions;
use hongbao_protocol::seed::FILE_EXTENSION;

use crate::exit::{Exit, Failure};
use crate::limits::{SEED_FILES_MAX, SEED_SPONSORS_MAX};

/// Where the files of one server go: a directory that can be given to that server whole.
pub fn server_directory(output: &Path, server: ServerId) -> PathBuf {
    output.join(format!("server-{:02}", server.0))
}

/// The name of a seed file, which tells what its header says.
pub fn file_name(binding: &SeedBinding) -> String {
    let SeedBinding { campaign, server, shard } = binding;
    format!("seed-{campaign}-s{:02}-{:02}.{FILE_EXTENSION}", server.0, shard.0)
}

/// One file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilePlan {
    pub(super) binding: SeedBinding,
    pub(super) count: u32,
    pub(super) total: Cents,
    pub(super) path: PathBuf,
}

/// Servers are numbered from 1, the shards of each from 0. Every file gets its part of the envelopes, to within one, and of the
/// total, in proportion to its envelopes and to within one cent.
pub(super) fn plan(options: &GenerateOptions) -> Result<Vec<FilePlan>, Failure> {
    let files = checked_files(options)?;
    // Envelopes and money up to the end of each file; a file has the differences. So all of it is dealt out, whatever rounds.
    let envelopes_until = |file: u64| u128::from(options.count) * u128::from(file) / u128::from(files);
    let cents_until = |envelopes: u128| u128::from(options.total.0) * envelopes / u128::from(options.count);
    (0..files)
        .map(|file| {
            let server = ServerId((file / u64::from(options.shards_per_server)) as u16 + 1);
            let shard = ShardId((file % u64::from(options.shards_per_server)) as u16);
            let binding = SeedBinding { campaign: options.campaign, server, shard };
            let (from, until) = (envelopes_until(file), envelopes_until(file + 1));
            let count = u32::try_from(until - from).map_err(|_| {
                usage(format!(
                    "{} envelopes are too many for {files} files of at most {}. Raise --shards-per-server.",
                    options.count,
                    u32::MAX
                ))
            })?;
            let total = Cents((cents_until(until) - cents_until(from)) as u64);
            let path = server_directory(&options.output, server).join(file_name(&binding));
            Ok(FilePlan { binding, count, total, path })
        })
        .collect()
}

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// The number of files, where everything asked for is possible.
fn checked_files(options: &GenerateOptions) -> Result<u64, Failure> {
    let files = u64::from(options.servers) * u64::from(options.shards_per_server);
    if files == 0 {
        return Err(usage("There must be at least one server and one shard per server.".into()));
    }
    if files > SEED_FILES_MAX {
        return Err(usage(format!("{files} files are too many: at most {SEED_FILES_MAX}. Lower --shards-per-server.")));
    }
    if options.count < files {
        let count = options.count;
        return Err(usage(format!(
            "{count} envelopes are too few for {files} files. Raise --count or lower --servers."
        )));
    }
    if options.total < Cents(options.count) {
        let (total, count) = (options.total.0, options.count);
        return Err(usage(format!(
            "{total} cents are too few for {count} envelopes of at least 1 cent. Raise --total or lower --count."
        )));
    }
    if !(1..=SEED_SPONSORS_MAX).contains(&options.sponsors) {
        return Err(usage(format!("There must be 1 to {SEED_SPONSORS_MAX} sponsors, not {}.", options.sponsors)));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use hongbao_protocol::CampaignId;
    use proptest::prelude::*;

    use super::*;

    fn options(count: u64, total: u64, servers: u16, shards_per_server: u16) -> GenerateOptions {
        GenerateOptions {
            campaign: CampaignId(7),
            count,
            total: Cents(total),
            sponsors: 3,
            servers,
            shards_per_server,
            output: "out".into(),
            rng_seed: 0,
            force: false,
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_dealt_twice_between_files(
            servers in 1_u16..20,
            shards in 1_u16..5,
            more in 0_u64..100_000,
            over in 0_u64..u64::MAX / 2,
        ) {
            let files = u64::from(servers) * u64::from(shards);
            let (count, total) = (files + more, files + more + over);
            let plans = plan(&options(count, total, servers, shards)).expect("a possible plan");
            prop_assert_eq!(plans.len() as u64, files);
            prop_assert_eq!(plans.iter().map(|plan| u64::from(plan.count)).sum::<u64>(), count);
            prop_assert_eq!(plans.iter().map(|plan| plan.total).sum::<Cents>(), Cents(total));
            prop_assert!(plans.iter().all(|plan| plan.count > 0 && plan.total >= Cents(plan.count.into())));
            let bindings: HashSet<_> = plans.iter().map(|plan| plan.binding).collect();
            let paths: HashSet<_> = plans.iter().map(|plan| &plan.path).collect();
            prop_assert_eq!((bindings.len() as u64, paths.len() as u64), (files, files));
            let (low, high) = (count / files, count.div_ceil(files));
            prop_assert!(plans.iter().all(|plan| (low..=high).contains(&plan.count.into())));
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused_with_what_to_change() {
        let reason = |options| plan(&options).expect_err("impossible").message;
        assert!(reason(options(3, 100, 4, 1)).contains("--servers"));
        assert!(reason(options(100, 99, 1, 1)).contains("--total"));
        assert!(reason(options(5_000_000_000, 5_000_000_000, 1, 1)).contains("--shards-per-server"));
        assert!(reason(options(u64::MAX, u64::MAX, u16::MAX, u16::MAX)).contains("too many"));
        assert!(reason(options(10, 10, 0, 1)).contains("at least one server"));
        assert!(reason(GenerateOptions { sponsors: 0, ..options(10, 10, 1, 1) }).contains("sponsors"));
        assert_eq!(plan(&options(3, 3, 4, 1)).expect_err("impossible").exit, Exit::Usage);
    }

    #[test]
    fn names_tell_what_is_in_a_file() {
        let plans = plan(&options(10, 100, 2, 2)).expect("a possible plan");
        let names: Vec<_> = plans.iter().map(|plan| plan.path.to_str().expect("text")).collect();
        assert_eq!(
            names,
            [
                "out/server-01/seed-7-s01-00.hbs",
                "out/server-01/seed-7-s01-01.hbs",
                "out/server-02/seed-7-s02-00.hbs",
                "out/server-02/seed-7-s02-01.hbs"
            ]
        );
    }
}
