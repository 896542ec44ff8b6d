//! A further node is prepared, listed, taken up and taken off the list again.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser as _;
use signpost_keys::{SecretKey, roster::PeerStanding, sign};
use signpost_protocol::{
    NetworkId, NodeId,
    codec::{Bounded, Text},
    limits,
    roster::{KeyRecord, NodeRecord, OrganizationKeys},
    statement::KeyUse,
};

use super::{
    super::{
        keys_words, node, own_nodes,
        own_nodes::{with_node, without_node},
    },
    DAY, NOW, Network, network,
    renewing::supplier,
};
use crate::setup::{self, NodeRequest};

/// What a node of the first organization asks for; another one for each number.
fn request(network: &Network, n: u8) -> NodeRequest {
    let node = NodeId([n; NodeId::LENGTH]);
    let key = |seed: u8, usage| KeyRecord {
        key: SecretKey::from_seed(&[seed; 32]).public(),
        usage,
        node: Some(node),
        not_before: NOW,
        not_after: NOW.plus(30 * DAY),
        revoked: None,
    };
    let address = Text::new(&format!("/ip4/192.0.2.{n}/tcp/7701")).unwrap();
    let request = NodeRequest {
        network: network.view.roster.network(),
        organization: network.organizations[0],
        node: NodeRecord { node, addresses: Bounded::new(vec![address]).unwrap() },
        pointer: key(100 + n, KeyUse::Pointer),
        transport: key(200 + n, KeyUse::Transport),
    };
    assert_eq!(NodeRequest::parse(&request.to_bytes()).unwrap(), request);
    request
}

fn asked(network: &Network, request: &NodeRequest) -> anyhow::Result<Option<OrganizationKeys>> {
    with_node(&network.view, &network.organizations[0], request)
}

/// The first organization signs a set, and every node takes it.
fn publish(network: &mut Network, set: OrganizationKeys) {
    let statement = sign(set, &network.root[0], &network.view.roster.network());
    network.view = network.view.with(&[statement.bytes().to_vec()]).unwrap();
}

fn add(network: &mut Network, request: &NodeRequest) {
    let set = asked(network, request).unwrap().expect("it is not listed yet");
    publish(network, set);
}

#[track_caller]
fn refused<T>(result: anyhow::Result<T>, why: &str, hint: &str) {
    let error = result.err().expect("it is refused");
    assert!(error.to_string().contains(why), "{error}");
    let said = crate::cli::error::hint(&error).unwrap_or_default();
    assert!(said.contains(hint), "{said}");
}

#[test]
fn a_node_is_listed_once_with_its_keys_and_the_others_stay() {
    let mut network = network();
    let organization = network.organizations[0];
    let request = request(&network, 1);
    let before = (**network.view.last_keys(&organization).unwrap()).clone();
    let set = asked(&network, &request).unwrap().unwrap();
    assert_eq!((set.nodes.len(), set.keys.len()), (2, before.keys.len() + 2));
    let changes = keys_words::difference(&before, &set);
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert_eq!(changes[0], "New node 01010101 at /ip4/192.0.2.1/tcp/7701.");
    assert!(changes[1..].iter().all(|line| line.starts_with("New ") && line.contains("01010101")));
    publish(&mut network, set);
    assert_eq!(asked(&network, &request).unwrap(), None, "it is listed already");
    let member = network.view.member(&organization).unwrap();
    assert_eq!(member.nodes.len(), 2);
    let peer = request.transport.key;
    assert_eq!(network.view.roster.organizations_of_peer(&peer, NOW), [organization]);
}

#[test]
fn what_does_not_fit_the_organization_is_not_listed() {
    let mut network = network();
    let anew = "signpost node prepare";
    let good = request(&network, 1);
    let other = NodeRequest { network: NetworkId([9; 32]), ..good.clone() };
    refused(asked(&network, &other), "not for this one", "--dir");
    let other = NodeRequest { organization: network.organizations[1], ..good.clone() };
    refused(
        asked(&network, &other),
        "for a node of Trust 1 (RX1), not of Trust 0 (RX0)",
        "root key",
    );
    // Keys that the organization lists, of the same use or another.
    for key in network.view.roster.keys_of(&network.organizations[0]) {
        let mut other = good.clone();
        other.pointer.key = key.key;
        refused(asked(&network, &other), "a key that is listed already", anew);
    }
    // Another's key is none of its own: whoever lists that gains nothing by it.
    let mut other = good.clone();
    other.pointer.key = network.view.roster.keys_of(&network.organizations[1])[0].key;
    assert!(asked(&network, &other).unwrap().is_some());

    add(&mut network, &good);
    let mut other = good.clone();
    other.pointer.key = SecretKey::from_seed(&[9; 32]).public();
    refused(asked(&network, &other), "node 01010101 is listed already, with other keys", anew);
    let mut other = request(&network, 2);
    other.transport.key = good.transport.key;
    refused(asked(&network, &other), "a key that is listed already: transport key", anew);

    let good = request(&network, 2);
    network.at(NOW.plus(30 * DAY).minus(1));
    assert!(asked(&network, &good).unwrap().is_some());
    network.at(NOW.plus(30 * DAY));
    refused(asked(&network, &good), "have expired at", anew);
}

#[test]
fn no_more_nodes_are_listed_than_a_set_holds() {
    let mut network = network();
    let max = u8::try_from(limits::NODES_PER_MEMBER_MAX).unwrap();
    for n in 1..max {
        let request = request(&network, n);
        add(&mut network, &request);
    }
    let one_more = request(&network, max);
    refused(asked(&network, &one_more), "at most 16 nodes", "signpost keys remove-node");
}

