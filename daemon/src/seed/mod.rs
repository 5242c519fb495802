//! Seed files on disk: generating, verifying and showing them.
