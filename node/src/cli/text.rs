//! Text for terminals, and the two ways out.

use std::io::{self, Write};

/// What is told while a command waits for the lock of a node's keys.
pub(super) const KEYS_ARE_CHANGED: &str = "Another command is changing this node's keys, or waits for \
    an answer before it does: this one goes on when that has ended (Ctrl-C to give up).";

/// Prints a result to standard output, with a line end. A reader that has gone away (`| head`) is no
/// error: whatever else the command does goes on.
///
/// # Errors
/// When it cannot be written for any other reason, such as a full disk.
pub(super) fn print(text: &str) -> io::Result<()> {
    unless_gone(write_line(&mut io::stdout().lock(), text))
}

/// Tells the user something on standard error. When that is closed there is nobody to tell.
pub(super) fn tell(text: &str) {
    let _ = write_line(&mut io::stderr().lock(), text);
}

fn write_line(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush())
}

fn unless_gone(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

/// `text` without control characters: what other organizations wrote must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    // U+202A.. and U+2066.. reverse the direction in which the rest of the line is read.
    let harmful =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect()
}

/// Rows as aligned columns, the first row being the headings. The last column is not padded.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Hexadecimal digits in groups of four, as people compare them over the telephone.
pub(super) fn fingerprint(hex: &str) -> String {
    let digits: Vec<char> = hex.chars().collect();
    digits.chunks(4).map(String::from_iter).collect::<Vec<_>>().join(" ")
}

/// Words of a fingerprint. Eight of 11 bits each are 88 bits: whoever wants another organization's
/// key to sound like this one tries 2^88 of them.
const FINGERPRINT_WORDS: usize = 8;

/// A fingerprint as words of the English BIP-39 list, which people can read to each other over the
/// telephone: of the first 88 bits, 11 for each word, most significant first.
pub(super) fn fingerprint_words(bytes: &[u8; 32]) -> String {
    let list = bip39::Language::English.word_list();
    let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
    let word = |n: usize| list[(11 * n..11 * (n + 1)).fold(0, |word, at| word << 1 | bit(at))];
    (0..FINGERPRINT_WORDS).map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_error_but_a_full_disk_is() {
        let failed = |kind: io::ErrorKind| unless_gone(Err(kind.into()));
        assert!(failed(io::ErrorKind::BrokenPipe).is_ok());
        assert!(failed(io::ErrorKind::StorageFull).is_err());
        let mut out = Vec::new();
        write_line(&mut out, "x\n").unwrap();
        assert_eq!(out, b"x\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("Harrow\u{1b}[2J\nx"), "Harrow\u{fffd}[2J\u{fffd}x");
        assert_eq!(printable("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(printable("Ysbyty Gwynedd, Bangor – É"), "Ysbyty Gwynedd, Bangor – É");
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows =
            [["É", "1", "x"], ["long", "22", "y"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "É     1   x\nlong  22  y\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn fingerprints_are_words_of_88_bits() {
        // BIP-39 test vectors: entropy of zeros, ones, and 7f7f..
        assert_eq!(fingerprint_words(&[0; 32]), ["abandon"; 8].join(" "));
        assert_eq!(fingerprint_words(&[0xff; 32]), ["zoo"; 8].join(" "));
        let legal = "legal winner thank year wave sausage worth useful";
        assert_eq!(fingerprint_words(&[0x7f; 32]), legal);
        let mut bytes = [0x7f; 32];
        bytes[10] ^= 1;
        assert_ne!(fingerprint_words(&bytes), legal, "bit 88 counts");
    }

    #[test]
    fn fingerprints_are_grouped() {
        assert_eq!(fingerprint("0123456789ab"), "0123 4567 89ab");
    }
}
