//! A node that serves several organizations: what one of them may see and do of another is what
//! any two organizations may, and one that is suspended does not harm the others.

use std::collections::BTreeSet;

use signpost_node::{
    core::{
        completeness::CauseKind,
        local::{
            Confirmation, Effect, LocalReply, LocalRequest, LocateError, LocateRequest, Located,
            NewId, Put, ReadError, ReadPointer, ReadRequest, Write, WriteError, Written,
        },
    },
    store::DisclosureRole,
};
use signpost_protocol::{
    OrganizationId, PatientIdentifier, PointerId, codec::Text, roster::Standing,
};
use signpost_tests::{
    founding::Plan,
    sim::{Network, caller},
};

use crate::common::{create, draft, patient};

/// The node that serves ORG2, ORG3 and the suspended ORG4.
const HOST: usize = 2;
/// The node of ORG5.
const ASKER: usize = 3;

/// Six organizations on four nodes.
struct Hosting(Network);

impl Hosting {
    fn new(seed: u64) -> Self {
        let plan = Plan {
            served: vec![1, 1, 3],
            standings: vec![(4, Standing::Suspended)],
            evaluators: 3,
            threshold: 2,
            ..Plan::of(6)
        };
        let mut network = Network::new(&plan, seed);
        assert_eq!(network.nodes.len(), 4);
        network.run_for(5_000);
        Self(network)
    }

    fn id(&self, number: usize) -> OrganizationId {
        let ods = format!("ORG{number}").parse().unwrap();
        self.0.roster.member_by_ods(&ods).unwrap().organization
    }

    /// Whatever an organization on [`HOST`] asks.
    fn call(&mut self, number: usize, request: LocalRequest) -> LocalReply {
        let asking = self.id(number);
        self.0.call_for(HOST, asking, request)
    }

