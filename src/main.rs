//! The `hookwright` binary; everything it does is in `engine/cli`.

fn main() -> std::process::ExitCode {
    hookwright_cli::main()
}
