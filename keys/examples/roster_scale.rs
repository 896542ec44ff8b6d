//! How long a roster of 20,000 members takes to read, to follow and to ask, and how much memory:
//! `cargo run --release -p signpost-keys --example roster_scale [MEMBERS]`.
//!
//! Every member's record is approved by 8 of 15 stewards, and every member lists a node with a
//! pointer, a transport and a govern key. Beside the time to read stands that of the signature
//! checks alone, with the same library and on the same bytes.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::{hint::black_box, sync::LazyLock, time::Instant};

use ed25519_dalek::{Signature, VerifyingKey};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_keys::{
    Roster, SecretKey, ValidAt,
    roster::{Statements, dealt_evaluators, endorse, incept},
    sign,
};
use signpost_protocol::{
    ContentHash, NetworkId, NodeId, OdsCode, OrganizationId, RequestId, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    locate::{Ask, AskSubject},
    roster::{
        Approval, Change, Founding, Inception, KeyRecord, MemberRecord, NodeRecord,
        OrganizationKeys, Parameters, Proposal, RosterFile, Standing, Steward,
    },
    statement::{Body, Envelope, KeyUse},
};

const STEWARDS: usize = 15;
const THRESHOLD: usize = 8;
const FOUNDED: Timestamp = Timestamp(1_767_225_600_000);
const NOW: Timestamp = FOUNDED.plus(60_000);

struct Party {
    id: OrganizationId,
    ods: OdsCode,
    inception: Vec<u8>,
    root: SecretKey,
    govern: SecretKey,
    transport: SecretKey,
}

fn main() {
    let members = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut made = Made::default();
    let stewards: Vec<_> = (0..STEWARDS).map(|n| party(n, &mut rng)).collect();
    let founding = founding(&stewards, &mut rng);
    let network = NetworkId(ContentHash::of(&founding).0);
    for steward in &stewards {
        let endorsement = endorse(&founding, steward.id, &steward.root, FOUNDED);
        made.push(endorsement.bytes(), &steward.root, &network);
        made.keys(steward, &network, &mut rng);
    }
    let mut asked = Vec::new();
    for number in 0..members {
        let member = party(STEWARDS + number, &mut rng);
        made.member(&member, number, &stewards, &network);
        made.keys(&member, &network, &mut rng);
        asked.push(Asked {
            id: member.id,
            ods: member.ods,
            statement: ask(member.id, &member.transport, &network),
            transport: member.transport,
        });
    }
    let file = codec::encode(&RosterFile {
        founding: ByteString::new(founding).expect("within its cap"),
        statements: Bounded::new(std::mem::take(&mut made.statements)).expect("within the cap"),
    });
    println!(
        "{members} members, {} signatures, file of {:.0} MiB",
        made.checks.len(),
        mebibytes(file.len())
    );
    measure(&file, &made.checks, &asked, network);
}

fn measure(file: &[u8], checks: &[Check], asked: &[Asked], network: NetworkId) {
    let before = resident();
    let start = processor_time();
    let statements = Statements::read(file, Some(network), NOW).expect("it holds");
    let read = processor_time() - start;
    let held = resident() - before;

    let start = processor_time();
    for check in checks {
        check.key.verify_strict(&check.message, &check.signature).expect("it was signed");
    }
    let bare = processor_time() - start;
    println!(
        "read and verify: {read:.2} s; bare checks: {bare:.2} s, {:.1} us each; ratio {:.2}",
        1e6 * bare / checks.len() as f64,
        read / bare
    );
    println!(
        "memory of the statements: {held:.0} MiB, {:.0} bytes each",
        held * 1_048_576.0 / statements.len() as f64
    );

    let start = processor_time();
    drop(black_box(statements.law(NOW)));
    let law = processor_time() - start;
    let before = resident();
    let start = processor_time();
    let roster = statements.roster(NOW);
    let made = processor_time() - start;
    println!(
        "roster: {:.0} ms, of which the law {:.0} ms; memory {:.0} MiB more; {} members",
        1e3 * made,
        1e3 * law,
        resident() - before,
        roster.members().count()
    );
    let start = processor_time();
    let written = statements.write();
    println!("write: {:.2} s, {:.0} MiB", processor_time() - start, mebibytes(written.len()));

    look_up(&roster, asked);
    let start = processor_time();
    for asked in asked {
        roster.verify::<Ask>(&asked.statement, ValidAt::Now(NOW)).expect("it holds");
    }
    let verified = (processor_time() - start) / asked.len() as f64;
    let bare: Vec<_> =
        asked.iter().map(|a| Check::of::<Ask>(&a.statement, &a.transport, &network)).collect();
    let start = processor_time();
    for check in &bare {
        check.key.verify_strict(&check.message, &check.signature).expect("it was signed");
    }
    let bare = (processor_time() - start) / bare.len() as f64;
    println!("verify an ask: {:.1} us; bare check {:.1} us", 1e6 * verified, 1e6 * bare);
}

