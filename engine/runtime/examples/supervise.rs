//! Stands in for the product's binary in this crate's tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookwright_runtime::supervisor::main(std::env::args().skip(2))
}
