//! Builds messages from the fields of a vector, by their names in SPEC.md.

pub(crate) mod roster;

use std::str::FromStr;

use minicbor::bytes::ByteArray;
use serde_json::Value;
use signpost_protocol::{
    ContentHash, KeyEpoch, Locator, Timestamp,
    blind::{EvaluateAnswer, EvaluatePurpose, EvaluateRequest},
    codec::{Bounded, ByteString, Text},
    digest::{DigestHead, DigestsAnswer, DigestsRequest, FilterHead, HeadVersion, Life},
    hello::{HelloAnswer, HelloRequest, Regard},
    invitation::Invitation,
    joining::{Joining, JoiningAnswer, JoiningStage},
    locate::{Answer, Ask, AskSubject, RefusalCode, Reply},
    pointer::{Pointer, PointerState},
    roster_exchange::{BucketDigests, RosterAnswer, RosterRequest},
};

/// The fields of one message. A field that is missing or of another type fails the test.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        Self(value)
    }

    fn get(self, name: &str) -> Self {
        Self(self.0.get(name).unwrap_or_else(|| panic!("no field {name} in {}", self.0)))
    }

    fn has(self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    fn str(self) -> &'a str {
        self.0.as_str().unwrap_or_else(|| panic!("{} is no text", self.0))
    }

    fn uint<T: TryFrom<u64>>(self, name: &str) -> T {
        let number = self.get(name).0.as_u64().expect("an unsigned integer");
        T::try_from(number).unwrap_or_else(|_| panic!("{name} is out of range"))
    }

    fn bool(self, name: &str) -> bool {
        self.get(name).0.as_bool().expect("a truth value")
    }

    fn time(self, name: &str) -> Timestamp {
        Timestamp(self.uint(name))
    }

    fn parse<T: FromStr>(self, name: &str) -> T {
        let text = self.get(name).str();
        text.parse().unwrap_or_else(|_| panic!("{name}: {text} does not parse"))
    }

    fn text<const MAX: usize>(self, name: &str) -> Text<MAX> {
        Text::new(self.get(name).str()).expect("a text within its cap")
    }

    fn array<const N: usize>(self) -> [u8; N] {
        hex::decode(self.str()).expect("hexadecimal").try_into().expect("the right length")
    }

    fn byte_array<const N: usize>(self, name: &str) -> ByteArray<N> {
        self.get(name).array::<N>().into()
    }

    fn byte_string<const MAX: usize>(self) -> ByteString<MAX> {
        ByteString::new(hex::decode(self.str()).expect("hexadecimal")).expect("within its cap")
    }

    fn list<T, const MAX: usize>(self, name: &str, item: fn(Self) -> T) -> Bounded<T, MAX> {
        let items = self.get(name).0.as_array().expect("a list");
        Bounded::new(items.iter().map(|value| item(Self(value))).collect()).expect("within its cap")
    }

    fn one_of<T: Copy>(self, name: &str, values: &[(&str, T)]) -> T {
        let text = self.get(name).str();
        let found = values.iter().find(|(known, _)| *known == text);
        found.unwrap_or_else(|| panic!("{name}: unknown {text}")).1
    }
}

pub(crate) fn pointer(f: Fields<'_>) -> Pointer {
    let states = [
        ("current", PointerState::Current),
        ("superseded", PointerState::Superseded),
        ("entered-in-error", PointerState::EnteredInError),
        ("tombstone", PointerState::Tombstone),
    ];
    Pointer {
        id: f.parse("id"),
        version: f.uint("version"),
        organization: f.parse("organization"),
        custodian_suffix: f.has("custodian_suffix").then(|| f.text("custodian_suffix")),
        state: f.one_of("state", &states),
        listed: f.bool("listed"),
        key_epoch: KeyEpoch(f.uint("key_epoch")),
        locator: Locator(f.get("locator").array()),
        issued: f.time("issued"),
        resource: f.get("resource").byte_string(),
    }
}

pub(crate) fn digest_head(f: Fields<'_>) -> DigestHead {
    let filter = |f: Fields<'_>| FilterHead {
        key_epoch: KeyEpoch(f.uint("key_epoch")),
        kind: f.uint("kind"),
        class: f.uint("class"),
        salt: f.byte_array("salt"),
        filter: f.parse("filter"),
        ones: f.uint("ones"),
        changes: f.list("changes", hash),
    };
    DigestHead {
        organization: f.parse("organization"),
        node: f.parse("node"),
        version: f.uint("version"),
        filters: f.list("filters", filter),
        issued: f.time("issued"),
        expires: f.time("expires"),
        restored_as_of: f.has("restored_as_of").then(|| f.time("restored_as_of")),
        life: f.has("life").then(|| {
            let f = f.get("life");
            Life { resumed: f.uint("resumed"), first: f.uint("first") }
        }),
    }
}

