//! The log of a job while it runs. Invariant: neither its limit nor a full disk ever ends or hangs the job.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hookwright_core::LogStream;

use crate::commands;
use crate::log_file;
use crate::supervised::now;

/// What a log says where lines are missing.
const GAP: &str = "lines are missing here: the disk was full";

pub(super) struct Log {
    directory: PathBuf,
    state: RefCell<State>,
    limit: u64,
    rolls: bool,
    full: Cell<bool>,
}

struct State {
    path: PathBuf,
    /// Made with the first line: many a job says nothing.
    file: Option<File>,
    size: u64,
    /// Lines were dropped since the last one that is in the file, which may be cut.
    gap: bool,
}

impl Log {
    pub(super) fn new(directory: &Path, limit: u64, rolls: bool) -> Self {
        let state = RefCell::new(State { path: directory.join("log"), file: None, size: 0, gap: false });
        Self { directory: directory.to_owned(), state, limit, rolls, full: Cell::new(false) }
    }

    /// Whether the limit is reached: nothing but remarks is written any more.
    pub(super) fn is_full(&self) -> bool {
        self.full.get()
    }

    pub(super) fn note(&self, text: &str) {
        self.state.borrow_mut().put(LogStream::Note, text);
    }

    /// Writes a line of the job; a mark in it becomes the remark which command begins. What a handler writes has no marks.
    pub(super) fn write(&self, stream: LogStream, text: &str) {
        if let Some((before, command)) = commands::unmarked(text).filter(|_| stream == LogStream::Out && !self.rolls) {
            if !before.is_empty() {
                self.write_line(stream, before);
            }
            return self.write_line(LogStream::Note, &format!("$ {command}"));
        }
        self.write_line(stream, text);
    }

    fn write_line(&self, stream: LogStream, text: &str) {
        let mut state = self.state.borrow_mut();
        if self.is_full() {
            return;
        }
        // Counted as it stands on the disk: a million empty lines are not nothing.
        let length = log_file::encode(now(), stream, text).len() as u64;
        if self.rolls && state.size + length > self.limit / 2 && self.roll(&mut state) {
            state.size = length;
            state.put(stream, text);
        } else if !self.rolls && state.size + length > self.limit {
            self.full.set(true);
            let note = format!("log limit of {} bytes reached; the rest is dropped", self.limit);
            state.put(LogStream::Note, &note);
        } else {
            state.size += length;
            state.put(stream, text);
        }
    }

    /// Puts the log aside, where it takes the place of what was put there before.
    fn roll(&self, state: &mut State) -> bool {
        match log_file::roll(&self.directory) {
            Ok(file) => state.file = Some(file),
            // The old file goes on; the next line tries again.
            Err(_) => return false,
        }
        true
    }

    /// Says at the end what could not be said before, in place of the last lines when the disk is still full.
    pub(super) fn close(&self) {
        let mut state = self.state.borrow_mut();
        if state.gap && !state.mend() {
            // Without a line to give up there is nothing to say it in.
            let _ = log_file::replace_end(&self.directory, &log_file::encode(now(), LogStream::Note, GAP));
        }
    }
}

impl State {
    /// Writes a line; what cannot be written is dropped, and the log says so once it can.
    fn put(&mut self, stream: LogStream, text: &str) {
        if self.gap && !self.mend() {
            return;
        }
        self.gap = self.write(&log_file::encode(now(), stream, text)).is_err();
    }

    /// Ends the line that was cut and remarks on the gap.
    fn mend(&mut self) -> bool {
        let remark = format!("\n{}", log_file::encode(now(), LogStream::Note, GAP));
        self.gap = self.write(&remark).is_err();
        !self.gap
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(OpenOptions::new().create(true).append(true).open(&self.path)?),
        };
        file.write_all(text.as_bytes())
    }
}
