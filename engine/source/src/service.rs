//! Streams both directions of smart HTTP through `git http-backend`, run as CGI (RFC 3875).
//! Invariant: a push belongs to a task of its own. It ends when git ends, never because nobody reads the answer, and it ends in
//! time: a client that stands still or takes too long is cut off.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hookwright_core::PortError;
use hookwright_core::port::{GitByteStream, GitRequest, GitResponse};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{OwnedRwLockReadGuard, mpsc, oneshot};
use tokio::time::timeout;

use crate::command::{Git, Running, drain, late};

/// Bytes of an answer read at a time.
const CHUNK: usize = 64 << 10;

/// Parts of an answer that wait for the client.
const PARTS: usize = 4;

/// An answer's head longer than this is not git's.
const HEAD_LIMIT: u64 = 64 << 10;

/// What one request is served with.
pub(crate) struct Service {
    pub(crate) folder: PathBuf,
    pub(crate) idle: Duration,
    pub(crate) longest: Duration,
    /// Keeps the repository there while it is pushed to.
    pub(crate) guard: Option<OwnedRwLockReadGuard<()>>,
}

type Head = (u16, Vec<(String, String)>);
type Part = Result<Bytes, std::io::Error>;

pub(crate) async fn serve(service: Service, request: GitRequest) -> Result<GitResponse, PortError> {
    let mut running = backend(&service, &request)?;
    let (Some(input), Some(output)) = (running.stdin(), running.stdout()) else {
        return Err(PortError::errored("git http-backend was started without pipes"));
    };
    let (head_sender, head) = oneshot::channel();
    let (parts_sender, parts) = mpsc::channel(PARTS);
    let (ended_sender, ended) = oneshot::channel::<()>();
    let pushes = service.guard.is_some();
    let idle = service.idle;
    tokio::spawn(async move {
        let feed = feed(request.body, input, idle);
        let answer = answer(BufReader::with_capacity(CHUNK, output), head_sender, Client { parts: parts_sender, idle, pushes });
        let both = async {
            let mut answer = std::pin::pin!(answer);
            // Git may answer before it has read everything; what it leaves unread nobody needs.
            tokio::select! {
                fed = feed => if fed { answer.await } else { false },
                whole = &mut answer => whole,
            }
        };
        // An end that git comes to by itself is waited for; otherwise dropping it ends it.
        if timeout(service.longest, both).await == Ok(true) {
            // Its exit code says nothing that the protocol has not said.
            let _ = timeout(idle, running.wait()).await;
        }
        running.stop().await;
        drop(service.guard);
        // Whoever does not care has dropped it.
        let _ = ended_sender.send(());
    });
    let (status, headers) = timeout(service.idle, head)
        .await
        .map_err(|_| late("serve git", service.idle))?
        .unwrap_or_else(|_| Err(PortError::errored("git http-backend gave no answer; `hookwright doctor` says more")))?;
    let body: GitByteStream = Box::pin(futures_util::stream::unfold(parts, |mut parts| async move { Some((parts.recv().await?, parts)) }));
    let ended = Box::pin(async {
        // Dropped without a word it has ended too.
        let _ = ended.await;
    });
    Ok(GitResponse { status, headers, body, ended })
}

fn backend(service: &Service, request: &GitRequest) -> Result<Running, PortError> {
    let folder = &service.folder;
    let parent = folder.parent().unwrap_or(folder);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut git = Git::at(folder)
        .args(["-c", "http.receivepack=true", "-c", "receive.denyDeleteCurrent=ignore", "-c", "receive.autogc=false"])
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", parent)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{name}/{}", request.service_path))
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env("REMOTE_USER", &request.user)
        .env("REMOTE_ADDR", "127.0.0.1");
    let optional = [
        ("CONTENT_TYPE", &request.content_type),
        ("HTTP_CONTENT_ENCODING", &request.content_encoding),
        ("GIT_PROTOCOL", &request.git_protocol),
    ];
    for (variable, value) in optional {
        if let Some(value) = value {
            git = git.env(variable, value);
        }
    }
    git.start("serve git", true)
}

/// Passes the request's body to git. `false` when the client stands still. At the body's end, and when the client is gone, the
/// pipe is closed, which git takes for the end.
async fn feed(mut body: GitByteStream, mut input: ChildStdin, idle: Duration) -> bool {
    loop {
        match timeout(idle, body.next()).await {
            Err(_) => return false,
            Ok(None | Some(Err(_))) => return true,
            Ok(Some(Ok(chunk))) => {
                if input.write_all(&chunk).await.is_err() {
                    return true;
                }
            }
        }
    }
}

/// Where the answer goes.
struct Client {
    parts: mpsc::Sender<Part>,
    idle: Duration,
    pushes: bool,
}

/// Passes git's answer on. `false` when git is to be ended: it is no answer, or nobody reads what was fetched.
async fn answer(mut reader: BufReader<ChildStdout>, head: oneshot::Sender<Result<Head, PortError>>, client: Client) -> bool {
    let read = read_head(&mut reader).await;
    let good = read.is_ok();
    if head.send(read).is_err() && !client.pushes || !good {
        return false;
    }
    loop {
        let mut buffer = vec![0; CHUNK];
        let part = match reader.read(&mut buffer).await {
            Ok(0) => return true,
            Ok(read) => {
                buffer.truncate(read);
                Ok(Bytes::from(buffer))
            }
            Err(error) => Err(error),
        };
        let failed = part.is_err();
        let taken = timeout(client.idle, client.parts.send(part)).await;
        if failed {
            return false;
        }
        if !matches!(taken, Ok(Ok(()))) {
            if !client.pushes {
                return false;
            }
            drop(client.parts);
            // Git must not wait for a reader.
            return drain(reader).await.is_ok();
        }
    }
}

/// Reads the CGI head: `Status:` and headers until an empty line.
async fn read_head(reader: &mut BufReader<ChildStdout>) -> Result<Head, PortError> {
    let mut status = 200;
    let mut headers = Vec::new();
    let mut limited = reader.take(HEAD_LIMIT);
    loop {
        let mut line = String::new();
        let read = limited.read_line(&mut line).await.map_err(|error| PortError::errored("git http-backend stopped").because(error))?;
        if read == 0 {
            return Err(PortError::errored("git http-backend gave no answer; `hookwright doctor` says more"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        if let Some((name, value)) = line.split_once(':') {
            let value = value.trim();
            if name.eq_ignore_ascii_case("status") {
                status = value.get(..3).and_then(|code| code.parse().ok()).unwrap_or(500);
            } else {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}
