//! The file `state` of a supervised process: that it was started, who keeps it, how it ended and whether it is asked to end, one line each. Its lock says that
//! somebody starts the process or keeps it. It is one file, since making a file costs more than anything else that is done for a short job.
//!
//! Invariant: the room of every line is on the disk before the process starts, so that a disk that the process fills cannot keep a line from being written. A
//! line is written in place; what is read of one that is half there, or that a crash of the machine left blank, counts as missing.
//!
//! Nothing here waits for the disk: a crash of the machine ends the processes that these lines are about, and what they say counts once the
//! daemon has it in its database.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::supervisor::{Exit, Record};

/// Its name.
pub(crate) const FILE: &str = "state";
/// The room of a line with its end; more than any of them holds.
const ROOM: usize = 512;
const LINES: usize = 4;
/// How long between two tries to write a line.
const PAUSE: Duration = Duration::from_millis(250);

/// What there is a line for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Line {
    /// The mark that every process of it bears: it was started.
    Mark,
    /// Who keeps it and what was begun.
    Record,
    /// How it ended.
    Exit,
    /// How long it may take to end, in milliseconds, once it is asked to.
    Stop,
}

/// Opens the file of a folder to begin it, making it when it is missing.
pub(crate) fn create(folder: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(folder.join(FILE))
}

/// Opens the file of a folder to change it.
pub(crate) fn open(folder: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(folder.join(FILE))
}

/// Takes the room of all lines and writes down the mark, in one piece: it is all there, or nothing was started.
pub(crate) fn begin(mut file: &File, mark: &str) -> io::Result<()> {
    let mut text = Vec::with_capacity(LINES * ROOM);
    for line in [mark, "", "", ""] {
        text.extend(padded(line.as_bytes())?);
    }
    file.write_all_at(&text, 0)?;
    // It becomes the standard error of the supervisor: what that may say as a last word goes behind the lines.
    file.seek(SeekFrom::End(0)).map(drop)
}

/// Writes a line in its place; tried for `patience`, as somebody may mend what is in the way.
pub(crate) fn write(file: &File, line: Line, value: &impl Serialize, patience: Duration) -> io::Result<()> {
    let text = padded(&serde_json::to_vec(value)?)?;
    let begun = Instant::now();
    loop {
        match file.write_all_at(&text, offset(line)) {
            Err(_) if begun.elapsed() < patience => thread::sleep(PAUSE),
            other => return other,
        }
    }
}

fn offset(line: Line) -> u64 {
    (line as usize * ROOM) as u64
}

/// A line with blanks up to its end, which JSON allows.
fn padded(text: &[u8]) -> io::Result<Vec<u8>> {
    if text.len() >= ROOM || text.contains(&b'\n') {
        return Err(io::Error::other("the line has no room"));
    }
    let mut line = text.to_vec();
    line.resize(ROOM - 1, b' ');
    line.push(b'\n');
    Ok(line)
}

/// What the lines said at a moment.
#[derive(Debug)]
pub(crate) struct State(Vec<u8>);

impl State {
    /// Reads all lines.
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        let mut text = vec![0; LINES * ROOM];
        let mut length = 0;
        loop {
            match file.read_at(&mut text[length..], length as u64) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        text.truncate(length);
        Ok(Self(text))
    }

    /// Reads all lines of the file of a folder; `None` when there is no file.
    pub(crate) fn of(folder: &Path) -> io::Result<Option<Self>> {
        match File::open(folder.join(FILE)) {
            Ok(file) => Self::read(&file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn line(&self, line: Line) -> &[u8] {
        let whole = self.0.chunks(ROOM).nth(line as usize).and_then(|whole| whole.strip_suffix(b"\n")).unwrap_or_default();
        whole.trim_ascii_end()
    }

    fn parsed<T: DeserializeOwned>(&self, line: Line) -> Option<T> {
        serde_json::from_slice(self.line(line)).ok()
    }

    /// The mark of its processes; `None` when it was not started.
    pub(crate) fn mark(&self) -> Option<&str> {
        std::str::from_utf8(self.line(Line::Mark)).ok().filter(|mark| !mark.is_empty())
    }

    /// Who runs.
    pub(crate) fn record(&self) -> Option<Record> {
        self.parsed(Line::Record)
    }

    /// How it ended.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.parsed(Line::Exit)
    }

    /// How long it may take to end, once it is asked to.
    pub(crate) fn grace(&self) -> Option<Duration> {
        self.parsed(Line::Stop).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Outcome;
    use hookwright_core::Timestamp;

    #[test]
    fn what_is_not_all_there_counts_as_missing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(State::of(folder.path()).expect("a look").is_none());
        let file = create(folder.path()).expect("a file");
        let state = || State::of(folder.path()).expect("a look").expect("a file");
        assert_eq!(state().mark(), None, "one that was killed before it wrote has started nothing");
        begin(&file, "mark").expect("it begins");
        assert_eq!(state().mark(), Some("mark"));
        assert!(state().exit().is_none() && state().record().is_none() && state().grace().is_none());

        let exit = Exit { outcome: Outcome::Exited(3), at: Timestamp::from_millis(5) };
        write(&file, Line::Exit, &exit, Duration::ZERO).expect("it is written");
        assert_eq!(state().exit().map(|exit| exit.outcome), Some(Outcome::Exited(3)));
        assert_eq!(state().mark(), Some("mark"), "no line reaches into another one");
        file.write_all_at(b"      ", offset(Line::Exit) + 20).expect("it is written");
        assert!(state().exit().is_none(), "half a line");

        file.write_all_at(&[0; ROOM * LINES], 0).expect("it is written");
        assert_eq!(state().mark(), None, "what a crash of the machine leaves");
    }

    #[test]
    fn last_words_stand_behind_the_lines() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = create(folder.path()).expect("a file");
        begin(&file, "mark").expect("it begins");
        io::Write::write_all(&mut &file, b"panicked").expect("it is written");
        let state = State::read(&file).expect("a look");
        assert_eq!((state.mark(), state.grace()), (Some("mark"), None));
    }
}