#[test]
fn a_node_is_taken_off_the_list_with_all_of_its_keys() {
    let mut network = network();
    let organization = network.organizations[0];
    let before = (**network.view.last_keys(&organization).unwrap()).clone();
    let first = before.nodes[0].node.to_string();
    let remove =
        |network: &Network, prefix: &str| without_node(&network.view, &organization, prefix);
    refused(remove(&network, &first[..8]), "is the only node of Trust 0 (RX0)", "signpost leave");

    let [second, third] = [1, 2].map(|n| request(&network, n));
    add(&mut network, &second);
    add(&mut network, &third);
    for wrong in ["", "zz", "x", &before.keys[0].key.key_id().to_string()] {
        refused(remove(&network, wrong), "exactly one node's id", "signpost keys list");
    }
    let (gone, set) = remove(&network, "0101").unwrap();
    assert_eq!(gone, second.node.node);
    let keys = [&before.keys[..], &[third.pointer, third.transport]].concat();
    assert_eq!(set.keys.to_vec(), keys);
    publish(&mut network, set);
    let roster = &network.view.roster;
    assert_eq!(roster.standing_of_peer(&second.transport.key, NOW), PeerStanding::Unknown);
    assert_eq!(roster.key_validity(&second.pointer.key.key_id(), &organization), None);
    assert_eq!(roster.standing_of_peer(&third.transport.key, NOW), PeerStanding::Member);
    refused(remove(&network, "0101"), "exactly one node's id", "signpost keys list");

    // The first may go as well as any; the last that is left may not.
    let (_, set) = remove(&network, &first).unwrap();
    publish(&mut network, set);
    refused(remove(&network, "0202"), "is the only node", "signpost leave");
}

#[test]
fn an_evaluator_does_not_lose_its_share_unawares() {
    let network = network();
    let text = own_nodes::share(&network.view, &network.organizations[0], "01010101").unwrap();
    assert!(text.contains("one of 5 evaluators, of which 3 are needed"), "{text}");
    let alone = supplier(1);
    let refusal = own_nodes::share(&alone.view, &alone.organizations[0], "01010101");
    refused(refusal, "all of which are needed", "the node that has the share");
}

#[test]
fn an_address_that_another_node_has_is_pointed_out() {
    let network = network();
    let mut request = request(&network, 1);
    let set = asked(&network, &request).unwrap().unwrap();
    let text = own_nodes::careful(&set, &request);
    assert!(!text.contains("CAREFUL") && text.contains("partial"), "{text}");
    let hash = request.fingerprint();
    assert!(text.contains(&crate::cli::text::fingerprint_words(hash.as_bytes())), "{text}");
    request.node.addresses = set.nodes[0].addresses.clone();
    let set = asked(&network, &request).unwrap().unwrap();
    let text = own_nodes::careful(&set, &request);
    assert!(text.contains("CAREFUL") && text.contains("/ip4/127.0.0.1/tcp/20000 too"), "{text}");
}

#[derive(clap::Parser)]
struct Typed {
    #[command(flatten)]
    args: node::Args,
}

fn typed(dir: &Path, arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let typed = Typed::try_parse_from([&["node"], arguments].concat()).unwrap();
    node::command(dir, &typed.args, false)
}

#[test]
fn what_is_typed_on_the_new_machine() {
    let mut network = network();
    let root = network.dirs[0].parent().unwrap().to_owned();
    let path = |name: &str| root.join(name);
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (dir, roster, out) = (path("second"), text(&path("0/roster.cbor")), path("request.cbor"));
    let prepare = |dir: &Path, of: &str, at: &str, more: &[&str]| {
        let at = format!("/ip4/127.0.0.1/tcp/{at}");
        let all = ["prepare", "--roster", &roster, "--organization", of, "--peer-address", &at];
        typed(dir, &[&all[..], more].concat())
    };
    refused(prepare(&dir, "RX7", "7701", &[]), "RX7 is no member", "signpost roster show");
    prepare(&dir, "RX0", "7701", &["--dry-run"]).unwrap();
    assert!(!dir.exists(), "a rehearsal makes nothing");
    prepare(&dir, "RX0", "7701", &["--out", &text(&out)]).unwrap();
    let request = NodeRequest::parse(&std::fs::read(&out).unwrap()).unwrap();
    // Typed again, it is the same; with something else in mind, nothing is written over.
    prepare(&dir, "RX0", "7701", &[]).unwrap();
    assert_eq!(setup::prepared(&dir).unwrap().unwrap().request, request);
    for (of, at) in [("RX1", "7701"), ("RX0", "7702")] {
        refused(prepare(&dir, of, at, &[]), "another node is prepared", "--dir");
    }
    let occupied = prepare(&network.dirs[1], "RX0", "7701", &[]);
    assert!(occupied.unwrap_err().to_string().contains("already holds a node of RX1"));

    let take_up = |dir: &Path, roster: &str| typed(dir, &["take-up", roster]);
    refused(take_up(&dir, &roster), "lists it yet", "signpost keys add-node");
    refused(take_up(&path("empty"), &roster), "holds no node", "signpost init");
    let others = super::network_from(2);
    let theirs = text(&others.dirs[0].join("roster.cbor"));
    refused(take_up(&dir, &theirs), "not of", "when it had listed this one");
    let now = crate::runtime::wall_clock();
    network.at(now);
    add(&mut network, &request);
    let newer = path("newer.cbor");
    std::fs::write(&newer, network.view.statements.write()).unwrap();
    assert_eq!(take_up(&dir, &text(&newer)).unwrap(), ExitCode::SUCCESS);
    assert_eq!(setup::open(&dir).unwrap().node, request.node.node);
    assert_eq!(take_up(&dir, &text(&newer)).unwrap(), ExitCode::SUCCESS, "it is listed already");
}
