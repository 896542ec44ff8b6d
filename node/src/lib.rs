//! The Signpost daemon: a pure core that decides, and shells that act.

pub mod api;
pub mod cli;
pub mod core;
pub mod demo;
pub mod digests;
pub mod network;
pub mod store;
