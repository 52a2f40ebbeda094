//! A log on disk: one `time TAB stream TAB text` line each, compressed when its process is over. Cursors are offsets of the plain text.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hookwright_core::{LogChunk, LogCursor, LogLine, LogStream, Timestamp};

/// At most about this much is handed out at a time.
const CHUNK: u64 = 1024 * 1024;

fn guard(directory: &Path) -> io::Result<File> {
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

/// Compresses the log; it is plain or packed at any moment, never both half.
pub(crate) fn compress(directory: &Path) -> io::Result<()> {
    let _guard = guard(directory)?;
    let aside = directory.join("log.gz.new");
    let mut encoder = GzEncoder::new(File::create(&aside)?, Compression::fast());
    io::copy(&mut File::open(directory.join("log"))?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(aside, directory.join("log.gz"))?;
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
