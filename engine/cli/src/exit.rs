//! Exit codes, which scripts rely on.

use std::process::ExitCode;

use http::StatusCode;

use crate::client::Refused;

/// What was asked about failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage, or an invalid spec.
pub(crate) const USAGE: u8 = 2;
/// The daemon cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;
/// Not allowed.
pub(crate) const FORBIDDEN: u8 = 4;

/// Prints an error and says which code it ends with.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    let code = match error.downcast_ref::<Refused>() {
        Some(Refused::Unreachable { .. }) => UNREACHABLE,
        Some(Refused::Answered { status, .. }) if matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => FORBIDDEN,
        Some(Refused::Answered { status, .. }) if matches!(*status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST) => USAGE,
        _ => FAILED,
    };
    ExitCode::from(code)
}
