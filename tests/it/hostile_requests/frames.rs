//! Frames of HTTP/2 (RFC 9113) as an attacker writes them: one by one, in any order, with any content.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, Target};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GO_AWAY: u8 = 7;
pub(super) const WINDOW: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// The flags of `HEADERS` and `DATA`.
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// The flag of `SETTINGS` and `PING`.
pub(super) const ACKNOWLEDGED: u8 = 1;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A text of HPACK (RFC 7541), not packed.
fn text(text: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    if text.len() < 127 {
        written.push(u8::try_from(text.len()).expect("short"));
    } else {
        written.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            written.push(u8::try_from(rest % 128).expect("short") | 128);
            rest /= 128;
        }
        written.push(u8::try_from(rest).expect("short"));
    }
    written.extend(text);
    written
}

/// A field that nobody is to remember.
pub(super) fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

/// A field that the other side is to remember, as number 62 while no other one is.
pub(super) fn remembered(name: &[u8], value: &[u8]) -> Vec<u8> {
    [vec![0x40], text(name), text(value)].concat()
}

pub(super) fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    list.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect()
}

/// The fields of a good request.
pub(super) fn request(method: &str, path: &str) -> Vec<u8> {
    fields(&[(":method", method), (":scheme", "http"), (":authority", "shop.example"), (":path", path)])
}

/// A frame that came.
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// A connection that speaks HTTP/2.
pub(super) struct Frames {
    pub(super) stream: TcpStream,
}

impl Frames {
    pub(super) async fn open(target: &Target) -> Self {
        let mut stream = target.connect().await;
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("written");
        Self { stream }
    }

    /// Sends, unless the other side has had enough.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` when the connection has ended. Pings are answered, as a client that wants to stay does.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        let frame = tokio::time::timeout(PATIENCE, read).await.expect("a frame, or the end")?;
        if frame.kind == PING && frame.flags & ACKNOWLEDGED == 0 {
            self.send(&self::frame(PING, ACKNOWLEDGED, 0, &frame.payload)).await;
        }
        Some(frame)
    }

    /// Reads to the end of the connection.
    pub(super) async fn ends(&mut self) {
        while self.next().await.is_some() {}
    }

    /// What becomes of a stream: the first byte of its answer's head, or `None` if it was reset or the connection ended.
    pub(super) async fn answer(&mut self, stream: u32) -> Option<u8> {
        loop {
            let frame = self.next().await?;
            match frame.kind {
                HEADERS if frame.stream == stream => return frame.payload.first().copied(),
                RESET if frame.stream == stream => return None,
                GO_AWAY => return None,
                _ => {}
            }
        }
    }

    /// Waits until everything that was sent has been read over there.
    pub(super) async fn settled(&mut self) -> bool {
        if !self.send(&frame(PING, 0, 0, b"settled?")).await {
            return false;
        }
        loop {
            match self.next().await {
                None => return false,
                Some(frame) if frame.kind == PING && frame.flags & ACKNOWLEDGED != 0 => return true,
                Some(_) => {}
            }
        }
    }
}
