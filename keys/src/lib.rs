//! Who may say what: signing and verifying, the keystore, the rules of the roster, and the
//! blinding mathematics. No sockets and no clock; the keystore alone touches files.

pub mod blinding;
pub mod keystore;
pub mod roster;
pub mod sealing;
pub mod secret;
pub mod signing;
pub mod verified;

pub use roster::{Member, MemberNode, Roster, ValidAt};
pub use sealing::StorageKey;
pub use secret::SecretKey;
pub use signing::{VerifyError, sign};
pub use verified::Verified;
