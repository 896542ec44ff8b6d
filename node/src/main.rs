//! The `signpost` program; see [`signpost_node::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    signpost_node::cli::main()
}
