//! Pointers and the producer systems that import them: who may change what, and who comes back.
#![allow(missing_docs, clippy::unwrap_used)] // Tests fail by panicking.

use signpost_node::core::{
    local::{
        Draft, EXPORTS_PER_PAGE_MAX, Effect, IDS_PER_PAGE_MAX, LocalReply, LocalRequest, NewId,
        Page, Put, Write, WriteError, Written,
    },
    source::Source,
};
use signpost_protocol::{
    IdentifierSystem, PatientIdentifier, PointerId, PointerState, codec::ByteString,
};
use signpost_tests::{founding::Plan, sim::Network};

fn patient(n: u32) -> PatientIdentifier {
    (999_000_000 + n * 20..)
        .find_map(|stem| PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem))
        .expect("one stem in eleven has no check digit")
}

fn source(name: &str) -> Source {
    name.parse().unwrap()
}

fn id(local: &str) -> PointerId {
    format!("ORG0-{local}").parse().unwrap()
}

fn draft(n: u32, text: &str) -> Draft {
    let resource = format!(r#"{{"description":"{text}","resourceType":"DocumentReference"}}"#);
    Draft {
        patient: patient(n),
        custodian: "ORG0".parse().unwrap(),
        custodian_suffix: None,
        state: PointerState::Current,
        listed: None,
        resource: ByteString::new(resource.into_bytes()).unwrap(),
    }
}

fn put_of(name: &str, local: &str, n: u32, text: &str) -> Put {
    Put { id: NewId::Given(id(local)), draft: draft(n, text), source: source(name) }
}

struct Node(Network);

impl Node {
    fn new() -> Self {
        Self(Network::settled(&Plan::of(1), 1))
    }

    fn write(&mut self, write: Write) -> Result<Written, WriteError> {
        self.0.write(0, vec![write]).remove(0)
    }

    /// Effect and version of a put.
    fn put(
        &mut self,
        name: &str,
        local: &str,
        n: u32,
        text: &str,
    ) -> Result<(Effect, u64), WriteError> {
        let put = put_of(name, local, n, text);
        let expected = self.rehearse(vec![put.clone()]).remove(0);
        let written = self.write(Write::Put(put));
        let short = |result: &Result<Written, WriteError>| match result {
            Ok(written) => format!("{:?} {}", written.effect, written.version),
            Err(error) => error.to_string(),
        };
        // A rehearsal says what then happens.
        assert_eq!(short(&expected), short(&written));
        written.map(|written| (written.effect, written.version))
    }

    fn rehearse(&mut self, puts: Vec<Put>) -> Vec<Result<Written, WriteError>> {
        match self.0.call(0, LocalRequest::Rehearse(puts)) {
            LocalReply::Rehearse(results) => results,
            _ => unreachable!("the core replies in kind"),
        }
    }

    fn remove(&mut self, name: &str, local: &str) -> Result<Written, WriteError> {
        self.write(Write::Remove { id: id(local), source: source(name) })
    }

    fn page(&mut self, name: &str, after: Option<PointerId>) -> Page<PointerId> {
        match self.0.call(0, LocalRequest::SourceIds { source: source(name), after }) {
            LocalReply::SourceIds(page) => page.unwrap(),
            _ => unreachable!("the core replies in kind"),
        }
    }

    fn ids(&mut self, name: &str) -> Vec<String> {
        self.page(name, None).items.iter().map(ToString::to_string).collect()
    }

    fn exported(&mut self, name: Option<&str>) -> Vec<String> {
        let (mut after, mut ids) = (None, Vec::new());
        loop {
            let request = LocalRequest::Export { source: name.map(source), after };
            let LocalReply::Export(page) = self.0.call(0, request) else {
                unreachable!("the core replies in kind")
            };
            let Page { items, next } = page.unwrap();
            assert!(items.len() <= EXPORTS_PER_PAGE_MAX);
            assert!(items.iter().all(|read| read.subject.is_some()));
            ids.extend(items.iter().map(|read| read.found.pointer.id.to_string()));
            match next {
                Some(next) => after = Some(next),
                None => return ids,
            }
        }
    }

    fn held(&self) -> u64 {
        self.0.status(0).serves[0].pointers.expect("one's own are told")
    }
}

#[test]
fn an_imported_pointer_belongs_to_its_source() {
    let mut node = Node::new();
    assert_eq!(node.put("PAS", "1", 1, "a").unwrap(), (Effect::Created, 1));
    assert_eq!(node.put("PAS", "1", 1, "a").unwrap(), (Effect::Unchanged, 1));
    assert_eq!(node.put("PAS", "1", 1, "b").unwrap(), (Effect::Updated, 2));
    let error = node.put("LAB", "1", 1, "c").unwrap_err();
    assert!(matches!(&error, WriteError::OtherSource { .. }), "{error}");
    assert!(error.to_string().contains("--source PAS"), "{error}");
    // Not even with the content that it has: then it would be both sources' to delete.
    assert!(node.put("LAB", "1", 1, "b").is_err());
    assert_eq!((node.ids("PAS"), node.ids("LAB")), (vec!["ORG0-1".to_owned()], vec![]));
    // A change by a clinical system leaves it where it is.
    let update = Write::Update { id: id("1"), if_match: None, draft: draft(1, "d") };
    assert_eq!(node.write(update).unwrap().version, 3);
    assert_eq!(node.ids("PAS"), ["ORG0-1"]);
}

#[test]
fn a_pointer_of_no_source_is_taken_over_once() {
    let mut node = Node::new();
    let create = |local| Write::Create { id: NewId::Given(id(local)), draft: draft(1, "a") };
    for local in ["1", "2"] {
        node.write(create(local)).unwrap();
    }
    assert!(node.ids("PAS").is_empty());
    // What it says stays, and so does its version; yet it belongs to the source now.
    assert_eq!(node.put("PAS", "1", 1, "a").unwrap(), (Effect::Unchanged, 1));
    assert_eq!(node.put("PAS", "2", 1, "b").unwrap(), (Effect::Updated, 2));
    assert_eq!(node.ids("PAS"), ["ORG0-1", "ORG0-2"]);
    assert!(matches!(node.put("LAB", "1", 1, "a"), Err(WriteError::OtherSource { .. })));
    assert_eq!(node.held(), 2);
    assert_eq!(node.exported(Some("PAS")), ["ORG0-1", "ORG0-2"]);
}

#[test]
fn a_record_that_vanishes_and_returns_is_the_same_pointer() {
    let mut node = Node::new();
    node.put("PAS", "1", 1, "a").unwrap();
    let removed = node.remove("PAS", "1").unwrap();
    assert_eq!((removed.effect, removed.version), (Effect::Deleted, 2));
    assert_eq!(node.remove("PAS", "1").unwrap().effect, Effect::Unchanged, "twice is once");
    assert!(node.ids("PAS").is_empty() && node.exported(None).is_empty());
    assert_eq!(node.held(), 0);
    assert!(node.0.locate(0, patient(1)).unwrap().pointers.is_empty());

    // Of another source, of none, or for another patient it stays gone.
    assert!(matches!(node.put("LAB", "1", 1, "a"), Err(WriteError::Gone(_))));
    assert!(matches!(node.put("PAS", "1", 2, "a"), Err(WriteError::SubjectChanged(_))));
    let create = Write::Create { id: NewId::Given(id("1")), draft: draft(1, "a") };
    assert!(matches!(node.write(create), Err(WriteError::Gone(_))));
    let update = Write::Update { id: id("1"), if_match: None, draft: draft(1, "a") };
    assert!(matches!(node.write(update), Err(WriteError::Gone(_))));

    assert_eq!(node.put("PAS", "1", 1, "a").unwrap(), (Effect::Created, 3));
    assert_eq!((node.ids("PAS"), node.held()), (vec!["ORG0-1".to_owned()], 1));
    let found = node.0.locate(0, patient(1)).unwrap().pointers;
    assert_eq!((found.len(), found[0].pointer.version), (1, 3));

    // A pointer that never had a source stays deleted.
    node.write(Write::Create { id: NewId::Given(id("2")), draft: draft(1, "a") }).unwrap();
    node.write(Write::Delete { id: id("2"), if_match: None }).unwrap();
    assert!(matches!(node.put("PAS", "2", 1, "a"), Err(WriteError::Gone(_))));
}

#[test]
fn only_what_still_is_the_sources_can_be_deleted_for_it() {
    let mut node = Node::new();
    node.put("PAS", "1", 1, "a").unwrap();
    node.write(Write::Create { id: NewId::Given(id("2")), draft: draft(1, "a") }).unwrap();
    for (name, local) in [("LAB", "1"), ("PAS", "2")] {
        let error = node.remove(name, local).unwrap_err();
        assert!(matches!(error, WriteError::NotOfSource { .. }), "{error}");
    }
    assert!(matches!(node.remove("PAS", "3"), Err(WriteError::NotFound(_))));
    assert_eq!(node.held(), 2);
    node.remove("PAS", "1").unwrap();
    assert_eq!(node.held(), 1);
}

#[test]
fn a_rehearsal_writes_nothing_and_sees_the_lines_before_it() {
    let mut node = Node::new();
    node.put("PAS", "1", 1, "a").unwrap();
    let puts = vec![
        put_of("PAS", "2", 1, "a"),
        put_of("PAS", "2", 1, "a"),
        put_of("PAS", "2", 1, "b"),
        put_of("PAS", "1", 1, "b"),
        put_of("PAS", "2", 2, "b"),
        put_of("LAB", "1", 1, "a"),
    ];
    // Nobody evaluates: a rehearsal must not need it.
    let results = node.rehearse(puts);
    let effects: Vec<_> =
        results.iter().map(|result| result.as_ref().map(|it| it.effect)).collect();
    assert!(matches!(
        effects[..],
        [
            Ok(Effect::Created),
            Ok(Effect::Unchanged),
            Ok(Effect::Updated),
            Ok(Effect::Updated),
            Err(WriteError::SubjectChanged(_)),
            Err(WriteError::OtherSource { .. }),
        ]
    ));
    assert_eq!((node.ids("PAS"), node.held()), (vec!["ORG0-1".to_owned()], 1));
    let found = node.0.locate(0, patient(1)).unwrap().pointers;
    assert_eq!(found[0].pointer.version, 1);
    let many = vec![put_of("PAS", "2", 1, "a"); 101];
    assert!(node.rehearse(many).iter().all(|result| matches!(result, Err(WriteError::Busy(_)))));
}

#[test]
fn long_lists_come_in_pages_that_neither_repeat_nor_leave_out() {
    let mut node = Node::new();
    let count = IDS_PER_PAGE_MAX + 3;
    let names: Vec<_> = (0..count).map(|n| format!("{n:05}")).collect();
    for names in names.chunks(100) {
        let puts = names.iter().map(|name| Write::Put(put_of("PAS", name, 1, name)));
        assert!(node.0.write(0, puts.collect()).iter().all(Result::is_ok));
    }
    node.put("PAS.2", "other", 1, "a").unwrap();
    let first = node.page("PAS", None);
    assert_eq!(first.items.len(), IDS_PER_PAGE_MAX);
    let second = node.page("PAS", first.next);
    assert!(second.next.is_none());
    let ids: Vec<_> = first.items.iter().chain(&second.items).map(ToString::to_string).collect();
    let expected: Vec<_> = names.iter().map(|name| format!("ORG0-{name}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(node.exported(Some("PAS")), expected);
    assert_eq!(node.exported(None).len(), count + 1);
    assert_eq!(node.exported(Some("PAS.2")), ["ORG0-other"]);
    assert!(node.exported(Some("PA")).is_empty());
}
