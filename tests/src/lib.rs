//! The harness: whole networks of cores in one thread from a seed, and of real processes.

pub mod client;
pub mod founding;
pub mod processes;
pub mod sim;
