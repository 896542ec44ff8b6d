//! Who may say what.

pub mod blinding;
pub mod keystore;
