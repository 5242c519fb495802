//! hongbao-loadgen: see `hongbao-loadgen --help`.

fn main() {}
