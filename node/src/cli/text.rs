//! Text for terminals.

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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn fingerprints_are_grouped() {
        assert_eq!(fingerprint("0123456789ab"), "0123 4567 89ab");
    }
}
