//! Who may say what: signing and verifying, the keystore, the rules of the roster, and the
//! blinding mathematics. No sockets and no clock; the keystore alone touches files.

pub mod blinding;
pub mod keystore;
pub mod secret;
pub mod signing;
pub mod verified;

pub use secret::SecretKey;
pub use signing::{VerifyError, sign};
pub use verified::Verified;
