//! Open files: the daemon takes all it may have, what it starts gets what the daemon was started with, and connections never take the last one.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

const SPEC: &str = "version: 1\nname: shop\nhandler: { command: [python3, server.py] }\n";

const HANDLER: &str = r#"
import os, resource
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"may open {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}".encode())

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// The daemon as a shell starts it that was told `ulimit` first; the folder holds the way to it.
fn limited(ulimit: &str) -> (tempfile::TempDir, DaemonOptions) {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("hookwright");
    std::fs::write(&path, format!("#!/bin/sh\nulimit {ulimit}\nexec {BINARY} \"$@\"\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("an executable script");
    (folder, DaemonOptions::new(path))
}

fn pushed(daemon: &Daemon) -> WorkingCopy {
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", SPEC).write("server.py", HANDLER).commit("Begin");
    copy.push(daemon, "shop");
    copy
}

/// The soft and the hard limit of the daemon, as the kernel says them.
fn limits_of(daemon: &Daemon) -> (String, String) {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).expect("its limits");
    let line = text.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let mut words = line.split_whitespace().skip(3).map(str::to_owned);
    (words.next().expect("soft"), words.next().expect("hard"))
}

#[tokio::test]
async fn the_daemon_may_open_as_many_files_as_the_system_lets_it_and_its_handlers_as_many_as_it_was_started_with() {
    let (_folder, options) = limited("-S -n 300");
    let daemon = Daemon::start_with(options).await;
    let (soft, hard) = limits_of(&daemon);
    assert_eq!(soft, hard);
    let _copy = pushed(&daemon);
    daemon.answers("shop", "development", "may open 300").await;
}

#[tokio::test]
async fn idle_connections_take_no_file_that_the_daemon_needs_and_are_not_waited_for_longer_than_a_head_may_take() {
    let (_folder, options) = limited("-n 300");
    let daemon = Daemon::start_with(options.variable("HOOKWRIGHT_GATEWAY_HEADER_TIMEOUT", "2s")).await;
    assert_eq!(limits_of(&daemon), ("300".to_owned(), "300".to_owned()));
    let place = daemon.address().trim_start_matches("http://").to_owned();
    let idle: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(&place).expect("a place in the queue")).collect();
    let _copy = pushed(&daemon);
    daemon.answers("shop", "development", "may open 300").await;
    let log = daemon.log();
    assert!(log.contains("86 connections are open, and others wait"), "{log}");
    assert!(!log.contains("cannot accept") && !log.contains("Too many open files"), "{log}");
    drop(idle);
}
