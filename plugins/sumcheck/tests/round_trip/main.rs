//! The plugin through its trait: the sample models from compile to verdict, and every
//! check of `verify`.

mod bench;
mod chain;
mod models;
mod operators;
mod page;
mod refusals;
mod tampering;
