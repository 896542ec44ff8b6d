//! Peers that lie, garble, replay and forge: each is refused with its reason, the node lives on, and
//! no result is called complete that is not.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // Tests fail by panicking and print their seeds.

mod answers;
mod asks;
mod clocks;
mod common;
mod digests;
mod evaluations;
mod frames;
mod soak;
