//! A log on disk: one `time TAB stream TAB text` line each, compressed when its process is over. Cursors are offsets of the plain text.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hookwright_core::{LogChunk, LogCursor, LogLine, LogStream, Timestamp};

/// At most about this much is handed out at a time.
const CHUNK: u64 = 1024 * 1024;
/// The last lines of a plain log are sought in so many of its last bytes.
const NEAR_THE_END: u64 = 256 * 1024;
/// What the smallest file takes on a disk, in bytes.
const BLOCK: u64 = 4096;

/// The folder itself is what is locked: a file for it would cost more than what it guards. Where folders cannot be locked, as over a network, there is one.
fn guard(directory: &Path) -> io::Result<File> {
    let folder = File::open(directory)?;
    if folder.lock().is_ok() {
        return Ok(folder);
    }
    let file = OpenOptions::new().create(true).append(true).open(directory.join("log.lock"))?;
    file.lock()?;
    Ok(file)
}

pub(crate) fn encode(at: Timestamp, stream: LogStream, text: &str) -> String {
    let letter = match stream {
        LogStream::Out => 'o',
        LogStream::Err => 'e',
        LogStream::Note => 'n',
    };
    format!("{}\t{letter}\t{}\n", at.as_millis(), text.replace('\n', " "))
}

fn decode(line: &str) -> Option<LogLine> {
    let mut parts = line.splitn(3, '\t');
    let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
    let stream = match parts.next()? {
        "o" => LogStream::Out,
        "e" => LogStream::Err,
        _ => LogStream::Note,
    };
    Some(LogLine { at, stream, text: parts.next()?.to_owned() })
}

/// Adds a line, also to a log that is compressed already (as a further gzip member).
pub(crate) fn append(directory: &Path, line: &str) -> io::Result<()> {
    let _guard = guard(directory)?;
    let packed = directory.join("log.gz");
    if packed.exists() {
        let mut encoder = GzEncoder::new(OpenOptions::new().append(true).open(packed)?, Compression::fast());
        encoder.write_all(line.as_bytes())?;
        encoder.finish()?;
        return Ok(());
    }
    OpenOptions::new().create(true).append(true).open(directory.join("log"))?.write_all(line.as_bytes())
}

/// Puts the log aside as the older half of two, and begins a new one.
pub(crate) fn roll(directory: &Path) -> io::Result<File> {
    let _guard = guard(directory)?;
    fs::rename(directory.join("log"), directory.join("log.old"))?;
    OpenOptions::new().create(true).append(true).open(directory.join("log"))
}