    fn write(&mut self, number: usize, write: Write) -> Result<Written, WriteError> {
        match self.call(number, LocalRequest::Write(vec![write])) {
            LocalReply::Write(mut results) => results.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn locate(&mut self, number: usize, of: PatientIdentifier) -> Result<Located, LocateError> {
        self.locate_for(number, of, "TREAT", None)
    }

    fn locate_for(
        &mut self,
        number: usize,
        patient: PatientIdentifier,
        purpose: &str,
        custodian: Option<usize>,
    ) -> Result<Located, LocateError> {
        let mut caller = caller();
        caller.purpose = Text::new(purpose).unwrap();
        let custodian = custodian.map(|number| format!("ORG{number}").parse().unwrap());
        let request = LocateRequest { patient, caller, deadline: 3_000, custodian };
        match self.call(number, LocalRequest::Locate(request)) {
            LocalReply::Locate(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, number: usize, id: &PointerId) -> Result<ReadPointer, ReadError> {
        let request = ReadRequest { id: id.clone(), caller: caller(), deadline: 3_000 };
        match self.call(number, LocalRequest::Read(request)) {
            LocalReply::Read(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn source_ids(&mut self, number: usize, source: &str) -> Vec<PointerId> {
        let request = LocalRequest::SourceIds { source: source.parse().unwrap(), after: None };
        match self.call(number, request) {
            LocalReply::SourceIds(page) => page.unwrap().items,
            other => panic!("{other:?}"),
        }
    }

    fn exported(&mut self, number: usize) -> Vec<PointerId> {
        let request = LocalRequest::Export { source: None, after: None };
        match self.call(number, request) {
            LocalReply::Export(page) => {
                page.unwrap().items.into_iter().map(|read| read.found.pointer.id).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn holders(found: &Located) -> BTreeSet<String> {
    found.pointers.iter().map(|found| found.ods.to_string()).collect()
}

fn codes<const N: usize>(codes: [&str; N]) -> BTreeSet<String> {
    codes.map(str::to_owned).into()
}

/// The only thing that may be missing is what the suspended organization has.
#[track_caller]
fn assert_only_the_suspended_is_missing(found: &Located) {
    let causes = found.completeness.causes();
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!(causes[0].kind, CauseKind::Suspended);
    assert_eq!(causes[0].organization.as_ref().unwrap().0.as_str(), "ORG4");
}

#[test]
fn each_publishes_for_itself_and_everybody_finds_it() {
    let mut network = Hosting::new(1);
    let wrong = network.write(2, create(3, patient(1))).unwrap_err();
    assert!(matches!(wrong, WriteError::OtherServed { .. }), "{wrong}");
    let wrong = network.write(2, create(0, patient(1))).unwrap_err();
    assert!(matches!(wrong, WriteError::NotServed { .. }), "{wrong}");
    for number in [2, 3] {
        network.write(number, create(number, patient(1))).unwrap();
    }
    network.0.run_for(2_000);
    let from_afar = network.0.locate(ASKER, patient(1)).unwrap();
    assert_eq!(holders(&from_afar), codes(["ORG2", "ORG3"]));
    assert_only_the_suspended_is_missing(&from_afar);
    for number in [2, 3] {
        let found = network.locate(number, patient(1)).unwrap();
        assert_eq!(holders(&found), codes(["ORG2", "ORG3"]));
        assert_only_the_suspended_is_missing(&found);
        let nothing = network.locate(number, patient(2)).unwrap();
        assert!(nothing.pointers.is_empty());
        assert_eq!(nothing.asked, 0, "nobody is asked who has nothing");
    }
    // Own ones alone are nobody else's business.
    let own = network.locate_for(2, patient(1), "TREAT", Some(2)).unwrap();
    assert_eq!((holders(&own), own.asked), (codes(["ORG2"]), 0));
}

#[test]
fn what_one_tells_the_other_on_the_same_node_is_recorded_by_both_and_follows_the_policy() {
    let mut network = Hosting::new(2);
    let id = network.write(3, create(3, patient(1))).unwrap().id;
    let records = |network: &Hosting, from: usize| {
        let records = network.0.nodes[HOST].disclosures[from..].iter();
        let told = |record: &signpost_node::store::DisclosureRecord| {
            let parties = (record.asking.clone(), record.asked.join(" "));
            (record.role, parties, record.outcome.clone(), record.pointers.len())
        };
        records.map(told).collect::<Vec<_>>()
    };
    let parties = || ("ORG2".to_owned(), "ORG3".to_owned());
    assert_eq!(holders(&network.locate(2, patient(1)).unwrap()), codes(["ORG3"]));
    let (holder, asker) = (DisclosureRole::Holder, DisclosureRole::Asker);
    assert_eq!(
        records(&network, 0),
        [
            (holder, parties(), "answered".to_owned(), 1),
            (asker, parties(), "located".to_owned(), 1)
        ]
    );
    let [theirs, ours] = &network.0.nodes[HOST].disclosures[..] else { panic!("two records") };
    assert_eq!(ours.asks, std::slice::from_ref(&theirs.request), "they can be put side by side");

    let refused = network.locate_for(2, patient(1), "PATRQT", None).unwrap();
    assert!(refused.pointers.is_empty());
    assert_only_the_suspended_is_missing(&refused);
    assert_eq!(
        records(&network, 2),
        [
            (holder, parties(), "refused-by-policy".to_owned(), 0),
            (asker, parties(), "located".to_owned(), 0)
        ]
    );
    // The holder itself asks for any purpose, and learns the subject; another does not.
    let own = network.locate_for(3, patient(1), "PATRQT", None).unwrap();
    assert_eq!(holders(&own), codes(["ORG3"]));
    assert_eq!(network.read(3, &id).unwrap().subject, Some(patient(1)));
    let read = network.read(2, &id).unwrap();
    assert_eq!((read.found.pointer.id, read.subject), (id, None));
    assert_eq!(
        records(&network, 5),
        [(holder, parties(), "answered".to_owned(), 1), (asker, parties(), "read".to_owned(), 1)]
    );
    let nothing = network.read(2, &"ORG3-nothing".parse().unwrap());
    assert!(matches!(nothing, Err(ReadError::NotFound(_))), "{nothing:?}");
}

#[test]
fn an_unlisted_pointer_is_found_on_the_same_node_as_anywhere_by_asking_its_holder_only() {
    let mut network = Hosting::new(3);
    let mut unlisted = draft(3, patient(1), 1);
    unlisted.listed = Some(false);
    network.write(3, Write::Create { id: NewId::Random, draft: unlisted }).unwrap();
    assert!(network.locate(2, patient(1)).unwrap().pointers.is_empty());
    let direct = network.locate_for(2, patient(1), "TREAT", Some(3)).unwrap();
    assert_eq!(holders(&direct), codes(["ORG3"]));
    assert!(direct.completeness.is_complete(), "it speaks of that custodian alone");
    assert_eq!(holders(&network.locate(3, patient(1)).unwrap()), codes(["ORG3"]));
}

#[test]
fn a_locator_that_one_has_looked_up_is_looked_up_again_for_another() {
    let mut network = Hosting::new(4);
    assert!(!network.locate(2, patient(1)).unwrap().cached);
    assert!(network.locate(2, patient(1)).unwrap().cached);
    assert!(!network.locate(3, patient(1)).unwrap().cached);
}

#[test]
fn sources_and_exports_are_each_organizations_own() {
    let mut network = Hosting::new(5);
    let put = |number: usize| {
        let id = NewId::Given(format!("ORG{number}-1").parse().unwrap());
        let source = "PAS".parse().unwrap();
        Write::Put(Put { id, draft: draft(number, patient(1), 1), source })
    };
    for number in [2, 3] {
        assert_eq!(network.write(number, put(number)).unwrap().effect, Effect::Created);
    }
    let [second, third]: [PointerId; 2] = ["ORG2-1", "ORG3-1"].map(|id| id.parse().unwrap());
    assert_eq!(network.source_ids(2, "PAS"), std::slice::from_ref(&second));
    assert_eq!(network.source_ids(3, "PAS"), std::slice::from_ref(&third));
    assert_eq!(network.exported(2), std::slice::from_ref(&second));
    let remove = || Write::Remove { id: "ORG3-1".parse().unwrap(), source: "PAS".parse().unwrap() };
    let delete = Write::Delete { id: third.clone(), if_match: None };
    let update =
        Write::Update { id: third.clone(), if_match: None, draft: draft(3, patient(1), 2) };
    for write in [remove(), delete, update] {
        let error = network.write(2, write).unwrap_err();
        assert!(matches!(error, WriteError::OtherServed { .. }), "{error}");
    }
    assert_eq!(network.exported(3), std::slice::from_ref(&third), "it is untouched");
    assert_eq!(network.write(3, remove()).unwrap().effect, Effect::Deleted);
    assert!(network.exported(3).is_empty() && network.source_ids(3, "PAS").is_empty());
    assert_eq!(network.exported(2), [second]);
}

#[test]
fn a_suspended_one_is_refused_and_the_others_work_on_also_after_a_restart() {
    let mut network = Hosting::new(6);
    network.write(3, create(3, patient(1))).unwrap();
    network.0.run_for(2_000);
    let error = network.locate(4, patient(1)).unwrap_err().to_string();
    assert!(error.starts_with("Organization ORG4 (ORG4) is suspended"), "{error}");
    let error = network.write(4, create(4, patient(1))).unwrap_err();
    assert!(matches!(error, WriteError::NotAdmitted(_)), "{error}");
    let error = network.read(4, &"ORG3-1".parse().unwrap()).unwrap_err();
    assert!(matches!(error, ReadError::NotAdmitted(_)), "{error}");
    assert!(network.exported(4).is_empty(), "what it holds it can still take away");

    let status = network.0.status(HOST);
    assert!(status.ready, "{:?}", status.notices);
    let standings: Vec<_> = status.serves.iter().map(|s| s.standing.as_str()).collect();
    assert_eq!(standings, ["admitted", "admitted", "suspended"]);
    assert!(status.notices.iter().any(|notice| notice.contains("ORG4) is suspended")));
    let told: Vec<_> = status.serves.iter().map(|s| s.pointers.is_some()).collect();
    assert_eq!(told, [true, false, false], "one's own count alone is told");
    let digests: Vec<_> = status.serves.iter().map(|s| s.digest_version.is_some()).collect();
    assert_eq!(digests, [true, true, false], "nobody would take a digest of the suspended one");

    network.0.kill(HOST);
    network.0.start(HOST);
    // Less than it waits for peers that know less than itself: nobody keeps a suspended one's head.
    network.0.run_for(2_000);
    for number in [2, 3] {
        let found = network.locate(number, patient(1)).unwrap();
        assert_eq!(holders(&found), codes(["ORG3"]));
        assert_only_the_suspended_is_missing(&found);
    }
    let found = network.0.locate(ASKER, patient(1)).unwrap();
    assert_eq!(holders(&found), codes(["ORG3"]));
    assert_only_the_suspended_is_missing(&found);
}

#[test]
fn each_confirms_for_itself_that_everything_was_sent_again() {
    let mut network = Hosting::new(7);
    let backup = network.0.back_up(HOST);
    for number in [2, 3] {
        network.write(number, create(number, patient(1))).unwrap();
    }
    network.0.run_for(2_000);
    network.0.kill(HOST);
    network.0.restore(HOST, &backup);
    network.0.start(HOST);
    network.0.run_for(8_000);
    let restored = |network: &Hosting| -> Vec<bool> {
        let status = network.0.status(HOST);
        status.serves.iter().map(|served| served.restored_as_of.is_some()).collect()
    };
    assert_eq!(restored(&network), [true, true, false]);
    let mut confirm = |number| match network.call(number, LocalRequest::ConfirmRestored) {
        LocalReply::ConfirmRestored(confirmation) => confirmation,
        other => panic!("{other:?}"),
    };
    assert_eq!(confirm(3), Confirmation::Done);
    assert_eq!(confirm(3), Confirmation::Nothing);
    assert_eq!(restored(&network), [true, false, false], "the other has not confirmed");
}

/// One node of several organizations, and nobody else in the network.
#[test]
fn a_network_of_one_node_waits_for_nobody() {
    let plan = Plan { served: vec![2], evaluators: 1, threshold: 1, ..Plan::of(2) };
    let mut network = Network::new(&plan, 8);
    network.run_for(1_000);
    assert_eq!(network.nodes.len(), 1);
    network.write(0, vec![create(0, patient(1))]).remove(0).unwrap();
    let other = network.nodes[0].founder.others[0].organization;
    let request =
        LocateRequest { patient: patient(1), caller: caller(), deadline: 3_000, custodian: None };
    let LocalReply::Locate(found) = network.call_for(0, other, LocalRequest::Locate(request))
    else {
        panic!("the core replies in kind")
    };
    let found = found.unwrap();
    assert_eq!(holders(&found), codes(["ORG0"]));
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
}
