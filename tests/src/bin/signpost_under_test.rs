//! The `signpost` program once more, built where Cargo tells the tests of this package its path.

use std::process::ExitCode;

fn main() -> ExitCode {
    signpost_node::cli::main()
}
