//! What the figures were measured on; without it they cannot be compared.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::figure::Bench;
use crate::sample::{Spread, millis};

/// A program on the search path, or where daemons are installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// What the machine is and how busy it is just now.
pub(crate) fn describe(bench: &Bench) -> BTreeMap<&'static str, String> {
    let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().to_owned();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| Some(line.strip_prefix("model name")?.trim_start_matches([' ', '\t', ':']).to_owned()));
    let scratch = std::env::temp_dir();
    let mut machine = BTreeMap::from([
        ("binary", bench.binary.display().to_string()),
        ("cores", format!("{cores} ({})", model.unwrap_or_default())),
        ("kernel", line("/proc/sys/kernel/osrelease")),
        ("load", format!("{} when begun; the targets are for an idle machine", line("/proc/loadavg"))),
        ("scratch", format!("{} on {}", scratch.display(), filesystem(&scratch))),
    ]);
    if let Ok(spread) = sync(&scratch) {
        let text = format!("fdatasync of 4 KiB: median {:.2} ms, p99 {:.2} ms", spread.median, spread.p99);
        machine.insert("disk", text);
    }
    if bench.quick {
        machine.insert("quick", "a tenth of everything: not to be quoted".to_owned());
    }
    machine
}

fn filesystem(folder: &Path) -> String {
    let output = Command::new("stat").args(["--file-system", "--format=%T"]).arg(folder).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// What making something durable costs here, in milliseconds: the floor below every commit.
pub(crate) fn sync(folder: &Path) -> std::io::Result<Spread> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut samples = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        samples.push(millis(began.elapsed()));
    }
    Ok(Spread::of(samples))
}
