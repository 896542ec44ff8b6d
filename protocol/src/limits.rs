//! Every cap of the protocol, each with its unit and its reason.

/// Characters of an ODS code: today's codes have 3 to 6; NRL allows 12.
pub const ODS_CODE_CHARS_MAX: usize = 12;
/// Characters of a pointer id: the cap on a FHIR id (R4 §2.24.0.1).
pub const POINTER_ID_CHARS_MAX: usize = 64;
/// Bytes of the suffix after a custodian's ODS code: it must fit into a pointer id beside code and local part.
pub const CUSTODIAN_SUFFIX_BYTES_MAX: usize = 12;
/// Bytes of a name for people: the longest name of an English trust has 80 letters.
pub const NAME_BYTES_MAX: usize = 160;
/// Bytes of a multiaddr: a DNS name has at most 253 letters.
pub const ADDRESS_BYTES_MAX: usize = 280;
/// Addresses of one node: IPv4, IPv6, inside and outside a hospital's network, twice.
pub const ADDRESSES_PER_NODE_MAX: usize = 8;
/// Nodes of one member: several sites, each with a spare.
pub const NODES_PER_MEMBER_MAX: usize = 16;
/// Keys of one member: two uses, two overlapping generations, for every node.
pub const KEYS_PER_MEMBER_MAX: usize = 64;
/// Founders of a network: people who sign together; members beyond these join later.
pub const FOUNDERS_MAX: usize = 64;
/// Bytes of a signed inception: two keys, a code and a name, with room.
pub const INCEPTION_BYTES_MAX: usize = 1024;
/// Bytes of a signed endorsement: two hashes and a time, with room.
pub const ENDORSEMENT_BYTES_MAX: usize = 512;
/// Bytes of a founding: 64 founders with their inceptions are under 128 KiB.
pub const FOUNDING_BYTES_MAX: usize = 128 * 1024;
/// Bytes of any one signed statement of the roster: the longest lists 64 keys and their nodes.
pub const STATEMENT_BYTES_MAX: usize = 16 * 1024;
/// Stewards of an epoch (5 to 15 are meant): so few can still reach each other by telephone.
pub const STEWARDS_MAX: usize = 15;
/// Bytes of a proposal: an inception, 15 stewards, or two sets of 16 evaluators (2.6 KiB), with its
/// reason, and room.
pub const PROPOSAL_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a reason given for people: a short paragraph.
pub const REASON_BYTES_MAX: usize = 400;
/// Bytes of a signed objection: two hashes, a reason and a time, with room.
pub const OBJECTION_BYTES_MAX: usize = 1024;
/// Proposals to which one heartbeat bears witness: the rest follows in the next.
pub const WITNESSED_MAX: usize = 128;
/// Members of a network: England has about 6,400 organizations; three times that.
pub const MEMBERS_MAX: usize = 20_000;
/// Statements of a roster: for every member its keys and a record that 8 stewards approved, with as
/// many records again that were superseded.
pub const STATEMENTS_MAX: usize = MEMBERS_MAX * 20;
/// Bytes of a roster file: that many statements of 1.5 KiB.
pub const ROSTER_FILE_BYTES_MAX: usize = 600 * 1024 * 1024;
/// Evaluators of a key epoch: 4 of 7 is the largest set planned; twice that while they change over.
pub const EVALUATORS_MAX: usize = 16;
/// Bytes of a signed call to a ceremony: 16 evaluators and 16 dealers take 1.2 KiB, with room.
pub const CEREMONY_CALL_BYTES_MAX: usize = 2 * 1024;
/// Bytes of a signed consent to a ceremony: two hashes and a time, with room.
pub const CEREMONY_CONSENT_BYTES_MAX: usize = 512;
/// Bytes of a message of a ceremony: the longest commits to 16 coefficients with up to 64 more, 2,182.
pub const CEREMONY_MESSAGE_BYTES_MAX: usize = 2_304;
/// Bytes of a signed message of a ceremony: the message, two hashes, a time and the envelope.
pub const CEREMONY_STATEMENT_BYTES_MAX: usize = 2_816;
/// Key epochs that live side by side: the old and the new one during a re-key.
pub const KEY_EPOCHS_MAX: usize = 2;
/// Bytes of a pointer's DocumentReference: published examples have 3 KiB; four times that.
pub const RESOURCE_BYTES_MAX: usize = 12 * 1024;
/// Bytes of a signed pointer: its resource, its fields and the envelope.
pub const POINTER_BYTES_MAX: usize = RESOURCE_BYTES_MAX + 1024;
/// Pointers in one answer; more are asked for page by page.
pub const POINTERS_PER_ANSWER_MAX: usize = 128;
/// Bytes of all pointers in one answer: leaves room for the envelope within [`ANSWER_BYTES_MAX`].
pub const ANSWER_POINTERS_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a signed answer.
pub const ANSWER_BYTES_MAX: usize = 520 * 1024;
/// Bytes of a signed ask: fixed fields and three short texts, with room.
pub const ASK_BYTES_MAX: usize = 2 * 1024;
/// Bytes of a purpose: HL7 v3 PurposeOfUse codes have at most 10 letters.
pub const PURPOSE_BYTES_MAX: usize = 16;
/// Bytes of a user's role.
pub const ROLE_BYTES_MAX: usize = 64;
/// Bytes of an opaque user id: a UUID URN has 45.
pub const USER_BYTES_MAX: usize = 64;
/// Elements in one evaluation request: a batch proof costs least per element from a few hundred on.
pub const EVALUATIONS_PER_REQUEST_MAX: usize = 1000;
/// Bytes of a signed evaluation request or answer: 1,000 elements of 34 bytes, fields and envelope.
pub const EVALUATE_BYTES_MAX: usize = 36 * 1024;
/// Bytes of evidence against an evaluator: a request and its answer.
pub const EVIDENCE_BYTES_MAX: usize = 2 * EVALUATE_BYTES_MAX + 64;
/// Change lists that a head may name: then the filter is rebuilt.
pub const CHANGE_LISTS_MAX: usize = 32;
/// Bytes of a signed digest head: two filters with 32 change lists each, with room.
pub const DIGEST_HEAD_BYTES_MAX: usize = 4 * 1024;
/// Heads in one fetch: 128 heads of 4 KiB fit an answer frame.
pub const HEADS_PER_FETCH_MAX: usize = 128;
/// Heads that a node keeps: England has about 6,400 organizations; three times that.
pub const HEADS_MAX: usize = 20_000;
/// Bytes of one piece of a blob: small enough that asks on the same connection are not held up.
pub const BLOB_PIECE_BYTES_MAX: usize = 256 * 1024;
/// Protocol versions named in a hello: this one, the one before, and room.
pub const VERSIONS_MAX: usize = 8;
/// Bytes of the longest roster statement. It is gossiped whole, and shares a connection with asks; a
/// Roster statements in one fetch: an answer of 2 MiB at the worst.
pub const STATEMENTS_PER_FETCH_MAX: usize = 128;
/// Buckets by which two rosters are compared, one for each first byte of a statement's hash: with
/// 100,000 statements, one that is missing costs 400 hashes (13 KiB) to find.
pub const ROSTER_BUCKETS: usize = 256;
/// Hashes of statements in one answer, 1.1 MiB. More buckets than fit are asked for again; a single
/// bucket would reach this with 8 million statements.
pub const STATEMENT_HASHES_MAX: usize = 32_768;
/// Bytes of an inception that an applicant sends: it shares the 1 KiB of a hello with an invitation's
/// code. Two keys, a code and the longest name take 500.
pub const JOINING_INCEPTION_BYTES_MAX: usize = 700;
/// Bytes of the statement of its keys that an applicant sends: four keys and an address take 600. A
/// hello has no room for more; more nodes and keys are added once it is a member.
pub const JOINING_KEYS_BYTES_MAX: usize = 800;
/// Bytes of a reason told to an applicant: one sentence that an admin reads.
pub const JOINING_REASON_BYTES_MAX: usize = 160;
/// Addresses in an invitation: two nodes that may be away, with four each.
pub const INVITATION_ADDRESSES_MAX: usize = 8;
/// Bytes of a multiaddr that ends in `/p2p/` and a peer id of 52 letters.
pub const PEER_ADDRESS_BYTES_MAX: usize = ADDRESS_BYTES_MAX + 60;
/// Bytes of an invitation: eight of the longest addresses and two names are 3 KiB; an ordinary one
/// has 300.
pub const INVITATION_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a hello, each way (DESIGN §3).
pub const HELLO_FRAME_BYTES_MAX: usize = 1024;
/// Bytes of a request frame on the ask protocol.
pub const ASK_FRAME_BYTES_MAX: usize = ASK_BYTES_MAX + 64;
/// Bytes of a reply frame on the ask protocol.
pub const ANSWER_FRAME_BYTES_MAX: usize = ANSWER_BYTES_MAX + 64;
/// Bytes of a frame on the evaluate protocol, each way.
pub const EVALUATE_FRAME_BYTES_MAX: usize = EVALUATE_BYTES_MAX + 64;
/// Bytes of a request frame on the digests protocol: 128 names of heads.
pub const DIGESTS_REQUEST_FRAME_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a reply frame on the digests protocol: the versions of 20,000 heads.
pub const DIGESTS_ANSWER_FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a request frame on the roster protocol: 128 hashes of statements.
pub const ROSTER_REQUEST_FRAME_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a reply frame on the roster protocol: as many statements as one fetch may name, of the
/// longest kind, and what stands between them.
pub const ROSTER_ANSWER_FRAME_BYTES_MAX: usize =
    STATEMENTS_PER_FETCH_MAX * STATEMENT_BYTES_MAX + 1024;
/// Bytes of a gossiped frame: one statement, a digest head or one of the roster.
pub const GOSSIP_FRAME_BYTES_MAX: usize = STATEMENT_BYTES_MAX;
