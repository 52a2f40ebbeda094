//! Exit codes, which scripts rely on.

use std::process::ExitCode;

use http::StatusCode;

use crate::client::Refused;
use crate::output::warn_of;

/// What was asked about failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage, or an invalid spec.
pub(crate) const USAGE: u8 = 2;
/// The daemon cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;
/// Not allowed.
pub(crate) const FORBIDDEN: u8 = 4;

/// Words that a command does not take, with those that it does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misused(pub(crate) String);

/// Prints an error and says which code it ends with.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    warn_of!("error: {error:#}");
    let code = match error.downcast_ref::<Refused>() {
        Some(Refused::Unreachable { .. }) => UNREACHABLE,
        Some(Refused::Answered { status, .. }) if matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => FORBIDDEN,
        Some(Refused::Answered { status, .. }) if matches!(*status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST) => USAGE,
        _ if error.is::<Misused>() => USAGE,
        _ => FAILED,
    };
    ExitCode::from(code)
}
