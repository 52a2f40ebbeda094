//! A clock that tests move under the real binary.

use std::path::PathBuf;

use crate::DaemonOptions;

/// A clock of the daemon's own that a test moves, through Debian's libfaketime; what counts up steadily stays as it is.
pub struct MovedClock {
    file: tempfile::NamedTempFile,
}

impl MovedClock {
    /// A clock that shows the true time.
    pub fn new() -> Self {
        let clock = Self { file: tempfile::NamedTempFile::new().expect("a file") };
        clock.jump("+0");
        clock
    }

    /// Moves the clock, `+3h` ahead or `-2h` behind the true time.
    pub fn jump(&self, offset: &str) {
        std::fs::write(self.file.path(), format!("{offset}\n")).expect("a written file");
    }

    /// A daemon that goes by this clock.
    pub fn options(&self, binary: impl Into<PathBuf>) -> DaemonOptions {
        let folders = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
        let library = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
        let library = library.expect("this test needs Debian's package `faketime`");
        DaemonOptions::new(binary)
            .variable("LD_PRELOAD", &library.to_string_lossy())
            .variable("FAKETIME_TIMESTAMP_FILE", &self.file.path().to_string_lossy())
            .variable("FAKETIME_NO_CACHE", "1")
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }
}

impl Default for MovedClock {
    fn default() -> Self {
        Self::new()
    }
}
