//! A small file whose room on the disk is taken before the job starts, so that a disk that the job fills cannot keep it from being written.
//!
//! Nothing here waits for the disk: a crash of the machine ends the processes that these files are about, and what they say counts once the
//! daemon has it in its database.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// More than any of these files holds.
const ROOM: usize = 1024;
/// How long between two tries.
const PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Slot {
    aside: PathBuf,
    target: PathBuf,
}

impl Slot {
    /// Takes the room.
    pub(super) fn reserve(directory: &Path, name: &str) -> io::Result<Self> {
        let slot = Self { aside: directory.join(format!("{name}.new")), target: directory.join(name) };
        let mut file = File::create(&slot.aside)?;
        // The kernel sets the room aside when it takes the bytes, long before it writes them.
        file.write_all(&[b' '; ROOM])?;
        Ok(slot)
    }

    /// Puts JSON into the room and makes the file appear under its name; tried for `patience`, as somebody may mend what is in the way. The room
    /// beyond it stays blank, which JSON allows.
    pub(super) fn fill(&self, json: &[u8], patience: Duration) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match self.try_fill(json) {
                Err(_) if begun.elapsed() < patience => thread::sleep(PAUSE),
                other => return other,
            }
        }
    }

    fn try_fill(&self, json: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.aside)?;
        file.write_all(json)?;
        fs::rename(&self.aside, &self.target)
    }
}
