//! The API as its callers see it, with a scripted core behind it.

mod common;
mod import;
mod joining;
mod records;
mod roster;
mod search;
mod sockets;
