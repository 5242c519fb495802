//! `hongbaod ledger check-receipt` and `renew-key`: what can be done with the key alone.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, Receipt, SponsorId, UserId};

use super::error::LedgerError;
use super::lock::DataLock;
use super::receipt::{ReceiptKey, Receipts};
use crate::exit::{Exit, Failure};

/// What `check-receipt` is told.
#[derive(Args, Clone, Debug)]
pub(super) struct CheckReceiptArgs {
    /// The receipt key's file, `receipt.key` of the data folder.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The campaign.
    #[arg(long, value_name = "ID")]
    campaign: u64,
    /// Who says that they won.
    #[arg(long, value_name = "ID")]
    user: u64,
    /// What.
    #[arg(long, value_name = "ID")]
    envelope: u64,
    /// Of whom.
    #[arg(long, value_name = "ID")]
    sponsor: u32,
    /// How much.
    #[arg(long, value_name = "CENTS")]
    amount_cents: u64,
    /// The receipt, as 32 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    receipt: Receipt,
}

/// Says whether a receipt is right.
pub(super) fn check(args: &CheckReceiptArgs, output: &mut dyn Write) -> Result<(), Failure> {
    let key = ReceiptKey::read(&args.key).map_err(LedgerError::from)?;
    let receipts = Receipts::new(key, CampaignId(args.campaign));
    let (id, sponsor, amount) = (EnvelopeId(args.envelope), SponsorId(args.sponsor), Cents(args.amount_cents));
    if !receipts.is_right(UserId(args.user), &Envelope { id, sponsor, amount }, &args.receipt) {
        return Err(Failure::new(
            Exit::Data,
            "the receipt is not right: under this key, nobody promised this envelope with this amount to this user. Look whether the \
             campaign, the key and every field are those of the claim",
        ));
    }
    let written = writeln!(output, "right: envelope {id} with {} cents was promised to user {}", amount.0, args.user);
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io("cannot write the output", &error)),
        _ => Ok(()),
    }
}

/// Makes a new key, where no daemon runs.
pub(super) fn renew(data_dir: &Path) -> Result<(), Failure> {
    if !data_dir.is_dir() {
        let message = format!("{}: no data folder is here", data_dir.display());
        return Err(Failure::new(Exit::Unavailable, message));
    }
    let _lock = DataLock::acquire(data_dir)?;
    let path = ReceiptKey::path(data_dir);
    if path.exists() {
        let message = format!(
            "{}: a receipt key is here. Move it away first, and keep it: receipts given out under it can only be checked with it",
            path.display()
        );
        return Err(Failure::new(Exit::Unavailable, message));
    }
    ReceiptKey::make(data_dir).map_err(LedgerError::from)?;
    eprintln!("{}: a new receipt key; wins of before are shown again with new receipts", path.display());
    Ok(())
}
