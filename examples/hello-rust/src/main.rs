//! A webhook with nothing but the standard library: it answers every request with a greeting and what it was sent.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, thread};

/// Bodies beyond this many bytes are answered with 413.
const BODY_LIMIT: usize = 1 << 20;

fn main() -> io::Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    println!("listening on port {port}");
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || {
            if let Err(error) = serve(connection) {
                eprintln!("connection ended: {error}");
            }
        });
    }
    Ok(())
}

fn serve(connection: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut request_line = String::new();
    if reader.read_line(&mut request_line)? == 0 {
        return Ok(());
    }
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
    }
    if length > BODY_LIMIT {
        return answer(&connection, "413 Content Too Large", "the body is larger than 1 MiB\n");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = request_line.split_whitespace().nth(1).unwrap_or("/");
    if path == "/readyz" {
        return answer(&connection, "200 OK", "ready\n");
    }
    println!("{}", request_line.trim_end());
    answer(&connection, "200 OK", &greeting(&String::from_utf8_lossy(&body)))
}

fn greeting(body: &str) -> String {
    let word = env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned());
    let place = env::var("HOOKWRIGHT_ENVIRONMENT").unwrap_or_else(|_| "nowhere".to_owned());
    let commit = env::var("HOOKWRIGHT_COMMIT").unwrap_or_default();
    let commit = commit.get(..7).unwrap_or("unknown");
    if body.is_empty() {
        format!("{word} from Rust in {place}, commit {commit}\n")
    } else {
        format!("{word} from Rust in {place}, commit {commit}: {body}\n")
    }
}

fn answer(mut connection: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_greeting_repeats_what_was_sent() {
        assert!(super::greeting("ping").ends_with(": ping\n"));
    }
}
