//! The Signpost daemon: a pure core that decides, and shells that act.

pub mod api;
pub mod cli;
pub mod config;
pub mod core;
pub mod demo;
pub mod digests;
pub mod fhir;
pub mod handle;
pub mod network;
pub mod runtime;
pub mod setup;
pub mod store;
pub mod synthetic;
