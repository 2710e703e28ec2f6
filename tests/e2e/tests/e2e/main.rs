//! End-to-end tests of the real binary. One file per subject.

mod batches;
mod bundles;
mod capability;
mod command_table;
mod disk;
mod earlier;
mod engines;
mod errors;
mod fallbacks;
mod files;
mod foreign;
mod full_run;
mod handover;
mod here;
mod interrupt;
mod kills;
mod kinds;
mod packages;
mod plugins;
mod policy;
mod pty;
mod stages;
mod tables;
mod tampering;
mod terminal;
mod versions;
