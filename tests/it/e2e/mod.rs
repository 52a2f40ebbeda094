//! The status page in a real browser: Debian's chromium, driven by its chromedriver.

mod access;
mod browser;
mod due;
mod events;
mod journey;
mod live;
mod logs;
mod look;
mod openid;
mod people;
mod status;
mod webhook;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");
