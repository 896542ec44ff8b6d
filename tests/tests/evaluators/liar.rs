//! An evaluator with a valid key that answers by another share than its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::{ValidAt, blinding::deal, sign};
use signpost_node::{
    network::{self, Member, NetworkCommand, NetworkConfig, NetworkEvent, Plane, Transport},
    runtime::wall_clock,
    setup::{self, Identity},
};
use signpost_protocol::{
    blind::{EvaluateAnswer, EvaluateRequest},
    codec::{self, Bounded, ByteString},
    hello::{HelloAnswer, Regard},
    locate::Reply,
};
use signpost_tests::{
    client::{patient, record},
    processes::{Federation, until},
};

use super::{
    load::{Truth, during},
    typed,
};

const NODES: usize = 5;
const LIAR: usize = 3;
const HOLDER: usize = 0;
const ASKERS: [usize; 2] = [1, 2];

/// Answers every evaluation wrongly until told to stop; counts the answers.
fn lie(
    identity: &Identity,
    members: Vec<Member>,
    listen: String,
    stop: &AtomicBool,
    lies: &AtomicU64,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (handle, mut events) = network::spawn(NetworkConfig {
            transport_secret: identity.transport.expose_seed(),
            network: identity.roster.network(),
            transport: Transport::Tcp,
            listen: vec![listen.parse().unwrap()],
            members: members.clone(),
            tap: None,
            request_timeout: None,
        })
        .unwrap();
        for member in &members {
            handle.send(NetworkCommand::Connect(member.key)).await.unwrap();
        }
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let mut wrong = deal(3, NODES, &mut rng).unwrap();
        let share = wrong.shares.remove(LIAR);
        while !stop.load(Ordering::Relaxed) {
            let event = tokio::time::timeout(Duration::from_millis(50), events.recv()).await;
            let Ok(Some(NetworkEvent::Request { plane, id, frame, .. })) = event else { continue };
            let frame = match plane {
                Plane::Hello => codec::encode(&HelloAnswer {
                    regard: Regard::Member,
                    versions: Bounded::new(vec![1]).unwrap(),
                    now: wall_clock(),
                    joining: None,
                }),
                Plane::Evaluate => {
                    let now = wall_clock();
                    let request = identity
                        .roster
                        .verify::<EvaluateRequest>(&frame, ValidAt::Now(now))
                        .unwrap();
                    let blinded: Vec<[u8; 32]> = request.blinded.iter().map(|one| **one).collect();
                    let evaluation = share.evaluate(&blinded, &mut rng).unwrap();
                    let evaluated = evaluation.elements.into_iter().map(Into::into).collect();
                    let answer = EvaluateAnswer {
                        request: request.hash(),
                        organization: request.asked,
                        index: share.index().get(),
                        share_epoch: request.share_epoch,
                        evaluated: Bounded::new(evaluated).unwrap(),
                        proof_c: evaluation.proof.c.into(),
                        proof_s: evaluation.proof.s.into(),
                        issued: now,
                    };
                    let answer = sign(answer, &identity.transport, &identity.roster.network());
                    lies.fetch_add(1, Ordering::Relaxed);
                    codec::encode(&Reply::Statement(
                        ByteString::new(answer.bytes().to_vec()).unwrap(),
                    ))
                }
                _ => {
                    handle.send(NetworkCommand::Refuse { id }).await.unwrap();
                    continue;
                }
            };
            handle.send(NetworkCommand::Reply { id, frame }).await.unwrap();
        }
        handle.shutdown().await;
    });
}

#[test]
fn a_lying_evaluator_is_caught_on_its_first_answer_and_shown_to_others() {
    let mut federation = Federation::running(super::PROGRAM, NODES);
    let ods = federation.node(HOLDER).ods.clone();
    let ids: Vec<_> = (0..20)
        .map(|n| {
            let record = record(&ods, &patient(n), "https://records.example/1");
            [federation.client(HOLDER).created(&record)].into()
        })
        .collect();
    let truth = Truth { patients: 20, ids };
    for asker in ASKERS {
        until("the last record is found", || {
            let reply = federation.client(asker).search(&patient(19));
            (!reply.ids().is_empty()).then_some(())
        });
    }
    federation.kill(LIAR);
    let identity = Arc::new(setup::open(&federation.node(LIAR).dir).unwrap());
    let others = [HOLDER, ASKERS[0], ASKERS[1], 4];
    let members = others.map(|n| Member {
        key: setup::open(&federation.node(n).dir).unwrap().transport.public(),
        addresses: vec![
            format!("/ip4/127.0.0.1/tcp/{}", federation.node(n).peer_port).parse().unwrap(),
        ],
    });
    let listen = format!("/ip4/127.0.0.1/tcp/{}", federation.node(LIAR).peer_port);
    let (stop, lies) = (AtomicBool::new(false), AtomicU64::new(0));
    let clients = ASKERS.map(|n| federation.client(n).clone());
    let counts = thread::scope(|scope| {
        scope.spawn(|| lie(&identity, members.to_vec(), listen, &stop, &lies));
        let (_, counts) = during(&clients, &truth, 160, || ());
        stop.store(true, Ordering::Relaxed);
        counts
    });
    let lies = lies.into_inner();
    println!("the liar answered {lies} times");
    assert!(lies > 0, "it was asked");
    assert!(counts.wrong.is_empty(), "{:#?}", counts.wrong);
    assert_eq!(counts.unavailable, 0, "three others are enough");
    assert!(counts.right + counts.partial > 50, "{counts:?}");
    let name = &federation.node(LIAR).ods;
    let mut shown = 0;
    for asker in ASKERS {
        let log = federation.node(asker).log();
        let caught = log.lines().filter(|line| line.contains("proof does not hold")).count();
        println!("{}: caught {caught} times", federation.node(asker).ods);
        let evidence = typed(&federation, asker, "evidence");
        let listed: serde_json::Value = serde_json::from_slice(&evidence.stdout).expect("JSON");
        let of_liar = listed["evidence"].as_array().expect("a list").iter();
        let of_liar = of_liar.filter(|one| one["ods"] == **name).count();
        assert_eq!(of_liar, usize::from(caught > 0), "{listed}");
        shown += of_liar;
    }
    assert!(shown > 0, "whoever was lied to can show it");
}
