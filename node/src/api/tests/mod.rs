//! The API as its callers see it, with a scripted core behind it.

mod common;
mod import;
mod records;
mod search;
mod sockets;
