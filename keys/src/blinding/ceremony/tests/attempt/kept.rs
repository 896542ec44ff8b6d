//! Messages on disk.

use proptest::prelude::*;

use super::*;

fn some(count: usize, length: usize) -> Vec<(EvaluatorIndex, Vec<u8>)> {
    (1..).take(count).map(|number| (index(number), vec![number as u8; length])).collect()
}

#[test]
fn the_form_is_pinned() {
    let messages = Messages {
        dealings: vec![(index(1), vec![10, 11]), (index(300), Vec::new())],
        enrolments: Vec::new(),
        shares: vec![(index(2), vec![0xff])],
        confirmations: vec![(index(3), vec![12])],
    };
    let bytes = messages.to_bytes().unwrap();
    assert_eq!(hex::encode(&bytes), "84828201420a0b8219012c408081820241ff818203410c");
    assert_eq!(Messages::from_bytes(&bytes).unwrap(), messages);
    assert_eq!(hex::encode(Messages::default().to_bytes().unwrap()), "8480808080");
}

#[test]
fn more_than_a_ceremony_has_is_refused() {
    let full = || some(32, 2_300);
    let most =
        Messages { dealings: full(), enrolments: full(), shares: full(), confirmations: full() };
    let bytes = most.to_bytes().unwrap();
    assert!(bytes.len() < 300_000);
    assert_eq!(Messages::from_bytes(&bytes).unwrap(), most);
    for kind in KINDS {
        for (count, length) in [(33, 1), (1, 2_301)] {
            let mut more = Messages::default();
            *list(&mut more, kind) = some(count, length);
            assert_eq!(more.to_bytes(), None, "{kind}");
        }
    }
    // A list of 33, and a message of 2,301 bytes, as nothing here writes them.
    let entry = [&[0x82, 1, 0x40][..]; 33].concat();
    let long = [&[0x81, 0x82, 1, 0x59, 0x08, 0xfd][..], &[0; 2_301]].concat();
    for list in [[&[0x98, 33], &entry[..]].concat(), long] {
        let bytes = [&[0x84][..], &list, &[0x80; 3]].concat();
        assert!(Messages::from_bytes(&bytes).is_err());
    }
}

#[test]
fn only_the_whole_form_is_read() {
    let task = generation(1, 2, 3);
    let all = gathered(&generating(&task, 60));
    let bytes = all.to_bytes().unwrap();
    assert_eq!(Messages::from_bytes(&bytes).unwrap(), all);
    for length in 0..bytes.len() {
        assert!(Messages::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(Messages::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    // Index 0.
    assert!(Messages::from_bytes(&hex::decode("8481820040808080").unwrap()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_as_their_own_form_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..40), head: bool,
    ) {
        let bytes = if head { [&[0x84][..], &bytes].concat() } else { bytes };
        if let Ok(messages) = Messages::from_bytes(&bytes) {
            prop_assert_eq!(messages.to_bytes(), Some(bytes));
        }
    }
}
