//! Every cap of the protocol, each with its unit and its reason.

/// Characters of an ODS code: today's codes have 3 to 6; NRL allows 12.
pub const ODS_CODE_CHARS_MAX: usize = 12;
/// Characters of a pointer id: the cap on a FHIR id (R4 §2.24.0.1).
pub const POINTER_ID_CHARS_MAX: usize = 64;