pub(crate) fn digests_request(f: Fields<'_>) -> DigestsRequest {
    if f.has("compare") {
        DigestsRequest::Compare(f.get("compare").parse("hash"))
    } else if f.has("heads") {
        let pair = |f: Fields<'_>| {
            let part = |at: usize| f.0[at].as_str().expect("a pair of identifiers");
            (part(0).parse().expect("an organization"), part(1).parse().expect("a node"))
        };
        DigestsRequest::Heads(f.get("heads").list("nodes", pair))
    } else {
        let f = f.get("blob");
        DigestsRequest::Blob(f.parse("hash"), f.uint("offset"))
    }
}

pub(crate) fn digests_answer(f: Fields<'_>) -> DigestsAnswer {
    let version = |f: Fields<'_>| HeadVersion {
        organization: f.parse("organization"),
        node: f.parse("node"),
        version: f.uint("version"),
    };
    if f.has("same") {
        DigestsAnswer::Same
    } else if f.has("versions") {
        DigestsAnswer::Versions(f.get("versions").list("versions", version))
    } else if f.has("heads") {
        DigestsAnswer::Heads(f.get("heads").list("heads", Fields::byte_string))
    } else if f.has("blob") {
        DigestsAnswer::Blob(f.get("blob").get("piece").byte_string())
    } else if f.has("not-found") {
        DigestsAnswer::NotFound
    } else {
        f.get("busy");
        DigestsAnswer::Busy
    }
}

pub(crate) fn roster_request(f: Fields<'_>) -> RosterRequest {
    if f.has("compare") {
        RosterRequest::Compare(f.get("compare").parse("hash"))
    } else if f.has("buckets") {
        let bucket =
            |f: Fields<'_>| f.0.as_u64().and_then(|b| b.try_into().ok()).expect("a bucket");
        RosterRequest::Buckets(f.get("buckets").list("buckets", bucket))
    } else if f.has("statements") {
        RosterRequest::Statements(f.get("statements").list("hashes", hash))
    } else {
        f.get("founding");
        RosterRequest::Founding
    }
}

pub(crate) fn roster_answer(f: Fields<'_>) -> RosterAnswer {
    if f.has("same") {
        RosterAnswer::Same
    } else if f.has("digests") {
        // The statements are given, so that the digests are computed and not only copied.
        let f = f.get("digests");
        let mut statements = f.list::<_, 16>("statements", hash).into_inner();
        statements.sort_unstable();
        let digests = BucketDigests::of(&statements);
        assert_eq!(digests.hash(), f.parse("hash"));
        RosterAnswer::Digests(digests)
    } else if f.has("hashes") {
        let f = f.get("hashes");
        RosterAnswer::Hashes { buckets: f.uint("buckets"), hashes: f.list("hashes", hash) }
    } else if f.has("statements") {
        let statements = f.get("statements").list("statements", Fields::byte_string);
        RosterAnswer::Statements(statements)
    } else if f.has("founding") {
        RosterAnswer::Founding(f.get("founding").get("founding").byte_string())
    } else {
        f.get("busy");
        RosterAnswer::Busy
    }
}

fn hash(f: Fields<'_>) -> ContentHash {
    f.str().parse().expect("a hash")
}

pub(crate) fn ask(f: Fields<'_>) -> Ask {
    let subject = f.get("subject");
    Ask {
        asked: f.parse("asked"),
        asking: f.parse("asking"),
        subject: if subject.has("locator") {
            let s = subject.get("locator");
            AskSubject::Locator {
                key_epoch: KeyEpoch(s.uint("key_epoch")),
                locator: Locator(s.get("locator").array()),
                after: s.has("after").then(|| s.parse("after")),
            }
        } else {
            AskSubject::Pointer { id: subject.get("pointer").parse("id") }
        },
        purpose: f.text("purpose"),
        role: f.text("role"),
        user: f.text("user"),
        request: f.parse("request"),
        issued: f.time("issued"),
        expires: f.time("expires"),
    }
}

pub(crate) fn answer(f: Fields<'_>) -> Answer {
    Answer {
        ask: f.parse("ask"),
        organization: f.parse("organization"),
        pointers: f.list("pointers", Fields::byte_string),
        more: f.bool("more"),
        issued: f.time("issued"),
        restored_as_of: f.has("restored_as_of").then(|| f.time("restored_as_of")),
    }
}

pub(crate) fn reply(f: Fields<'_>) -> Reply {
    let codes = [
        ("malformed", RefusalCode::Malformed),
        ("bad-signature", RefusalCode::BadSignature),
        ("not-admitted", RefusalCode::NotAdmitted),
        ("clock", RefusalCode::Clock),
        ("replayed", RefusalCode::Replayed),
        ("not-served", RefusalCode::NotServed),
        ("epoch", RefusalCode::Epoch),
        ("busy", RefusalCode::Busy),
        ("internal", RefusalCode::Internal),
        ("roster-stale", RefusalCode::RosterStale),
        ("over-quota", RefusalCode::OverQuota),
    ];
    if f.has("statement") {
        Reply::Statement(f.get("statement").get("bytes").byte_string())
    } else {
        Reply::Refused(f.get("refused").one_of("code", &codes))
    }
}

