//! A node that knows a network only by an invitation, until it is a member.

use std::{
    io,
    sync::{Arc, Mutex},
};

use signpost_protocol::{
    InvitationCode, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    hello::{HelloAnswer, HelloRequest, Regard, VERSIONS},
    invitation::Invitation,
    joining::{Joining, JoiningAnswer, JoiningStage},
    limits,
};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

const CODE: InvitationCode = InvitationCode([9; 16]);
const NOW: Timestamp = Timestamp(1_768_089_600_000);

/// What is logged at levels that an operator sees, by everything on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no holder panicked"));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no holder panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What an admin mails: the text of an invitation by this node.
fn invitation(node: &Node) -> String {
    let address = peer_address(&node.key, &node.address).expect("a key").to_string();
    let invitation = Invitation {
        network: NETWORK,
        network_name: Text::new("Example network").expect("short"),
        ods: "A1A".parse().expect("a code"),
        name: Text::new("Alder Hospital").expect("short"),
        code: CODE,
        addresses: Bounded::new(vec![Text::new(&address).expect("short")]).expect("one"),
        expires: NOW.plus(1_000),
    };
    invitation.to_string()
}

fn hello(joining: Option<Joining>) -> Vec<u8> {
    let versions = Bounded::new(VERSIONS.to_vec()).expect("few");
    codec::encode(&HelloRequest { versions, network: NETWORK, now: NOW, joining })
}

/// Answers as a member's core would; the dial-back is done by its network.
async fn answer(member: &mut Node) -> Option<Joining> {
    let (peer, plane, id, frame) = member.request().await;
    assert_eq!(plane, Plane::Hello);
    let bytes_max = limits::HELLO_FRAME_BYTES_MAX;
    let hello: HelloRequest = codec::decode("hello", &frame, bytes_max).expect("a hello");
    let joining = match &hello.joining {
        None => None,
        Some(joining) if *joining.code() != CODE => Some(JoiningAnswer::UnknownCode),
        Some(Joining::DialBack { address, .. }) => {
            let address = address.parse().expect("an address");
            let result = member.dial_back(peer, &address).await;
            let reason = Text::shortened(result.as_ref().map_or_else(String::as_str, |()| ""));
            Some(JoiningAnswer::DialBack { reachable: result.is_ok(), reason })
        }
        Some(Joining::Progress { .. }) => {
            Some(JoiningAnswer::Progress { stage: JoiningStage::Waiting })
        }
        Some(_) => Some(JoiningAnswer::Noted),
    };
    let versions = Bounded::new(VERSIONS.to_vec()).expect("few");
    let answer = HelloAnswer { regard: Regard::Stranger, versions, now: NOW, joining };
    member.reply(id, &codec::encode(&answer)).await;
    hello.joining
}

/// One hello of the applicant: what came back about joining.
async fn exchange_hello(
    applicant: &mut Node,
    member: &mut Node,
    token: u64,
    joining: Option<Joining>,
) -> Option<JoiningAnswer> {
    // The connection of a dial-back may stand for a moment at the applicant's side, and takes a
    // request with it that was given to it.
    loop {
        applicant.ask(token, member.key, Plane::Hello, &hello(joining.clone())).await;
        tokio::select! {
            asked = answer(member) => {
                assert_eq!(asked, joining);
                break;
            }
            lost = applicant.response(token) => assert!(lost.is_err()),
        }
    }
    let reply = applicant
        .until("answer", |event| match event {
            NetworkEvent::Disconnected { .. } => panic!("the applicant was cut off"),
            NetworkEvent::Response { token: found, result, .. } if found == token => Some(result),
            _ => None,
        })
        .await
        .expect("an answer");
    let bytes_max = limits::HELLO_FRAME_BYTES_MAX;
    let answer: HelloAnswer = codec::decode("answer", &reply, bytes_max).expect("an answer");
    assert_eq!(answer.regard, Regard::Stranger);
    answer.joining
}

