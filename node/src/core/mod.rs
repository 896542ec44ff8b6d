//! The core: decides everything, does nothing.

pub mod completeness;
pub mod local;
