//! Pages of lists: at most so many, and where the next page begins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page's size when none is asked for.
const PAGE: u32 = 50;
/// The largest page.
const LARGEST: u32 = 500;
/// So many rows are read to fill a page for whoever sees few of them; then the page ends and its cursor goes on.
const SCAN: usize = 5_000;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// What is on it.
    pub(crate) items: Vec<T>,
    /// Give it as `cursor` for the next page; `null` on the last one.
    pub(crate) next_cursor: Option<String>,
}

/// How many items a page has, 1 to 500.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Limit(u32);

impl Default for Limit {
    fn default() -> Self {
        Self(PAGE)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(value: u32) -> std::result::Result<Self, String> {
        if (1..=LARGEST).contains(&value) { Ok(Self(value)) } else { Err(format!("a page has 1 to {LARGEST} items, not {value}")) }
    }
}

/// A page that is being filled: rows are read and added as long as it [asks](Self::more) for some.
pub(crate) struct Filling<T, C> {
    rows: Vec<T>,
    limit: usize,
    after: Option<C>,
    /// Rows read so far, and how many the next reading asks for.
    read: usize,
    asks: u32,
    opaque: bool,
    next: Option<C>,
    done: bool,
}

impl<T, C: Clone + ToString> Filling<T, C> {
    /// An empty page after `cursor`. With `opaque` cursors may name what the caller does not see: ids tell nothing. Names do, and then rows are
    /// read until the page is full or there are none left.
    pub(crate) fn new(cursor: Option<C>, limit: Option<Limit>, opaque: bool) -> Self {
        let Limit(limit) = limit.unwrap_or_default();
        // One more than the page holds: so it is known whether another page follows.
        Self { rows: Vec::new(), limit: limit as usize, after: cursor, read: 0, asks: limit + 1, opaque, next: None, done: false }
    }

    /// After which row, and how many, are to be read; `None` once the page is full or the list has ended.
    pub(crate) fn more(&self) -> Option<(Option<C>, u32)> {
        (!self.done).then(|| (self.after.clone(), self.asks))
    }

    /// Takes what was read, less what the caller does not see.
    pub(crate) fn add(&mut self, rows: Vec<T>, cursor_of: impl Fn(&T) -> C, sees: impl Fn(&T) -> bool) {
        self.done = rows.len() < self.asks as usize;
        self.read += rows.len();
        self.asks = LARGEST + 1;
        for row in rows {
            self.after = Some(cursor_of(&row));
            if !sees(&row) {
                continue;
            }
            if self.rows.len() == self.limit {
                self.next = self.rows.last().map(cursor_of);
                self.done = true;
                return;
            }
            self.rows.push(row);
        }
        if !self.done && self.opaque && self.read >= SCAN {
            self.next = self.after.clone();
            self.done = true;
        }
    }

    /// The rows, and the cursor of the next page.
    pub(crate) fn end(self) -> (Vec<T>, Option<String>) {
        (self.rows, self.next.map(|next| next.to_string()))
    }

    /// The page.
    pub(crate) fn page<V>(self, view: impl FnMut(T) -> V) -> Page<V> {
        let (rows, next_cursor) = self.end();
        Page { items: rows.into_iter().map(view).collect(), next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cursor: Option<u32>, limit: u32, opaque: bool, sees: fn(&u32) -> bool) -> (Vec<u32>, Option<String>) {
        let mut page = Filling::new(cursor, Some(Limit(limit)), opaque);
        while let Some((after, many)) = page.more() {
            let first = after.map_or(1, |after| after + 1);
            page.add((first..=20_000).take(many as usize).collect(), |number| *number, sees);
        }
        page.end()
    }

    #[test]
    fn pages_join_without_a_gap_and_the_last_one_says_so() {
        assert_eq!(page(None, 3, true, |_| true), (vec![1, 2, 3], Some("3".to_owned())));
        assert_eq!(page(Some(3), 3, true, |_| true), (vec![4, 5, 6], Some("6".to_owned())));
        assert_eq!(page(Some(19_997), 3, true, |_| true), (vec![19_998, 19_999, 20_000], None));
        assert_eq!(page(Some(20_000), 3, true, |_| true), (vec![], None));
    }

    #[test]
    fn a_page_is_filled_with_what_the_caller_sees_and_its_cursor_names_nothing_else() {
        assert_eq!(page(None, 2, false, |number| number % 9_000 == 0), (vec![9_000, 18_000], None));
        assert_eq!(page(None, 1, false, |number| number % 9_000 == 0), (vec![9_000], Some("9000".to_owned())));
    }

    #[test]
    fn looking_for_what_a_caller_sees_has_an_end() {
        let (items, next) = page(None, 2, true, |number| *number == 20_000);
        assert!(items.is_empty() && next.is_some(), "{items:?} {next:?}");
    }
}
