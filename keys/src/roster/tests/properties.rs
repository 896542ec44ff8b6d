//! What holds of any statements whatever, in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use signpost_protocol::roster::Subject;

use super::*;
use crate::roster::Finding;

/// Something that somebody signs; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Act {
    Approve {
        steward: usize,
        proposal: usize,
        hour: u64,
    },
    Beat {
        party: usize,
        proposals: Vec<usize>,
        hour: u64,
    },
    Keys {
        party: usize,
        lineage: u32,
        root: u8,
        version: u64,
        revoked: Option<(usize, u64)>,
        hour: u64,
    },
    Object {
        proposal: usize,
        root: u8,
        hour: u64,
    },
}

pub(super) const HOUR: u64 = DAY / 24;
/// Hours that are signed with: mostly few, so that much falls together.
const HOURS: std::ops::Range<u64> = 0..600;

fn approve() -> impl Strategy<Value = Act> {
    (0..8usize, 0..64usize, HOURS).prop_map(|(steward, proposal, hour)| Act::Approve {
        steward,
        proposal,
        hour,
    })
}

fn beat() -> impl Strategy<Value = Act> {
    (0..8usize, vec(0..64usize, 0..12), HOURS).prop_map(|(party, proposals, hour)| Act::Beat {
        party,
        proposals,
        hour,
    })
}

fn keys() -> impl Strategy<Value = Act> {
    let revoked = proptest::option::of((0..3usize, HOURS));
    (0..8usize, 0..3u32, 0..3u8, 1..4u64, revoked, HOURS).prop_map(
        |(party, lineage, root, version, revoked, hour)| Act::Keys {
            party,
            lineage,
            root,
            version,
            revoked,
            hour,
        },
    )
}

fn object() -> impl Strategy<Value = Act> {
    (0..64usize, 0..3u8, HOURS).prop_map(|(proposal, root, hour)| Act::Object {
        proposal,
        root,
        hour,
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![16 => approve(), 3 => beat(), 2 => keys(), 1 => object()]
}

fn reset_root(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number + 1; 32])
}

/// Proposals that agree, compete, contradict or follow each other.
fn pool(network: &Network) -> Vec<Proposal> {
    let member = |party: usize, version, standing| network.parties[party].member(version, standing);
    let founding = ContentHash(network.id().0);
    let mut same_code = network.parties[6].record(1, Standing::Admitted);
    same_code.ods = network.parties[5].ods.clone();
    let mut pool: Vec<_> = [
        (member(5, 1, Standing::Admitted), 1),
        (member(5, 1, Standing::Suspended), 5),
        (member(5, 2, Standing::Suspended), 3),
        (member(5, 2, Standing::Admitted), 14),
        (Change::Member(same_code), 2),
        (member(3, 1, Standing::Suspended), 2),
        (member(3, 2, Standing::Expelled), 4),
        (network.epoch(1, founding, &[0, 1, 2, 3, 5]), 1),
        (network.epoch(1, founding, &[0, 1, 6]), 2),
        (network.epoch(1, founding, &[2, 3, 4]), 12),
        (network.epoch(1, ContentHash([3; 32]), &[0, 1, 2]), 1),
        (network.reset(3, 1, &reset_root(1)), 1),
        (network.reset(3, 1, &reset_root(2)), 3),
        (network.reset(3, 2, &reset_root(2)), 4),
        (network.reset(5, 1, &reset_root(1)), 2),
    ]
    .into_iter()
    .map(|(change, at)| network.proposal(change, day(at)))
    .collect();
    let follows = network.epoch(2, id_of(&pool[7]), &[1, 2, 5]);
    for (change, at) in
        [(follows, 3), (member(7, 1, Standing::Admitted), 3), (member(5, 3, Standing::Expelled), 2)]
    {
        let mut proposal = network.proposal(change, day(at));
        proposal.epoch = 1;
        pool.push(proposal);
    }
    pool
}

