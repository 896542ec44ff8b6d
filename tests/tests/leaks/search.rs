//! Finds a patient's number in bytes, in every form in which software writes numbers.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};

/// Forms of numbers, searched for all at once.
pub(crate) struct Search {
    needles: Vec<Needle>,
    /// Needles by their first two bytes.
    by_start: Vec<Vec<usize>>,
}

/// One number in one form.
pub(crate) struct Needle {
    pub(crate) number: String,
    pub(crate) form: String,
    pub(crate) bytes: Vec<u8>,
}

impl Search {
    pub(crate) fn for_numbers<'a>(numbers: impl IntoIterator<Item = &'a str>) -> Self {
        let needles: Vec<Needle> = numbers.into_iter().flat_map(forms).collect();
        let mut by_start = vec![Vec::new(); 1 << 16];
        for (at, needle) in needles.iter().enumerate() {
            by_start[start(&needle.bytes)].push(at);
        }
        Self { needles, by_start }
    }

    pub(crate) fn needles(&self) -> &[Needle] {
        &self.needles
    }

    /// The needles in `bytes`, as `(needle, where)`; the first few are enough.
    pub(crate) fn hits(&self, bytes: &[u8]) -> Vec<(&Needle, usize)> {
        let mut hits = Vec::new();
        for at in 0..bytes.len().saturating_sub(1) {
            for needle in &self.by_start[start(&bytes[at..])] {
                let needle = &self.needles[*needle];
                if bytes[at..].starts_with(&needle.bytes) {
                    hits.push((needle, at));
                }
            }
            if hits.len() >= 10 {
                break;
            }
        }
        hits
    }

    /// Fails when there is a hit in `bytes`, and shows what stands around it.
    pub(crate) fn assert_absent(&self, what: &str, bytes: &[u8]) {
        if let Some((needle, at)) = self.hits(bytes).first() {
            let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 100)];
            let around = String::from_utf8_lossy(around);
            panic!("{what} holds {} as {}: {around}", needle.number, needle.form);
        }
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

fn forms(number: &str) -> Vec<Needle> {
    let value: u64 = number.parse().unwrap();
    let grouped = |by: &str| [&number[..3], &number[3..6], &number[6..]].join(by).into_bytes();
    let hex = hex::encode(number);
    let units: Vec<u16> = number.encode_utf16().collect();
    let digits: Vec<u8> = number.bytes().map(|digit| digit - b'0').collect();
    let mut forms = vec![
        ("ASCII".to_owned(), number.as_bytes().to_vec()),
        ("spaced".to_owned(), grouped(" ")),
        ("hyphened".to_owned(), grouped("-")),
        ("plus signs".to_owned(), grouped("+")),
        ("percent-encoded spaces".to_owned(), grouped("%20")),
        ("u64 big-endian".to_owned(), value.to_be_bytes().to_vec()),
        ("u64 little-endian".to_owned(), value.to_le_bytes().to_vec()),
        ("hex of the integer".to_owned(), format!("{value:x}").into_bytes()),
        ("upper-case hex".to_owned(), hex.to_uppercase().into_bytes()),
        ("lower-case hex".to_owned(), hex.into_bytes()),
        ("UTF-16 big-endian".to_owned(), units.iter().flat_map(|u| u.to_be_bytes()).collect()),
        ("UTF-16 little-endian".to_owned(), units.iter().flat_map(|u| u.to_le_bytes()).collect()),
        ("packed BCD".to_owned(), digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()),
        ("unpacked BCD".to_owned(), digits),
    ];
    for before in 0..3 {
        for (name, engine) in [("standard", &STANDARD), ("URL-safe", &URL_SAFE)] {
            let text = engine.encode([&[0; 2][..before.min(2)], number.as_bytes()].concat());
            // Only the letters that no neighbouring byte has a part in.
            let letters = (before * 8).div_ceil(6)..(before + number.len()) * 8 / 6;
            forms.push((format!("{name} base64 at {before}"), text.as_bytes()[letters].to_vec()));
        }
    }
    forms
        .into_iter()
        .map(|(form, bytes)| Needle { number: number.to_owned(), form, bytes })
        .collect()
}

/// Whatever form a number is planted in, the search finds it, and it finds nothing else.
#[test]
fn a_planted_number_is_found_in_every_form() {
    let (planted, other) = ("9991234560", "9997654321");
    let search = Search::for_numbers([planted, other]);
    for needle in search.needles().iter().filter(|needle| needle.number == planted) {
        for (before, after) in [(0, 0), (1, 7), (500, 500)] {
            let buffer = [vec![0xa5; before], needle.bytes.clone(), vec![0x5a; after]].concat();
            let hits = search.hits(&buffer);
            let found = hits.iter().any(|(hit, at)| hit.form == needle.form && *at == before);
            assert!(found, "{} is not found", needle.form);
            assert!(hits.iter().all(|(hit, _)| hit.number == planted));
        }
    }
    for before in 0..3 {
        let text = STANDARD.encode([&b"ab"[..before], planted.as_bytes(), b"xyz"].concat());
        assert!(!search.hits(text.as_bytes()).is_empty(), "base64 after {before} bytes");
    }
    assert!(search.hits(b"9991234561 999 123 456 999123456").is_empty());
}
