//! The campaign of somebody who has none yet.

use hongbao_protocol::{CampaignId, Cents, ServerId};

use crate::config::Folders;
use crate::exit::{Exit, Failure};
use crate::seed::{GenerateOptions, generate};

/// Enough for minutes at the default rate, generated within a blink.
const ENVELOPES: u64 = 100_000;
const TOTAL: Cents = Cents(50_000_000);
const SPONSORS: u32 = 10;
/// Everybody's demo is the same.
const RNG_SEED: u64 = 2015;

/// Makes a small campaign in a fresh temporary folder, which stays for whoever wants to look at its ledger.
pub(super) fn make(server: ServerId) -> Result<Folders, Failure> {
    let failed = |error| Failure::io("making a temporary folder for the demo campaign", &error);
    let folder = tempfile::Builder::new().prefix("hongbao-demo-").tempdir().map_err(failed)?.keep();
    let options = GenerateOptions {
        campaign: CampaignId(1),
        count: ENVELOPES,
        total: TOTAL,
        sponsors: SPONSORS,
        servers: 1,
        shards_per_server: 1,
        output: folder.join("seeds"),
        rng_seed: RNG_SEED,
        force: false,
    };
    let made = generate(&options, &mut |_| {})?;
    let seed_dir = made.files.first().and_then(|file| file.path.parent()).map(std::path::Path::to_path_buf);
    let seed_dir = seed_dir.ok_or_else(|| Failure::new(Exit::Data, "the demo campaign has no seed file"))?;
    debug_assert!(made.files.iter().all(|file| file.header.binding.server == server));
    tracing::info!(
        folder = %folder.display(),
        "no campaign was named: this is a demo on loopback. {ENVELOPES} envelopes worth {TOTAL}; the folder stays, remove it when you \
         have seen enough"
    );
    Ok(Folders { seed_dir, data_dir: folder.join("data") })
}