fn say(network: &Network, pool: &[Proposal], act: &Act) -> Vec<u8> {
    let party = |at: usize| network.parties[at % network.parties.len()].clone();
    match act {
        Act::Approve { steward, proposal, hour } => {
            let proposal = &pool[proposal % pool.len()];
            let steward = steward % network.parties.len();
            // Within its life, mostly.
            network.approval(steward, proposal, proposal.issued.plus(hour * HOUR / 2))
        }
        Act::Beat { party: at, proposals, hour } => {
            let witnessed: Vec<_> = proposals.iter().map(|at| &pool[at % pool.len()]).collect();
            network.heartbeat(at % network.parties.len(), &witnessed, FOUNDED.plus(hour * HOUR))
        }
        Act::Keys { party: at, lineage, root, version, revoked, hour } => {
            let party = party(*at);
            let mut set = party.key_set();
            (set.lineage, set.version, set.issued) =
                (*lineage, *version, FOUNDED.plus(hour * HOUR));
            if let Some((at, hour)) = revoked {
                let since = FOUNDED.plus(hour * HOUR);
                let reason = RevocationReason::Compromised;
                edit(&mut set.keys, *at, |key| key.revoked = Some(Revocation { since, reason }));
            }
            let root = if *lineage == 0 {
                SecretKey::from_seed(&party.root.expose_seed())
            } else {
                reset_root(*root)
            };
            network.keys(&set, &root)
        }
        Act::Object { proposal, root, hour } => {
            // One of the resets, whatever number was drawn.
            let resets: Vec<_> =
                pool.iter().filter(|p| matches!(p.change, Change::Root(_))).collect();
            let proposal = resets[proposal % resets.len()];
            let Change::Root(reset) = proposal.change else { unreachable!("they were chosen") };
            let at = network.parties.iter().position(|p| p.id == reset.organization).unwrap();
            let root = match root {
                0 => SecretKey::from_seed(&party(at).root.expose_seed()),
                root => reset_root(*root),
            };
            network.objection(at, proposal, &root, FOUNDED.plus(hour * HOUR))
        }
    }
}

pub(super) fn hear<'a>(
    network: &Network,
    all: impl IntoIterator<Item = &'a Vec<u8>>,
    now: Timestamp,
) -> Statements {
    let mut statements = Statements::begin(&network.founding_bytes(), None).unwrap();
    for bytes in all {
        // Whatever does not hold is refused, whenever it comes.
        let _ = statements.take(bytes, now);
    }
    statements
}

/// All that can be asked of a roster, written out.
pub(super) fn written(roster: &Roster) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        roster.digest(),
        roster.epoch(),
        roster.findings(),
        roster.fresh(),
        roster.next_change(),
        roster.by_ods,
        (&roster.members, &roster.keys),
        roster.evaluators,
    )
}

pub(super) fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut items = items.to_vec();
    for at in (1..items.len()).rev() {
        let mut bytes = [0; 8];
        rng.fill_bytes(&mut bytes);
        items.swap(at, (u64::from_le_bytes(bytes) % (at as u64 + 1)) as usize);
    }
    items
}

pub(super) const CASES: u32 = 96;

