//! The one integration-test binary: the real `hookwright` binary, the real git client, real handlers.

mod api;
mod architecture;
mod client;
mod clock;
mod crash;
mod e2e;
mod events;
mod faults;
mod gateway;
mod git;
mod handlers;
mod hostile_stages;
mod keeping;
mod local;
mod main_line;
mod openid;
mod own_source;
mod presets;
mod provider_signatures;
mod pull_requests;
mod registration;
mod registry;
mod replay;
mod runs;
mod security;