fn look_up(roster: &Roster, asked: &[Asked]) {
    let time = |what: &str, look: &dyn Fn(&Asked) -> bool| {
        let start = processor_time();
        assert!(asked.iter().all(|asked| black_box(look(asked))), "{what} finds everybody");
        println!("{what}: {:.0} ns", 1e9 * (processor_time() - start) / asked.len() as f64);
    };
    time("member", &|asked| roster.member(&asked.id).is_some());
    time("member_by_ods", &|asked| roster.member_by_ods(&asked.ods).is_some());
    let peers: Vec<_> = asked.iter().map(|asked| (asked.id, asked.transport.public())).collect();
    let start = processor_time();
    for (id, peer) in &peers {
        assert_eq!(black_box(roster.organizations_of_peer(peer, NOW)), [*id]);
    }
    let each = 1e9 * (processor_time() - start) / peers.len() as f64;
    println!("organizations_of_peer: {each:.0} ns");
}

/// A member, and a statement that its node has signed.
struct Asked {
    id: OrganizationId,
    ods: OdsCode,
    transport: SecretKey,
    statement: Vec<u8>,
}

/// One signature with what it takes to check it.
struct Check {
    key: VerifyingKey,
    message: Vec<u8>,
    signature: Signature,
}

impl Check {
    fn of<B: Body>(statement: &[u8], key: &SecretKey, network: &NetworkId) -> Self {
        let envelope = Envelope::parse(B::KIND, statement, B::BYTES_MAX).expect("it was made");
        Self {
            key: VerifyingKey::from_bytes(key.public().as_bytes()).expect("it is a key"),
            message: envelope.signed_bytes(network),
            signature: Signature::from_bytes(&envelope.signature()),
        }
    }
}

/// The statements with the signatures in them.
#[derive(Default)]
struct Made {
    statements: Vec<ByteString<{ signpost_protocol::limits::STATEMENT_BYTES_MAX }>>,
    checks: Vec<Check>,
}

impl Made {
    fn push_as<B: Body>(&mut self, bytes: &[u8], key: &SecretKey, network: &NetworkId) {
        self.checks.push(Check::of::<B>(bytes, key, network));
        self.statements.push(ByteString::new(bytes.to_vec()).expect("within its cap"));
    }

    fn push(&mut self, endorsement: &[u8], key: &SecretKey, network: &NetworkId) {
        self.push_as::<signpost_protocol::roster::Endorsement>(endorsement, key, network);
    }

    fn member(&mut self, member: &Party, number: usize, stewards: &[Party], network: &NetworkId) {
        // An inception holds outside any network; it stands in the record.
        self.checks.push(Check::of::<Inception>(&member.inception, &member.root, &NetworkId::NONE));
        let proposal = codec::encode(&Proposal {
            epoch: 0,
            change: Change::Member(record(member, 1)),
            reason: Text::new("Has signed the agreement; fingerprint read out by phone")
                .expect("short"),
            issued: FOUNDED,
            expires: FOUNDED.plus(86_400_000),
        });
        for at in 0..THRESHOLD {
            let steward = &stewards[(number + at) % STEWARDS];
            let proposal = ByteString::new(proposal.clone()).expect("within its cap");
            let approval = Approval { steward: steward.id, proposal, issued: FOUNDED };
            let approval = sign(approval, &steward.govern, network);
            self.push_as::<Approval>(approval.bytes(), &steward.govern, network);
        }
    }