#[test]
fn any_order_and_duplication_gives_the_same_roster_and_keeps_the_same() {
    let network = Network::of(5);
    let (pool, begun) = (pool(&network), network.begun());
    let seen = std::cell::RefCell::new(BTreeMap::<&str, u32>::new());
    let count = |what: &'static str, is_so: bool| {
        *seen.borrow_mut().entry(what).or_default() += u32::from(is_so);
    };
    proptest!(ProptestConfig::with_cases(CASES), |(
        acts in vec(act(), 60..260),
        orders in any::<[u64; 2]>(),
        day_of in prop_oneof![Just(9u64), Just(15), Just(26), Just(40)],
    )| {
        let now = day(day_of);
        let mut all = begun.clone();
        all.extend(acts.iter().map(|act| say(&network, &pool, act)));
        let one = hear(&network, &all, now);
        let roster = one.roster(now);
        for order in orders {
            // Some come twice.
            let mut other = shuffled(&all, order);
            other.extend(all.iter().take(order as usize % all.len()).cloned());
            let other = hear(&network, &shuffled(&other, order), now);
            let missing: Vec<_> = one.hashes().filter(|hash| !other.has(hash)).collect();
            let kind = |hash| signpost_protocol::statement::Envelope::kind_of(&one.get(hash).unwrap());
            let missing: Vec<_> = missing.into_iter().map(|hash| (hash, kind(hash))).collect();
            prop_assert!(missing.is_empty(), "{missing:?} of {}", one.len());
            prop_assert!(other.hashes().eq(one.hashes()));
            prop_assert!(written(&other.roster(now)) == written(&roster));
        }
        let again = Statements::read(&one.write(), None, now).unwrap();
        prop_assert!(again.hashes().eq(one.hashes()));
        prop_assert!(written(&again.roster(now)) == written(&roster));
        let law = one.law(now);
        let has = |is: fn(&State) -> bool| law.proposals().any(|(_, d)| is(&d.state));
        count("a new epoch", roster.epoch().number() > 0);
        count("a second epoch", roster.epoch().number() > 1);
        count("a member more", roster.members().count() > 5);
        count("a reset", roster.members().any(|member| member.lineage > 0));
        count("a wait", has(|state| matches!(state, State::Waits(_))));
        count("an objection", has(|state| *state == State::Objected));
        count("a fall", has(|state| *state == State::Fallen));
        count("a lapse", has(|state| *state == State::Expired));
        count("something newer", has(|state| *state == State::Superseded));
        let finds = |is: fn(&Finding) -> bool| roster.findings().iter().any(is);
        count("a contradiction", finds(|f| matches!(f, Finding::Equivocation { .. })));
        count("two key sets", finds(|f| matches!(f, Finding::ContradictoryKeys { .. })));
        count("a doubt", finds(|f| matches!(f, Finding::ApproveAgain { .. })));
    });
    // The statements were rich enough to say something.
    for (what, times) in seen.into_inner() {
        assert!(times > 0, "never {what}");
    }
}

/// A network with some law, all of it witnessed by everybody: the sixth party is admitted by the
/// first three, the seventh suspended, and the fourth's root was reset.
fn settled(founders: usize) -> Network {
    let mut network = Network::of(founders);
    let admitted = network.admit(founders, day(1));
    let first = network.decide(network.parties[founders + 1].member(1, Standing::Admitted), day(1));
    let suspended =
        network.decide(network.parties[founders + 1].member(2, Standing::Suspended), day(2));
    let reset = network.decide(network.reset(3, 1, &reset_root(1)), day(1));
    let mut set = network.parties[3].key_set();
    set.lineage = 1;
    let set = network.keys(&set, &reset_root(1));
    network.say(set);
    for party in 0..founders {
        let beat = network.heartbeat(party, &[&admitted, &suspended], day(3));
        network.say(beat);
        let beat = network.heartbeat(party, &[&reset], day(15));
        network.say(beat);
        let beat = network.heartbeat(party, &[&admitted, &first, &suspended, &reset], day(20));
        network.say(beat);
    }
    network
}

