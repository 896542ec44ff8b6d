//! How two members find out which roster statements one of them lacks, and fetch them.
//!
//! Statements are opaque bytes here, named by their hash; which of them count is decided in
//! `signpost-keys`. Comparing costs one exchange of some bytes when both have the same. When they do
//! not, 256 digests show in which [buckets](BucketDigests) they differ, and only the hashes in those
//! are told. Statements that neither side has to the other are fetched by hash, so it does not matter
//! from whom.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use sha2::{Digest as _, Sha256};

use crate::{
    codec::{Bounded, ByteString},
    ids::ContentHash,
    limits,
};

/// A question on the roster plane. Answered to members only.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RosterRequest {
    /// "My statements hash to this ([`BucketDigests::hash`]); do yours?"
    #[n(0)]
    Compare(#[n(0)] ContentHash),
    /// "Which statements have you in these buckets?"
    #[n(1)]
    Buckets(#[n(0)] Bounded<u8, { limits::ROSTER_BUCKETS }>),
    /// "Send me these statements."
    #[n(2)]
    Statements(#[n(0)] Bounded<ContentHash, { limits::STATEMENTS_PER_FETCH_MAX }>),
    /// "Send me the founding, whose SHA-256 is the network id."
    #[n(3)]
    Founding,
}

/// The reply to a [`RosterRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RosterAnswer {
    /// Both sides have the same statements.
    #[n(0)]
    Same,
    /// What this side has, in brief.
    #[n(1)]
    Digests(#[n(0)] BucketDigests),
    /// What this side has in the first so many of the buckets asked for.
    #[n(2)]
    Hashes {
        /// How many of the buckets are covered, in the order of the request: at least one when one was
        /// asked for. The rest is to be asked for again.
        #[n(0)]
        buckets: u16,
        /// The hashes of the statements in them, ascending within each bucket.
        #[n(1)]
        hashes: Bounded<ContentHash, { limits::STATEMENT_HASHES_MAX }>,
    },
    /// The statements asked for, those that this side has, in any order.
    #[n(3)]
    Statements(
        #[n(0)]
        Bounded<ByteString<{ limits::STATEMENT_BYTES_MAX }>, { limits::STATEMENTS_PER_FETCH_MAX }>,
    ),
    /// The founding.
    #[n(4)]
    Founding(#[n(0)] ByteString<{ limits::FOUNDING_BYTES_MAX }>),
    /// This side is too busy; ask another or try again.
    #[n(5)]
    Busy,
}

/// One digest for each of the 256 buckets that all statements fall into.
///
/// A bucket holds the statements whose hash begins with its number. Its digest is SHA-256 over their
/// hashes, 32 bytes each, ascending; that of an empty bucket is SHA-256 of nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketDigests(Box<[ContentHash; limits::ROSTER_BUCKETS]>);

impl BucketDigests {
    /// The digests of statements with these hashes, which must ascend strictly: as the keys of a
    /// `BTreeMap` do.
    #[must_use]
    pub fn of<'a>(ascending: impl IntoIterator<Item = &'a ContentHash>) -> Self {
        let mut buckets: [Sha256; limits::ROSTER_BUCKETS] = std::array::from_fn(|_| Sha256::new());
        let mut last = None;
        for hash in ascending {
            debug_assert!(last < Some(hash), "hashes of statements must ascend");
            last = Some(hash);
            buckets[usize::from(bucket_of(hash))].update(hash.as_bytes());
        }
        Self(Box::new(buckets.map(|bucket| ContentHash(bucket.finalize().into()))))
    }

    /// SHA-256 over the 256 digests in their order: what two members compare first.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        let mut hash = Sha256::new();
        for digest in self.0.iter() {
            hash.update(digest.as_bytes());
        }
        ContentHash(hash.finalize().into())
    }

    /// The buckets in which two sides differ, ascending.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Bounded<u8, { limits::ROSTER_BUCKETS }> {
        let pairs = (0..=u8::MAX).zip(self.0.iter().zip(other.0.iter()));
        let differing = pairs.filter(|(_, (ours, theirs))| ours != theirs);
        Bounded::new(differing.map(|(bucket, _)| bucket).collect()).expect("one for each bucket")
    }
}

