//! The pure core, in networks of one thread: who finds what, what is said when something is missing,
//! and, over many seeds, that nothing shown is false and nothing missing is called complete.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)] // Tests fail by panicking.

mod basics;
mod common;
mod hazards;
mod hosting;
mod liar;
mod plants;
mod restored;
mod roster;
mod scenario;
mod seeds;
mod truth;
mod weather;
mod witness;
