//! Replays the fuzzing corpus: whatever a fuzzer ever found stays found.

use std::{fs, path::PathBuf};

use signpost_protocol::fuzz::ENTRIES;

#[test]
fn the_corpus_replays() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, entry) in ENTRIES {
        let mut inputs = Vec::new();
        for file in fs::read_dir(corpus.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")) {
            inputs.push(fs::read(file.expect("a file").path()).expect("readable"));
        }
        assert!(inputs.len() > 3, "the corpus of {name} has {} inputs", inputs.len());
        for (at, input) in inputs.iter().enumerate() {
            entry(input);
            // Neighbours cost little: every prefix, and the join with the next input.
            for end in (0..input.len()).step_by(input.len().div_ceil(256).max(1)) {
                entry(&input[..end]);
            }
            let next = &inputs[(at + 1) % inputs.len()];
            entry(&[&input[..input.len() / 2], &next[next.len() / 2..]].concat());
        }
    }
    let folders = fs::read_dir(&corpus).expect("a folder").count();
    assert_eq!(folders, ENTRIES.len(), "a corpus without its entry point is never replayed");
}
