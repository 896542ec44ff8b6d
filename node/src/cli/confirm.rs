//! Asking a person before something is done.

use std::io::{self, BufRead as _, Write as _};

use anyhow::Context as _;

use super::error::Hinted;

/// Bytes of an answer that are read: an ODS code has at most 12.
const ANSWER_BYTES_MAX: u64 = 256;

/// Asks on standard error, and reads a line from standard input: `y`, or the `code` where what is to
/// be done is grave.
///
/// # Errors
/// When the answer is anything else; `nothing_done` is what to say then.
pub(super) fn confirm(
    question: &str,
    code: Option<&str>,
    nothing_done: &str,
) -> anyhow::Result<()> {
    let question = match code {
        Some(code) => format!("{question} type {code}: "),
        None => format!("{question} [y/N] "),
    };
    let mut error = io::stderr().lock();
    let _ = write!(error, "{question}").and_then(|()| error.flush());
    drop(error);
    let mut answer = String::new();
    let mut input = io::Read::take(io::stdin().lock(), ANSWER_BYTES_MAX);
    input.read_line(&mut answer).context("cannot read the answer")?;
    if agrees(answer.trim(), code) {
        return Ok(());
    }
    let hint = match code {
        Some(_) => "type the code exactly as it is asked for; scripts use --yes",
        None => "answer y; scripts use --yes",
    };
    let (message, hint) = (format!("not confirmed: {nothing_done}"), hint.to_owned());
    Err(anyhow::Error::new(Hinted { message, hint }))
}

fn agrees(answer: &str, code: Option<&str>) -> bool {
    match code {
        Some(code) => answer == code,
        None => matches!(answer, "y" | "Y" | "yes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_agrees() {
        assert!(agrees("y", None) && agrees("yes", None));
        assert!(!agrees("", None) && !agrees("RX1", None));
        assert!(agrees("RX1", Some("RX1")));
        assert!(!agrees("rx1", Some("RX1")) && !agrees("y", Some("RX1")));
    }
}
