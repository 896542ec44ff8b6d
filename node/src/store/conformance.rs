//! What every engine must do, tried against a plain map under random histories.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest},
};

use super::{BATCH_KEYS_MAX, Batch, MemoryStore, Row, SledStore, Store, Write};

const CACHE: u64 = 1024 * 1024;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Write>),
    Get(Vec<u8>),
    Scan(Vec<u8>, Option<Vec<u8>>, usize),
    /// Flush, close and open again.
    Reopen,
}

/// Few bytes from a small alphabet, so that keys collide and prefixes nest; 0xff has no successor.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(1), Just(0x61), Just(0xff)], 1..4)
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => (key(), vec(any::<u8>(), 0..20)).prop_map(|(key, value)| Write::Put { key, value }),
        1 => key().prop_map(|key| Write::Delete { key }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let prefix = || vec(prop_oneof![Just(0_u8), Just(1), Just(0x61), Just(0xff)], 0..3);
    let step = prop_oneof![
        4 => vec(write(), 0..12).prop_map(Step::Apply),
        1 => vec(write(), BATCH_KEYS_MAX).prop_map(Step::Apply),
        4 => key().prop_map(Step::Get),
        4 => (prefix(), proptest::option::of(key()), 0_usize..12)
            .prop_map(|(prefix, after, limit)| Step::Scan(prefix, after, limit)),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..40)
}

fn batch(writes: &[Write]) -> Batch {
    let mut batch = Batch::new();
    for write in writes {
        match write {
            Write::Put { key, value } => batch.put(key.clone(), value.clone()).unwrap(),
            Write::Delete { key } => batch.delete(key.clone()).unwrap(),
        }
    }
    batch
}

fn scan_model(model: &Model, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Row> {
    let rows = model.iter().filter(|(key, _)| key.starts_with(prefix));
    let rows = rows.filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
    rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn check<S: Store>(store: S, reopen: impl Fn(S) -> S, steps: &[Step]) {
    let (mut store, mut model) = (store, Model::new());
    for step in steps {
        match step {
            Step::Apply(writes) => {
                store.apply(&batch(writes)).unwrap();
                for write in writes {
                    match write {
                        Write::Put { key, value } => model.insert(key.clone(), value.clone()),
                        Write::Delete { key } => model.remove(key),
                    };
                }
            }
            Step::Get(key) => assert_eq!(store.get(key).unwrap().as_ref(), model.get(key)),
            Step::Scan(prefix, after, limit) => assert_eq!(
                store.scan(prefix, after.as_deref(), *limit).unwrap(),
                scan_model(&model, prefix, after.as_deref(), *limit),
            ),
            Step::Reopen => {
                store.flush().unwrap();
                store = reopen(store);
            }
        }
    }
    let all = scan_model(&model, &[], None, usize::MAX);
    assert_eq!(store.scan(&[], None, usize::MAX).unwrap(), all);
    assert_eq!(scan_in_pages(&store), all);
}

fn scan_in_pages(store: &dyn Store) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map(|(key, _)| key.clone());
        let page = store.scan(&[], after.as_deref(), 3).unwrap();
        let end = page.len() < 3;
        rows.extend(page);
        if end {
            return rows;
        }
    }
}

proptest! {
    #[test]
    fn memory_behaves_as_a_map(steps in steps()) {
        let reopen = |store: MemoryStore| {
            store.crash();
            store
        };
        check(MemoryStore::new(), reopen, &steps);
    }
}

proptest! {
    // Each case creates a store on disk and opens it several times.
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn sled_behaves_as_a_map(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let open = || SledStore::open(directory.path(), CACHE).unwrap();
        let reopen = |store: SledStore| {
            drop(store);
            open()
        };
        check(open(), reopen, &steps);
    }
}

/// A batch is never seen in part: two rows written together always agree.
fn batches_are_atomic(store: &dyn Store) {
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..500_u32 {
                let mut batch = Batch::new();
                batch.put(*b"pair/1", n.to_be_bytes()).unwrap();
                batch.put(*b"pair/2", n.to_be_bytes()).unwrap();
                store.apply(&batch).unwrap();
            }
        });
        while !writer.is_finished() {
            // Read in the order of writing: the later row can only be as new or newer.
            let first = store.get(b"pair/2").unwrap();
            let second = store.get(b"pair/1").unwrap();
            assert!(first <= second, "{first:?} was visible before {second:?}");
            let second = store.get(b"pair/1").unwrap();
            let first = store.get(b"pair/2").unwrap();
            assert!(second <= first, "{second:?} was visible before {first:?}");
        }
    });
}

#[test]
fn batches_are_seen_whole_in_memory() {
    batches_are_atomic(&MemoryStore::new());
}

#[test]
fn batches_are_seen_whole_in_sled() {
    let directory = tempfile::tempdir().unwrap();
    batches_are_atomic(&SledStore::open(directory.path(), CACHE).unwrap());
}
