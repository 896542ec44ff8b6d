//! The tokens that callers of the API show: each stands for one organization.

use std::{fmt, sync::Arc};

use sha2::{Digest as _, Sha256};
use signpost_protocol::OrganizationId;
use subtle::ConstantTimeEq as _;

/// Characters that a token must have at least: 22 of base64 carry 128 bits.
const TOKEN_CHARS_MIN: usize = 22;

/// The bearer tokens of a node's API. Only their hashes are kept; `Debug` shows nothing.
#[derive(Clone)]
pub struct ApiTokens(Arc<[([u8; 32], OrganizationId)]>);

impl ApiTokens {
    /// Takes the texts of the tokens, blanks around them ignored, each with the organization that it
    /// stands for. `None` when one is too short to be a secret or has characters that no header can
    /// carry, or when two are the same.
    #[must_use]
    pub fn new<'a>(tokens: impl IntoIterator<Item = (OrganizationId, &'a str)>) -> Option<Self> {
        let mut known: Vec<([u8; 32], OrganizationId)> = Vec::new();
        for (organization, text) in tokens {
            let text = text.trim();
            let fits = text.len() >= TOKEN_CHARS_MIN && text.bytes().all(|b| b.is_ascii_graphic());
            let hash = Sha256::digest(text).into();
            if !fits || known.iter().any(|(other, _)| *other == hash) {
                return None;
            }
            known.push((hash, organization));
        }
        Some(Self(known.into()))
    }

    /// Whose token `shown` is, in a time that does not depend on what it has in common with any.
    #[must_use]
    pub fn find(&self, shown: &str) -> Option<OrganizationId> {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let mut found = None;
        for (hash, organization) in &*self.0 {
            if bool::from(hash.ct_eq(&shown)) {
                found = Some(*organization);
            }
        }
        found
    }
}

impl fmt::Debug for ApiTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiTokens(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: OrganizationId = OrganizationId([1; 32]);
    const B: OrganizationId = OrganizationId([2; 32]);

    #[test]
    fn each_token_stands_for_its_organization_and_nothing_else_does() {
        let tokens =
            [(A, " abcdefghijklmnopqrstuv\n"), (B, "another-token-of-another-organization")];
        let tokens = ApiTokens::new(tokens).unwrap();
        assert_eq!(tokens.find("abcdefghijklmnopqrstuv"), Some(A));
        assert_eq!(tokens.find("another-token-of-another-organization"), Some(B));
        for other in
            ["", "abcdefghijklmnopqrstuw", "abcdefghijklmnopqrstu", "ABCDEFGHIJKLMNOPQRSTUV"]
        {
            assert_eq!(tokens.find(other), None, "{other}");
        }
        assert_eq!(format!("{tokens:?}"), "ApiTokens(..)");
    }

    #[test]
    fn what_is_no_secret_is_no_token() {
        for text in ["", "   ", "short", "abcdefghij klmnopqrstuv", "abcdefghijklmnopqrstué"] {
            assert!(ApiTokens::new([(A, text)]).is_none(), "{text}");
        }
    }

    #[test]
    fn one_token_cannot_stand_for_two_organizations() {
        let text = "abcdefghijklmnopqrstuv";
        assert!(ApiTokens::new([(A, text), (B, text)]).is_none());
    }
}