/// Lines from `since` on, the older half included, about [`CHUNK`] of them; and whether there are more. Lines of one millisecond are not parted.
pub(crate) fn read_since(directory: &Path, since: Timestamp) -> io::Result<(Vec<LogLine>, bool)> {
    let open = |name: &str| match File::open(directory.join(name)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let mut sources: Vec<Box<dyn BufRead>> = Vec::new();
    sources.extend(open("log.old")?.map(|file| Box::new(BufReader::new(file)) as _));
    match open("log.gz")? {
        Some(file) => sources.push(Box::new(BufReader::new(MultiGzDecoder::new(file)))),
        None => sources.extend(open("log")?.map(|file| Box::new(BufReader::new(file)) as _)),
    }
    let (mut lines, mut size) = (Vec::<LogLine>::new(), 0);
    for mut source in sources {
        let mut text = Vec::new();
        loop {
            text.clear();
            source.read_until(b'\n', &mut text)?;
            let Some(whole) = text.strip_suffix(b"\n") else { break };
            let Some(line) = decode(&String::from_utf8_lossy(whole)).filter(|line| line.at >= since) else { continue };
            if size >= CHUNK && lines.last().is_some_and(|last| last.at != line.at) {
                return Ok((lines, true));
            }
            size += text.len() as u64;
            lines.push(line);
        }
    }
    Ok((lines, false))
}

/// Puts a line in the place of the last ones without needing room on the disk. Fails when the log is shorter than the line.
pub(crate) fn replace_end(directory: &Path, line: &str) -> io::Result<()> {
    let _guard = guard(directory)?;
    let mut file = OpenOptions::new().read(true).write(true).open(directory.join("log"))?;
    let (length, needed) = (file.metadata()?.len(), line.len() as u64);
    let from = length.saturating_sub(needed + 64 * 1024);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    // The last beginning of a line after which there is room enough.
    let room =
        (0..tail.len()).rev().find(|at| (tail.len() - at) as u64 >= needed && (*at == 0 && from == 0 || *at > 0 && tail[at - 1] == b'\n'));
    let at = from + room.ok_or_else(|| io::Error::other("the log is too short"))? as u64;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(line.as_bytes())?;
    file.set_len(at + needed)
}

/// The last lines that its process wrote, oldest first. Of a plain log only what is near its end is read.
pub(crate) fn last_lines(directory: &Path, lines: usize) -> io::Result<Vec<LogLine>> {
    let missing_is_empty = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) };
    let packed: Option<Box<dyn BufRead>> = match File::open(directory.join("log.gz")) {
        Ok(file) => Some(Box::new(BufReader::new(MultiGzDecoder::new(file)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut reader = match packed {
        Some(packed) => packed,
        None => match File::open(directory.join("log")) {
            Ok(mut file) => {
                let from = file.metadata()?.len().saturating_sub(NEAR_THE_END);
                file.seek(SeekFrom::Start(from))?;
                let mut reader = BufReader::new(file);
                if from > 0 {
                    // The rest of a line whose beginning was not read.
                    reader.skip_until(b'\n')?;
                }
                Box::new(reader)
            }
            Err(error) => return missing_is_empty(error),
        },
    };
    let mut last = VecDeque::with_capacity(lines + 1);
    let mut text = Vec::new();
    loop {
        text.clear();
        reader.read_until(b'\n', &mut text)?;
        let Some(whole) = text.strip_suffix(b"\n") else { return Ok(last.into()) };
        last.extend(decode(&String::from_utf8_lossy(whole)));
        if last.len() > lines {
            last.pop_front();
        }
    }
}

/// Compresses the log; it is plain or packed at any moment, never both half. A log that fits into one block of the disk stays as it is.
pub(crate) fn compress(directory: &Path) -> io::Result<()> {
    let _guard = guard(directory)?;
    if fs::metadata(directory.join("log"))?.len() <= BLOCK {
        return Ok(());
    }
    let aside = directory.join("log.gz.new");
    let pack = || -> io::Result<()> {
        let mut encoder = GzEncoder::new(File::create(&aside)?, Compression::fast());
        io::copy(&mut File::open(directory.join("log"))?, &mut encoder)?;
        encoder.finish()?.sync_all()?;
        fs::rename(&aside, directory.join("log.gz"))
    };
    if let Err(error) = pack() {
        // Half a packed log only takes room on a full disk.
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    fs::remove_file(directory.join("log"))
}

/// Reads on from `from`.
pub(crate) fn read(directory: &Path, from: LogCursor, ended: bool) -> io::Result<LogChunk> {
    let source: Box<dyn Read> = match File::open(directory.join("log.gz")) {
        Ok(file) => Box::new(MultiGzDecoder::new(file)),
        Err(_) => match File::open(directory.join("log")) {
            Ok(file) => Box::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LogChunk { lines: vec![], next: from, complete: ended }),
            Err(error) => return Err(error),
        },
    };
    let mut reader = BufReader::new(source);
    io::copy(&mut reader.by_ref().take(from.0), &mut io::sink())?;
    let mut chunk = LogChunk { lines: Vec::new(), next: from, complete: false };
    let mut line = Vec::new();
    while chunk.next.0 - from.0 < CHUNK {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            chunk.complete = ended;
            break;
        }
        chunk.next.0 += line.len() as u64;
        chunk.lines.extend(decode(String::from_utf8_lossy(&line).trim_end_matches('\n')));
    }
    Ok(chunk)
}