pub(crate) fn evaluate_request(f: Fields<'_>) -> EvaluateRequest {
    let purposes = [
        ("lookup", EvaluatePurpose::Lookup),
        ("publish", EvaluatePurpose::Publish),
        ("rekey", EvaluatePurpose::Rekey),
    ];
    EvaluateRequest {
        asked: f.parse("asked"),
        asking: f.parse("asking"),
        request: f.parse("request"),
        key_epoch: KeyEpoch(f.uint("key_epoch")),
        share_epoch: f.uint("share_epoch"),
        purpose: f.one_of("purpose", &purposes),
        blinded: f.list("blinded", |f| f.array::<32>().into()),
        issued: f.time("issued"),
        expires: f.time("expires"),
    }
}

pub(crate) fn evaluate_answer(f: Fields<'_>) -> EvaluateAnswer {
    EvaluateAnswer {
        request: f.parse("request"),
        organization: f.parse("organization"),
        index: f.uint("index"),
        share_epoch: f.uint("share_epoch"),
        evaluated: f.list("evaluated", |f| f.array::<32>().into()),
        proof_c: f.byte_array("proof_c"),
        proof_s: f.byte_array("proof_s"),
        issued: f.time("issued"),
    }
}

pub(crate) fn hello_request(f: Fields<'_>) -> HelloRequest {
    HelloRequest {
        versions: f.list("versions", version),
        network: f.parse("network"),
        now: f.time("now"),
        joining: f.has("joining").then(|| joining(f.get("joining"))),
    }
}

fn joining(f: Fields<'_>) -> Joining {
    if f.has("inception") {
        let f = f.get("inception");
        Joining::Inception { code: f.parse("code"), inception: f.get("inception").byte_string() }
    } else if f.has("keys") {
        let f = f.get("keys");
        Joining::Keys { code: f.parse("code"), keys: f.get("keys").byte_string() }
    } else if f.has("dial-back") {
        let f = f.get("dial-back");
        Joining::DialBack { code: f.parse("code"), address: f.text("address") }
    } else {
        Joining::Progress { code: f.get("progress").parse("code") }
    }
}

fn joining_answer(f: Fields<'_>) -> JoiningAnswer {
    if f.has("noted") {
        JoiningAnswer::Noted
    } else if f.has("unknown-code") {
        JoiningAnswer::UnknownCode
    } else if f.has("full") {
        JoiningAnswer::Full
    } else if f.has("refused") {
        JoiningAnswer::Refused(f.get("refused").text("reason"))
    } else if f.has("dial-back") {
        let f = f.get("dial-back");
        JoiningAnswer::DialBack { reachable: f.bool("reachable"), reason: f.text("reason") }
    } else {
        let f = f.get("progress").get("stage");
        let stage = if f.has("waiting") {
            JoiningStage::Waiting
        } else if f.has("proposed") {
            let f = f.get("proposed");
            JoiningStage::Proposed { approvals: f.uint("approvals"), needed: f.uint("needed") }
        } else {
            f.get("admitted");
            JoiningStage::Admitted
        };
        JoiningAnswer::Progress { stage }
    }
}

pub(crate) fn invitation(f: Fields<'_>) -> Invitation {
    let address = |f: Fields<'_>| Text::new(f.str()).expect("an address within its cap");
    Invitation {
        network: f.parse("network"),
        network_name: f.text("network_name"),
        ods: f.parse("ods"),
        name: f.text("name"),
        code: f.parse("code"),
        addresses: f.list("addresses", address),
        expires: f.time("expires"),
    }
}

pub(crate) fn hello_answer(f: Fields<'_>) -> HelloAnswer {
    let regards = [
        ("member", Regard::Member),
        ("stranger", Regard::Stranger),
        ("other-network", Regard::OtherNetwork),
        ("version", Regard::Version),
        ("clock", Regard::Clock),
        ("suspended", Regard::Suspended),
        ("key-expired", Regard::KeyExpired),
        ("key-revoked", Regard::KeyRevoked),
        ("expelled", Regard::Expelled),
    ];
    HelloAnswer {
        regard: f.one_of("regard", &regards),
        versions: f.list("versions", version),
        now: f.time("now"),
        joining: f.has("joining").then(|| joining_answer(f.get("joining"))),
    }
}

fn version(f: Fields<'_>) -> u16 {
    f.0.as_u64().and_then(|version| version.try_into().ok()).expect("a version")
}