    fn keys(&mut self, party: &Party, network: &NetworkId, rng: &mut ChaCha20Rng) {
        let mut node = [0; 16];
        rng.fill_bytes(&mut node);
        let node = NodeId(node);
        let pointer = SecretKey::generate(rng);
        let key = |key: &SecretKey, usage, node| KeyRecord {
            key: key.public(),
            usage,
            node,
            not_before: FOUNDED,
            not_after: FOUNDED.plus(90 * 86_400_000),
            revoked: None,
        };
        let keys = vec![
            key(&pointer, KeyUse::Pointer, Some(node)),
            key(&party.transport, KeyUse::Transport, Some(node)),
            key(&party.govern, KeyUse::Govern, None),
        ];
        let addresses = vec![Text::new("/ip4/192.0.2.1/tcp/4001").expect("short")];
        let addresses = Bounded::new(addresses).expect("one");
        let set = OrganizationKeys {
            organization: party.id,
            lineage: 0,
            version: 1,
            previous: ContentHash(party.id.0),
            nodes: Bounded::new(vec![NodeRecord { node, addresses }]).expect("one"),
            keys: Bounded::new(keys).expect("three"),
            issued: FOUNDED,
        };
        let set = sign(set, &party.root, network);
        self.push_as::<OrganizationKeys>(set.bytes(), &party.root, network);
    }
}

fn party(number: usize, rng: &mut ChaCha20Rng) -> Party {
    let ods: OdsCode = format!("X{number:05}").parse().expect("a code");
    let name = Text::new(&format!("Organization number {number}")).expect("short");
    let (inception, root, _) = incept(ods.clone(), name, FOUNDED, rng);
    let id = OrganizationId(inception.hash().0);
    let (govern, transport) = (SecretKey::generate(rng), SecretKey::generate(rng));
    Party { id, ods, inception: inception.bytes().to_vec(), root, govern, transport }
}

fn record(party: &Party, version: u64) -> MemberRecord {
    MemberRecord {
        inception: ByteString::new(party.inception.clone()).expect("within its cap"),
        version,
        standing: Standing::Admitted,
        ods: party.ods.clone(),
        name: Text::new(&format!("Organization {}", party.ods.as_str())).expect("short"),
        class_max: 10,
        successor: None,
    }
}

fn founding(stewards: &[Party], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let organizations: Vec<_> = stewards.iter().take(5).map(|steward| steward.id).collect();
    let (evaluators, _) = dealt_evaluators(&organizations, 3, rng).expect("three of five");
    let members = stewards.iter().map(|steward| record(steward, 0)).collect();
    let seats = stewards
        .iter()
        .map(|steward| Steward { organization: steward.id, govern: steward.govern.public() })
        .collect();
    codec::encode(&Founding {
        name: Text::new("Large").expect("short"),
        founded: FOUNDED,
        parameters: Parameters::STANDARD,
        members: Bounded::new(members).expect("fifteen"),
        evaluators: Some(evaluators),
        stewards: Bounded::new(seats).expect("fifteen"),
        threshold: THRESHOLD as u16,
    })
}

fn ask(asking: OrganizationId, key: &SecretKey, network: &NetworkId) -> Vec<u8> {
    let ask = Ask {
        asked: OrganizationId([1; 32]),
        asking,
        subject: AskSubject::Pointer { id: "X00001-1".parse().expect("an id") },
        purpose: Text::new("TREAT").expect("short"),
        role: Text::default(),
        user: Text::default(),
        request: RequestId([1; 16]),
        issued: NOW,
        expires: NOW.plus(1),
    };
    sign(ask, key, network).bytes().to_vec()
}

/// Time that this thread has had a processor, in seconds: others on the machine do not disturb it.
/// Where the system does not tell, that of the clock.
fn processor_time() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let start = *START;
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let told = told.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    told.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

/// Resident memory of this process in MiB; 0 where the system does not tell.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / 1_048_576.0
}
