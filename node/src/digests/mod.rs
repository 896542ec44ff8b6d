//! Digests: what each organization says, compactly, about which locators it has pointers for.
//!
//! A locate tests one locator against the digest of every organization in the federation, locally,
//! so that only likely holders are asked. A digest is a Bloom filter (B. Bloom, "Space/time
//! trade-offs in hash coding with allowable errors", 1970) plus the short change lists made since
//! the filter was built. It answers "maybe" or "no", and "no" is never wrong.
//!
//! What the parts guarantee:
//! - [`positions`]: only somebody who holds a locator can compute its positions, and its positions
//!   in two filters are unrelated, so filters cannot be compared to link patients.
//! - [`class`]: a filter's size shows a size class and nothing finer.
//! - [`filter`] and [`changes`]: secret decoys make every fresh filter and every list stand for the
//!   same number of locators; whatever says "maybe" more often than a full class may is refused.
//! - [`blobs`]: the bytes on disk are the bytes that their hash names.
//!
//! Left to others: the signed head that names class, salt, hashes and key epoch; fetching; the
//! decision when to rebuild; and the class that the roster allows each member.

use std::sync::Arc;

pub mod blobs;
pub mod changes;
pub mod class;
pub mod filter;
pub mod positions;

pub use blobs::Blobs;
pub use changes::{ChangeError, ChangeList, Changes};
pub use class::SizeClass;
pub use filter::{BuiltFilter, Filter, FilterBuilder, FilterError, Overfull, test_all};
pub use positions::{DigestKeying, LocatorKey};

/// Bytes that many readers share and nobody changes: on the heap, or mapped from disk.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;
