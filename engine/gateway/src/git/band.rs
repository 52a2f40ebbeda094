//! Words of ours in git's answer to a push, which its client shows behind `remote:`.
//! Source: git's `Documentation/gitprotocol-common.txt` (pkt-line) and `gitprotocol-pack.txt` (packets of the side band).

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hookwright_core::port::GitByteStream;

/// Ends the answer. Nobody reads what follows it, so words of ours come before.
const FLUSH: &[u8] = b"0000";
/// The band of what is shown to people.
const PROGRESS: u8 = 2;
/// The place in the answer of the first packet's band. Without bands a text stands there.
const FIRST_BAND: usize = 4;
/// The longest line that is passed on, in characters.
const LINE: usize = 400;

/// How much of an answer has passed, and its last bytes, which are held back.
#[derive(Default)]
struct Passed {
    begin: Vec<u8>,
    held: Vec<u8>,
}

impl Passed {
    /// Takes more of the answer; returns what may go on.
    fn take(&mut self, chunk: &[u8]) -> Vec<u8> {
        let missing = (FIRST_BAND + 1).saturating_sub(self.begin.len());
        self.begin.extend(chunk.iter().take(missing));
        self.held.extend_from_slice(chunk);
        let ready = self.held.len().saturating_sub(FLUSH.len());
        self.held.drain(..ready).collect()
    }

    /// What is left at the end, behind `words` if the client hears them.
    fn end(self, words: &[String]) -> Vec<u8> {
        let in_bands = matches!(self.begin.get(FIRST_BAND), Some(1..=3));
        let mut end = Vec::new();
        if in_bands && self.held == FLUSH {
            words.iter().for_each(|line| end.extend(packet(line)));
        }
        end.extend(self.held);
        end
    }
}

/// The answer `body` with `words` at its end, which is not reached before they are there.
pub(super) fn with_words(body: GitByteStream, words: impl Future<Output = Vec<String>> + Send + 'static) -> GitByteStream {
    let begin = Some((body, Passed::default(), Box::pin(words)));
    Box::pin(stream::unfold(begin, |state| async move {
        let (mut body, mut passed, words) = state?;
        loop {
            return match body.next().await {
                Some(Ok(chunk)) => {
                    let ready = passed.take(&chunk);
                    if ready.is_empty() {
                        continue;
                    }
                    Some((Ok::<_, io::Error>(Bytes::from(ready)), Some((body, passed, words))))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => {
                    let words = words.await;
                    Some((Ok(Bytes::from(passed.end(&words))), None))
                }
            };
        }
    }))
}

/// A line in a packet, without what would move a terminal's cursor.
fn packet(line: &str) -> Vec<u8> {
    let text: String = line.chars().filter(|character| !character.is_control()).take(LINE).collect();
    let length = FLUSH.len() + 1 + text.len() + 1;
    let mut packet = format!("{length:04x}").into_bytes();
    packet.push(PROGRESS);
    packet.extend(text.as_bytes());
    packet.push(b'\n');
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(chunks: &[&'static [u8]], words: &[&str]) -> Vec<u8> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let parts: Vec<_> = with_words(Box::pin(stream::iter(chunks)), async move { words }).collect().await;
        parts.into_iter().flat_map(|part| part.expect("a part").to_vec()).collect()
    }

    #[tokio::test]
    async fn words_stand_before_the_end_and_only_where_they_are_heard() {
        let whole = b"0013\x01000eunpack ok\n0000";
        assert_eq!(answered(&[whole], &["a\x1b[2Jb"]).await, b"0013\x01000eunpack ok\n000b\x02a[2Jb\n0000");
        assert_eq!(answered(&[b"0013\x01000eunpack ok\n00", b"00"], &["a"]).await, b"0013\x01000eunpack ok\n0007\x02a\n0000");
        assert_eq!(answered(&[b"000eunpack ok\n0000"], &["a"]).await, b"000eunpack ok\n0000", "a client without bands");
        assert_eq!(answered(&[b"00", b"13\x01000eunpack"], &["a"]).await, b"0013\x01000eunpack", "an answer that was cut off");
        assert_eq!(answered(&[], &["a"]).await, b"");
    }
}
