//! The Signpost daemon: a pure core that decides, and shells that act.

pub mod api;
mod atomic_file;
pub mod cli;
pub mod config;
pub mod core;
pub mod demo;
pub mod digests;
pub mod fhir;
pub mod handle;
mod interrupt;
pub mod joining;
pub mod network;
pub mod runtime;
pub mod setup;
pub mod store;
pub mod synthetic;