#[test]
fn no_fewer_than_the_threshold_change_the_law() {
    for founders in [4, 5] {
        let network = settled(founders);
        let thieves = network.threshold() - 1;
        let mut proposals: Vec<_> = [
            (network.parties[founders].member(2, Standing::Expelled), 20),
            (network.parties[founders].member(1, Standing::Suspended), 1),
            (network.parties[founders + 1].member(3, Standing::Admitted), 20),
            (network.parties[founders + 1].member(2, Standing::Admitted), 2),
            (network.parties[founders + 2].member(1, Standing::Admitted), 18),
            (network.parties[2].member(1, Standing::Expelled), 20),
            (network.epoch(1, ContentHash(network.id().0), &[0, 1, founders]), 20),
            (network.epoch(1, ContentHash(network.id().0), &[0, 1]), 16),
            (network.reset(2, 1, &reset_root(2)), 10),
            (network.reset(3, 1, &reset_root(2)), 1),
            (network.reset(3, 2, &reset_root(2)), 12),
        ]
        .into_iter()
        .map(|(change, at)| network.proposal(change, day(at)))
        .collect();
        // The law itself, approved once more and dated otherwise.
        proposals.extend(network.said.iter().filter_map(|bytes| {
            let kind = signpost_protocol::statement::StatementKind::Approval;
            let envelope =
                signpost_protocol::statement::Envelope::parse(kind, bytes, bytes.len()).ok()?;
            Proposal::decode(&envelope.body::<Approval>().ok()?.proposal).ok()
        }));
        let honest = network.statements(day(30));
        proptest!(ProptestConfig::with_cases(CASES), |(acts in vec(act(), 1..80))| {
            let mut statements = honest.clone();
            let mut attempted = 0;
            for act in &acts {
                let outside = |at: usize| founders + at % 3;
                // Govern keys of too few, their nodes, and all that is not a steward's.
                let act = match act.clone() {
                    Act::Approve { steward, proposal, hour } => {
                        Act::Approve { steward: steward % thieves, proposal, hour }
                    }
                    Act::Beat { party, proposals, hour } => {
                        let party = if hour % 2 == 0 { party % thieves } else { outside(party) };
                        Act::Beat { party, proposals, hour }
                    }
                    // Roots of too few have been stolen as well: they revoke what they like since ever.
                    Act::Keys { party, root: 1, version, revoked, hour, .. } => {
                        let revoked = revoked.map(|(_, since)| (2, since));
                        Act::Keys { party: party % thieves, lineage: 0, root: 1, version, revoked, hour }
                    }
                    // And the old root of the fourth.
                    Act::Keys { party, lineage, root, version, revoked, hour } => {
                        let party = if root == 0 { 3 } else { outside(party) };
                        let lineage = if root == 0 { 0 } else { lineage };
                        Act::Keys { party, lineage, root, version, revoked, hour }
                    }
                    object @ Act::Object { .. } => object,
                };
                let bytes = match &act {
                    Act::Object { hour, .. } => {
                        let reset = proposals.iter().rev().find(|p| matches!(p.change, Change::Root(_))).unwrap();
                        network.objection(3, reset, &network.parties[3].root, FOUNDED.plus(hour * HOUR))
                    }
                    act => say(&network, &proposals, act),
                };
                attempted += statements.take(&bytes, day(30)).map_or(0, |taken| taken.new.len());
            }
            for now in [day(30), day(37), day(60), day(85)] {
                let (before, after) = (honest.roster(now), statements.roster(now));
                prop_assert_eq!(after.epoch().id(), before.epoch().id());
                prop_assert_eq!(after.parameters(), before.parameters());
                prop_assert_eq!(&after.by_ods, &before.by_ods);
                let seen = |roster: &Roster| -> Vec<_> {
                    roster
                        .members()
                        .map(|m| {
                            let theirs = network.parties[..thieves].iter().chain(&network.parties[founders..]);
                            let is_theirs = theirs.into_iter().any(|p| p.id == m.organization);
                            let keys = (!is_theirs).then(|| format!("{:?} {:?}", m.nodes, m.govern));
                            (m.organization, m.standing, m.ods.clone(), m.version, m.lineage, keys)
                        })
                        .collect()
                };
                prop_assert_eq!(seen(&after), seen(&before), "after {} statements", attempted);
            }
        });
        // One key more does it.
        let mut enough = network.clone();
        enough.decide(network.parties[founders].member(2, Standing::Expelled), day(20));
        let roster = enough.roster(day(30));
        assert_eq!(
            roster.member(&network.parties[founders].id).unwrap().standing,
            Standing::Expelled
        );
    }
}

