//! What becomes of connections between requests, against sockets that do what handlers do.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Failure, Handlers};

async fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn request() -> Request<Body> {
    Request::get("/").header("host", "handler").body(Body::empty()).expect("a request")
}

/// Reads the head of a request without body; `false` when the connection has ended instead.
async fn head(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => return false,
        }
    }
    true
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("written");
}

async fn text(handlers: &Handlers, address: std::net::SocketAddr) -> Result<String, Failure> {
    let answer = handlers.send(address, request()).await?;
    let body = answer.into_body().collect().await.map_err(Failure::Exchange)?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

#[tokio::test]
async fn a_connection_is_used_again_whether_its_answer_came_at_once_or_in_parts() {
    let (listener, address) = listen().await;
    let handler = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        assert!(head(&mut stream).await);
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole").await;
        assert!(head(&mut stream).await);
        say(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nin \r\n").await;
        tokio::task::yield_now().await;
        say(&mut stream, "5\r\nparts\r\n0\r\n\r\n").await;
        assert!(head(&mut stream).await);
        say(&mut stream, "HTTP/1.1 204 No Content\r\n\r\n").await;
    });
    let handlers = Handlers::default();
    for expected in ["whole", "in parts", ""] {
        assert_eq!(text(&handlers, address).await.expect("an answer"), expected);
    }
    handler.await.expect("one connection carried all three");
}

#[tokio::test]
async fn a_connection_that_the_handler_closed_meanwhile_costs_no_request() {
    let (listener, address) = listen().await;
    let handler = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            assert!(head(&mut stream).await);
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").await;
        }
    });
    let handlers = Handlers::default();
    for _ in 0..2 {
        assert_eq!(text(&handlers, address).await.expect("an answer"), "here");
    }
    handler.await.expect("two connections");
}

#[tokio::test]
async fn a_request_that_a_handler_has_read_is_not_sent_again() {
    let (listener, address) = listen().await;
    let handler = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        assert!(head(&mut stream).await);
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").await;
        // The second one is read and not answered.
        assert!(head(&mut stream).await);
        drop(stream);
        listener
    });
    let handlers = Handlers::default();
    text(&handlers, address).await.expect("an answer");
    assert!(matches!(text(&handlers, address).await, Err(Failure::Exchange(_))));
    let listener = handler.await.expect("the handler ends");
    let again = tokio::time::timeout(std::time::Duration::from_millis(200), listener.accept()).await;
    assert!(again.is_err(), "nobody connects again");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_on_ends_its_connection() {
    let (listener, address) = listen().await;
    let handler = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        assert!(head(&mut stream).await);
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin").await;
        assert!(!head(&mut stream).await, "it is closed");
    });
    let answer = Handlers::default().send(address, request()).await.expect("an answer");
    drop(answer);
    handler.await.expect("the handler sees the end");
}

#[tokio::test]
async fn where_nobody_listens_is_told_apart_from_a_broken_exchange() {
    let (listener, address) = listen().await;
    drop(listener);
    assert!(matches!(text(&Handlers::default(), address).await, Err(Failure::Connect)));
}
