//! The ledger: the single writer that decides claims, keeps the caps and the journal.
