//! The `dsperse` command line.
fn main() {}