#[test]
fn a_contradiction_is_found_once_both_halves_meet_and_never_without() {
    let network = Network::of(5);
    let pool = pool(&network);
    let begun = network.begun();
    proptest!(ProptestConfig::with_cases(CASES), |(
        acts in vec(act(), 0..60),
        thief in 0..5usize,
        pair in prop_oneof![Just((0usize, 1usize)), Just((7, 8)), Just((11, 12))],
        order in any::<u64>(),
    )| {
        // Everybody approves one proposal of each subject and version; the thief none of these.
        let mut first = BTreeMap::new();
        let mut all = begun.clone();
        let slot = pool[pair.0].change.subject();
        all.extend(acts.iter().filter_map(|act| {
            if let Act::Approve { steward, proposal, .. } = act {
                let (steward, proposal) = (steward % network.parties.len(), proposal % pool.len());
                let subject = pool[proposal].change.subject();
                let is_free = *first.entry((steward, subject)).or_insert(proposal) == proposal;
                if !is_free || (steward == thief && subject == slot) {
                    return None;
                }
            }
            Some(say(&network, &pool, act))
        }));
        let [one, other] = [pair.0, pair.1].map(|at| network.approval(thief, &pool[at], pool[at].issued));
        let finds = |extra: &[&Vec<u8>], now: Timestamp| -> BTreeSet<OrganizationId> {
            let mut all = all.clone();
            all.extend(extra.iter().map(|bytes| (*bytes).clone()));
            let roster = hear(&network, &shuffled(&all, order), now).roster(now);
            roster.findings().iter().filter_map(|finding| match finding {
                Finding::Equivocation { steward, .. } => Some(*steward),
                _ => None,
            }).collect()
        };
        // Also long after both have lapsed.
        for now in [day(9), day(60)] {
            prop_assert_eq!(finds(&[&one], now), BTreeSet::new());
            prop_assert_eq!(finds(&[&other], now), BTreeSet::new());
            let found = BTreeSet::from([network.parties[thief].id]);
            prop_assert_eq!(finds(&[&one, &other], now), found.clone());
            prop_assert_eq!(finds(&[&other, &one], now), found);
        }
    });
}

#[test]
fn heartbeats_add_to_the_law_and_take_nothing_from_it() {
    let network = Network::of(5);
    let begun = network.begun();
    // One proposal of each subject and version, no new epoch, and no new root of a steward: of two
    // that compete one may have to give way, a new epoch ends the time of the one before, and a new
    // root may revoke what the old one listed.
    let mut slots = BTreeSet::new();
    let mut pool = pool(&network);
    pool.retain(|proposal| {
        let (subject, version) = proposal.change.subject();
        let is_of_stewards =
            subject == Subject::Stewards || subject == Subject::Root(network.parties[3].id);
        !is_of_stewards && slots.insert((subject, version))
    });
    let mended = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(CASES), |(
        acts in vec(act(), 60..160),
        beats in vec(beat(), 1..40),
    )| {
        let now = day(26);
        let mut all = begun.clone();
        all.extend(acts.iter().map(|act| say(&network, &pool, act)));
        let mut statements = hear(&network, &all, now);
        let law = |statements: &Statements| -> BTreeSet<ContentHash> {
            let law = statements.law(now);
            let is_law = |state: &State| matches!(state, State::Law | State::Superseded | State::Waits(_));
            law.proposals().filter(|(_, d)| is_law(&d.state)).map(|(id, _)| *id).collect()
        };
        let before = law(&statements);
        for act in &beats {
            let _ = statements.take(&say(&network, &pool, act), now);
        }
        let after = law(&statements);
        let lost: Vec<_> = before
            .difference(&after)
            .map(|id| format!("{:?}", statements.law(now).proposal(id)))
            .collect();
        prop_assert!(lost.is_empty(), "{lost:?}");
        mended.set(mended.get() + after.len() - before.len());
    });
    assert!(mended.get() > 0, "no heartbeat ever mattered");
}
