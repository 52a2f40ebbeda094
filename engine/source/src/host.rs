//! Hosting: streams both directions of smart HTTP through `git http-backend`, run as CGI (RFC 3875).

use std::path::Path;
use std::process::Stdio;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use hookwright_core::port::{GitByteStream, GitHost, GitRequest, GitResponse};
use hookwright_core::{PortError, RepositoryName};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::sync::OwnedMutexGuard;

use crate::GitSource;
use crate::command::{git, output};

/// Bytes of an answer read at a time.
const CHUNK: usize = 64 << 10;

/// An answer's head longer than this is not git's.
const HEAD_LIMIT: u64 = 64 << 10;

#[async_trait]
impl GitHost for GitSource {
    async fn exists(&self, name: &RepositoryName) -> Result<bool, PortError> {
        Ok(self.hosted_folder(name).join("HEAD").is_file())
    }

    async fn create(&self, name: &RepositoryName) -> Result<(), PortError> {
        let folder = self.hosted_folder(name);
        let lock = self.lock(&folder);
        let _guard = lock.lock().await;
        if folder.join("HEAD").is_file() {
            return Ok(());
        }
        let mut command = git(&folder);
        command.args(["init", "--quiet", "--bare", "--initial-branch=main"]);
        output(command, &format!("create the repository `{name}`")).await?;
        for (key, value) in [("http.receivepack", "true"), ("receive.fsckObjects", "true"), ("receive.denyDeleteCurrent", "ignore")] {
            let mut command = git(&folder);
            command.args(["config", key, value]);
            output(command, "configure a repository").await?;
        }
        Ok(())
    }

    async fn serve(&self, request: GitRequest) -> Result<GitResponse, PortError> {
        let folder = self.hosted_folder(&request.repository);
        let pushes = request.service_path == "git-receive-pack";
        let guard = if pushes { Some(self.lock(&folder).lock_owned().await) } else { None };
        let mut child = backend(&folder, &request)?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(PortError::errored("git http-backend was started without pipes"));
        };
        let mut body = request.body;
        // Ends with the body or when git closes its side; then the pipe is closed, which git takes for the end.
        tokio::spawn(async move {
            while let Some(Ok(chunk)) = body.next().await {
                if input.write_all(&chunk).await.is_err() {
                    break;
                }
            }
        });
        let mut reader = BufReader::with_capacity(CHUNK, output);
        let (status, headers) = head(&mut reader).await?;
        Ok(GitResponse { status, headers, body: stream(reader, child, guard) })
    }

    async fn set_default_branch(&self, name: &RepositoryName, branch: &str) -> Result<(), PortError> {
        let mut command = git(&self.hosted_folder(name));
        command.args(["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]);
        output(command, "set the default branch").await.map(drop)
    }

    async fn remove(&self, name: &RepositoryName) -> Result<(), PortError> {
        let folder = self.hosted_folder(name);
        let lock = self.lock(&folder);
        let _guard = lock.lock().await;
        match tokio::fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(PortError::errored(format!("cannot remove the repository `{name}`")).because(error))
            }
            _ => Ok(()),
        }
    }
}

fn backend(folder: &Path, request: &GitRequest) -> Result<Child, PortError> {
    let mut command = git(folder);
    let parent = folder.parent().unwrap_or(folder);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", parent)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{name}/{}", request.service_path))
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env("REMOTE_USER", &request.user)
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let optional = [
        ("CONTENT_TYPE", &request.content_type),
        ("HTTP_CONTENT_ENCODING", &request.content_encoding),
        ("GIT_PROTOCOL", &request.git_protocol),
    ];
    for (variable, value) in optional {
        if let Some(value) = value {
            command.env(variable, value);
        }
    }
    command.spawn().map_err(|error| PortError::errored("git http-backend cannot be started; `hookwright doctor` says more").because(error))
}

/// Reads the CGI head: `Status:` and headers until an empty line.
async fn head(reader: &mut BufReader<ChildStdout>) -> Result<(u16, Vec<(String, String)>), PortError> {
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

/// The body; the child and the push lock live as long as it does, so that its end means that refs are final.
fn stream(reader: BufReader<ChildStdout>, child: Child, guard: Option<OwnedMutexGuard<()>>) -> GitByteStream {
    Box::pin(futures_util::stream::unfold(Some((reader, child, guard)), |state| async move {
        let (mut reader, mut child, guard) = state?;
        let mut buffer = vec![0; CHUNK];
        match reader.read(&mut buffer).await {
            Ok(0) => {
                // Its exit code says nothing that the protocol has not said; waiting makes the refs final.
                let _ = child.wait().await;
                None
            }
            Ok(read) => {
                buffer.truncate(read);
                Some((Ok(Bytes::from(buffer)), Some((reader, child, guard))))
            }
            Err(error) => Some((Err(error), None)),
        }
    }))
}
