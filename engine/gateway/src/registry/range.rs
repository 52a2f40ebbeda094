//! The two kinds of ranges: of a blob that is read (RFC 9110, section 14), and of a chunk that is uploaded (the specification's own).

use hookwright_core::port::BlobRange;

/// What a `Range` header asks of something `size` bytes long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// All of it: there is no header, or one that need not be understood.
    All,
    /// A part.
    Part(BlobRange),
    /// A part that is not there.
    Unsatisfiable,
}

/// Reads a `Range` header. Of several ranges none is served: then all is sent, which a server may always do.
pub(crate) fn wish(header: Option<&str>, size: u64) -> Wish {
    let Some((first, last)) = header.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) else { return Wish::All };
    let part = |start: u64, end: u64| Wish::Part(BlobRange { start, length: end - start + 1 });
    match (number(first), number(last)) {
        (None, Some(0)) if first.is_empty() => Wish::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && size == 0 => Wish::Unsatisfiable,
        (None, Some(length)) if first.is_empty() => part(size.saturating_sub(length), size - 1),
        (Some(start), None) if last.is_empty() && start < size => part(start, size - 1),
        (Some(start), None) if last.is_empty() && start >= size => Wish::Unsatisfiable,
        (Some(start), Some(end)) if start > end => Wish::All,
        (Some(start), Some(_)) if start >= size => Wish::Unsatisfiable,
        (Some(start), Some(end)) => part(start, end.min(size - 1)),
        _ => Wish::All,
    }
}

/// Reads the `Content-Range` of a chunk, `first-last`, into where it begins and how long it is.
pub(crate) fn chunk(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (last >= first).then(|| Some((first, (last - first).checked_add(1)?)))?
}

/// Digits and nothing else: `parse` would take a `+`.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, length: u64) -> Wish {
        Wish::Part(BlobRange { start, length })
    }

    #[test]
    fn parts_are_read_as_the_rfc_says() {
        for (header, size, expected) in [
            ("bytes=0-4", 10, part(0, 5)),
            ("bytes=5-", 10, part(5, 5)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-30", 10, part(0, 10)),
            ("bytes=8-30", 10, part(8, 2)),
            ("bytes=9-18446744073709551615", 10, part(9, 1)),
            ("bytes=10-", 10, Wish::Unsatisfiable),
            ("bytes=10-12", 10, Wish::Unsatisfiable),
            ("bytes=-0", 10, Wish::Unsatisfiable),
            ("bytes=0-", 0, Wish::Unsatisfiable),
            ("bytes=-5", 0, Wish::Unsatisfiable),
            ("bytes=5-4", 10, Wish::All),
            ("bytes=0-1,3-4", 10, Wish::All),
            ("bytes=-", 10, Wish::All),
            ("bytes=+1-2", 10, Wish::All),
            ("bytes=99999999999999999999-", 10, Wish::All),
            ("lines=1-2", 10, Wish::All),
        ] {
            assert_eq!(wish(Some(header), size), expected, "{header} of {size}");
        }
        assert_eq!(wish(None, 10), Wish::All);
    }

    #[test]
    fn a_chunk_says_where_it_begins_and_how_long_it_is() {
        assert_eq!(chunk("0-4"), Some((0, 5)));
        assert_eq!(chunk("5-5"), Some((5, 1)));
        for text in ["", "5", "5-4", "-5", "a-b", "bytes 0-4/5", "0-18446744073709551615", "+1-2"] {
            assert_eq!(chunk(text), None, "{text}");
        }
    }
}
