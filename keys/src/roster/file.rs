//! A roster file: how what is kept travels other than by the network, and what a node begins with.

use std::borrow::Cow;

use signpost_protocol::{
    ContentHash, NetworkId, Timestamp,
    codec::{self, Bounded, ByteString},
    limits,
    roster::RosterFile,
};

use super::{
    founding::FoundingError,
    statements::{Place, Refusal, Statements, Taken},
};

impl Statements {
    /// Reads a roster file. Statements in it that do not hold are refused by number; those that need
    /// one that is not in it wait, as what a proposal has brought does once that has lapsed.
    ///
    /// # Errors
    /// When anything in it does not decode, verify or fit together, or a founder has not endorsed
    /// the founding; nothing is taken over in part.
    pub fn read(
        file: &[u8],
        expected: Option<NetworkId>,
        now: Timestamp,
    ) -> Result<Self, FoundingError> {
        Self::read_by(file, expected, |statements, bytes| statements.take(bytes, now))
    }

    /// Reads the roster file of this node itself, whatever the clock says: one that is wrong must not
    /// keep a node from starting, since only a node that runs learns that.
    ///
    /// # Errors
    /// As [`Statements::read`].
    pub fn read_own(file: &[u8]) -> Result<Self, FoundingError> {
        Self::read_by(file, None, Self::restore)
    }

    fn read_by(
        file: &[u8],
        expected: Option<NetworkId>,
        take: impl Fn(&mut Self, &[u8]) -> Result<Taken, Refusal>,
    ) -> Result<Self, FoundingError> {
        let file: RosterFile = codec::decode("roster", file, limits::ROSTER_FILE_BYTES_MAX)?;
        let mut statements = Self::begin(&file.founding, expected)?;
        let mut again = Vec::new();
        for (number, bytes) in file.statements.iter().enumerate() {
            match take(&mut statements, bytes) {
                Ok(_) => {}
                // Whoever else has approved the same proposal brings it in, so that it finds room.
                Err(Refusal::TooManyOpen) => again.push(bytes),
                Err(source) => {
                    return Err(FoundingError::Statement { statement: number + 1, source });
                }
            }
        }
        for bytes in again {
            // What still finds none decides nothing.
            let _ = take(&mut statements, bytes);
        }
        statements.check_endorsed()?;
        Ok(statements)
    }

    /// All that is kept, as a roster file, in an order in which nothing has to wait for long.
    ///
    /// # Panics
    /// Never: what is kept is within the caps of a file.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let statements = self.iter().map(|(_, bytes)| {
            ByteString::new(bytes.into_owned()).expect("every statement is within its cap")
        });
        // What brings a decision may come all at once and pass the cap; heartbeats are last.
        let statements = statements.take(limits::STATEMENTS_MAX).collect();
        let statements = Bounded::new(statements).expect("they were cut to the cap");
        let founding = ByteString::new(self.founding_bytes.to_vec());
        codec::encode(&RosterFile { founding: founding.expect("it was read"), statements })
    }

    /// Whether every founder has endorsed the founding.
    ///
    /// # Errors
    /// Names the first who has not.
    pub fn check_endorsed(&self) -> Result<(), FoundingError> {
        let missing = self.founding.members.iter().find(|record| {
            let organization = record.organization();
            !self.endorsements.contains_key(&organization)
        });
        match missing {
            Some(record) => Err(FoundingError::NotEndorsed { ods: record.ods.clone() }),
            None => Ok(()),
        }
    }

    /// All statements with their names, in an order in which none has to wait for another: take
    /// them up in this order, and whatever their number nothing is lost on the way.
    pub fn iter(&self) -> impl Iterator<Item = (ContentHash, Cow<'_, [u8]>)> {
        let mut places: Vec<_> = self.places.iter().collect();
        let none = ContentHash([0; 32]);
        places.sort_by_key(|(_, place)| match place {
            Place::Endorsement(_) => (0, 0, none),
            // By epoch, so that each finds its stewards, and all of one proposal together, so that
            // no more than one is undecided on the way.
            Place::Approval(id, _, _) => {
                (1, self.proposals.get(id).map_or(0, |p| p.proposal.epoch), *id)
            }
            Place::Keys(_) => (2, 0, none),
            Place::Objection(..) => (3, 0, none),
            Place::Heartbeat(..) => (4, 0, none),
            Place::Call(_) => (5, 0, none),
            Place::Message(..) => (6, 0, none),
        });
        places.into_iter().filter_map(|(hash, _)| Some((*hash, self.get(hash)?)))
    }
}
