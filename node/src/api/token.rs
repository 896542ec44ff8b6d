//! The token that callers of the API show.

use std::{fmt, sync::Arc};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Characters that a token must have at least: 22 of base64 carry 128 bits.
const TOKEN_CHARS_MIN: usize = 22;

/// The bearer token of a node's API. Only its hash is kept; `Debug` shows nothing.
#[derive(Clone)]
pub struct ApiToken(Arc<[u8; 32]>);

impl ApiToken {
    /// Takes the text of the token, blanks around it ignored. `None` when it is too short to be a
    /// secret or has characters that no header can carry.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = text.len() >= TOKEN_CHARS_MIN && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(Arc::new(Sha256::digest(text).into())))
    }

    /// Whether `shown` is the token, in a time that does not depend on where they differ.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.0.ct_eq(&shown).into()
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_the_token() {
        let token = ApiToken::new(" abcdefghijklmnopqrstuv\n").unwrap();
        assert!(token.is("abcdefghijklmnopqrstuv"));
        for other in
            ["", "abcdefghijklmnopqrstuw", "abcdefghijklmnopqrstu", "ABCDEFGHIJKLMNOPQRSTUV"]
        {
            assert!(!token.is(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "ApiToken(..)");
    }

    #[test]
    fn what_is_no_secret_is_no_token() {
        for text in ["", "   ", "short", "abcdefghij klmnopqrstuv", "abcdefghijklmnopqrstué"] {
            assert!(ApiToken::new(text).is_none(), "{text}");
        }
    }
}