#[tokio::test]
async fn an_applicant_is_heard_dialled_back_and_comes_back_as_a_member() {
    let log = Log::default();
    let _guard = log.begin();
    let mut member = Node::start(tcp()).await;
    let invited = invitation(&member).parse::<Invitation>().expect("as mailed");
    let members = members_at(invited.addresses.iter().map(|text| &**text)).expect("addresses");
    assert_eq!(members, [member.member()]);
    let mut applicant =
        Node::start(NetworkConfig { network: invited.network, members, ..tcp() }).await;
    let code = invited.code;
    // Each says at its start who it is: what is logged is seen.
    assert_eq!(log.take().matches("local_peer_id").count(), 2);

    // All on one connection, and as much as an admin's first afternoon takes.
    let address = |text: &str| Text::new(text).expect("short");
    let inside = address(&applicant.address.to_string());
    let noted = Some(JoiningAnswer::Noted);
    let reachable = |reachable, reason: &str| {
        Some(JoiningAnswer::DialBack { reachable, reason: Text::new(reason).expect("short") })
    };
    let inception = ByteString::new(vec![1; 700]).expect("the longest");
    let keys = ByteString::new(vec![2; 800]).expect("the longest");
    let closed = address("/ip4/127.0.0.1/tcp/1");
    for (token, (joining, answer)) in (0..).zip([
        (None, None),
        (Some(Joining::Inception { code, inception }), noted.clone()),
        (Some(Joining::Keys { code, keys }), noted),
        (
            Some(Joining::DialBack { code, address: closed }),
            reachable(false, "connection refused: nothing listens there, or a firewall says no"),
        ),
        (Some(Joining::DialBack { code, address: inside }), reachable(true, "")),
        (
            Some(Joining::Progress { code }),
            Some(JoiningAnswer::Progress { stage: JoiningStage::Waiting }),
        ),
        (
            Some(Joining::Progress { code: InvitationCode([8; 16]) }),
            Some(JoiningAnswer::UnknownCode),
        ),
    ]) {
        assert_eq!(exchange_hello(&mut applicant, &mut member, token, joining).await, answer);
    }

    // So far it is a stranger, and gets nothing else.
    applicant.ask(20, member.key, Plane::Roster, b"question").await;
    assert_eq!(applicant.response(20).await, Err(RequestFailure::Unsupported));
    member.ask(20, applicant.key, Plane::Roster, b"question").await;
    assert!(matches!(member.response(20).await, Err(RequestFailure::Unreachable(_))));

    // Admitted: the old connection goes, and the next is a member's.
    member.set_members(&[&applicant]).await;
    assert_eq!(member.disconnected(false).await, applicant.key);
    assert_eq!(applicant.disconnected(true).await, member.key);
    applicant.send(NetworkCommand::Connect(member.key)).await;
    assert_eq!(member.connected(true).await, applicant.key);
    exchange(&mut applicant, &mut member, Plane::Roster, 21).await;
    exchange(&mut member, &mut applicant, Plane::Roster, 22).await;
    gossip::publish_until_heard(&member, &mut applicant, b"a first statement").await;

    assert_eq!(log.take(), "", "joining is no noise in anybody's log");
}

#[tokio::test]
async fn an_applicant_that_goes_on_for_too_long_is_cut_off_and_may_come_again() {
    let mut member = Node::start(memory()).await;
    let members = members_at([peer_address(&member.key, &member.address)
        .expect("a key")
        .to_string()
        .as_str()])
    .expect("an address");
    let mut applicant = Node::start(NetworkConfig { members, ..memory() }).await;
    let progress = || Some(Joining::Progress { code: CODE });
    for round in 0..2 {
        for token in 0..u64::from(gate::STRANGER_HELLOS_MAX) {
            exchange_hello(&mut applicant, &mut member, 100 * round + token, progress()).await;
        }
        applicant.ask(99, member.key, Plane::Hello, &hello(progress())).await;
        let (outcome, peer) = applicant.cut_off(99).await;
        assert!(outcome.is_err() && peer == member.key, "{outcome:?}");
    }
}