/// The bucket that a statement of this hash falls into.
#[must_use]
pub const fn bucket_of(statement: &ContentHash) -> u8 {
    statement.0[0]
}

impl<C> Encode<C> for BucketDigests {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        self.0.as_slice().encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for BucketDigests {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let digests = Bounded::<ContentHash, { limits::ROSTER_BUCKETS }>::decode(d, ctx)?;
        let digests: Box<[_]> = digests.into_inner().into();
        digests
            .try_into()
            .map(Self)
            .map_err(|_| decode::Error::message("there must be 256 digests").at(at))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::codec;

    fn statements(count: u32) -> BTreeSet<ContentHash> {
        (0..count).map(|n| ContentHash::of(&n.to_be_bytes())).collect()
    }

    #[test]
    fn the_same_statements_have_the_same_hash_and_others_differ_where_they_do() {
        let ours = statements(1_000);
        let digests = BucketDigests::of(&ours);
        assert_eq!(BucketDigests::of(&statements(1_000)).hash(), digests.hash());
        assert!(digests.differing(&BucketDigests::of(&ours)).is_empty());

        let mut theirs = ours.clone();
        let missing = theirs.pop_first().expect("a thousand");
        let strange = ContentHash([0xee; 32]);
        theirs.insert(strange);
        let their_digests = BucketDigests::of(&theirs);
        assert_ne!(their_digests.hash(), digests.hash());
        let differing = digests.differing(&their_digests);
        assert_eq!(*differing, [bucket_of(&missing), bucket_of(&strange)]);
    }

    #[test]
    fn the_digests_are_those_of_the_specification() {
        let empty = ContentHash::of(b"");
        let [a, b] = [ContentHash([7; 32]), ContentHash([8; 32])];
        let mut c = ContentHash([7; 32]);
        c.0[31] = 9;
        let digests = BucketDigests::of(&BTreeSet::from([a, b, c]));
        let mut expected = vec![empty; 256];
        expected[7] = ContentHash::of(&[a.0, c.0].concat());
        expected[8] = ContentHash::of(&b.0);
        assert_eq!(digests.0.as_slice(), expected);
        let all: Vec<u8> = expected.iter().flat_map(|digest| digest.0).collect();
        assert_eq!(digests.hash(), ContentHash::of(&all));
    }

    #[test]
    fn there_are_256_digests_and_neither_fewer_nor_more() {
        let encoded = |count: usize| codec::encode(&vec![ContentHash([1; 32]); count]);
        let decoded = |count| codec::decode::<BucketDigests>("digests", &encoded(count), 10_000);
        assert!(decoded(256).is_ok());
        assert!(decoded(255).is_err() && decoded(257).is_err() && decoded(0).is_err());
    }

    #[test]
    fn the_longest_of_each_fits_its_frame() {
        let hash = ContentHash([0xff; 32]);
        let list = |count| vec![hash; count];
        let buckets = Bounded::new((0..=u8::MAX).collect()).expect("all");
        let wanted = Bounded::new(list(limits::STATEMENTS_PER_FETCH_MAX)).expect("all");
        for request in [RosterRequest::Buckets(buckets), RosterRequest::Statements(wanted)] {
            let length = codec::encode(&request).len();
            assert!(length <= limits::ROSTER_REQUEST_FRAME_BYTES_MAX, "{length}");
        }
        let hashes = Bounded::new(list(limits::STATEMENT_HASHES_MAX)).expect("all");
        let statement = ByteString::new(vec![7; limits::STATEMENT_BYTES_MAX]).expect("the longest");
        let statements =
            Bounded::new(vec![statement; limits::STATEMENTS_PER_FETCH_MAX]).expect("all");
        let founding = ByteString::new(vec![7; limits::FOUNDING_BYTES_MAX]).expect("the longest");
        for answer in [
            RosterAnswer::Digests(BucketDigests::of([])),
            RosterAnswer::Hashes { buckets: 256, hashes },
            RosterAnswer::Statements(statements),
            RosterAnswer::Founding(founding),
        ] {
            let length = codec::encode(&answer).len();
            assert!(length <= limits::ROSTER_ANSWER_FRAME_BYTES_MAX, "{length}");
        }
    }
}
