//! Requests over time as a small drawing: a bar for each stretch, errors as its lower part in another colour and with a line, and all of it in words.

use hookwright_core::Timestamp;
use hookwright_store::{Strip, traffic_step};
use serde::Serialize;

/// The height of a drawing, in its own units.
const HEIGHT: u64 = 24;
/// The width of a bar with its gap.
const PITCH: u64 = 8;

/// A drawing of requests over time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Drawing {
    width: u64,
    height: u64,
    bars: Vec<Bar>,
    /// How many requests there were.
    requests: u64,
    /// How many of them went wrong.
    errors: u64,
    /// Over which time.
    over: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Bar {
    x: u64,
    width: u64,
    y: u64,
    height: u64,
    /// Where the part of errors begins, and how high it is; it stands at the bottom.
    error_y: u64,
    error_height: u64,
}

impl Drawing {
    /// Draws the stretches of `step_minutes` up to now, `steps` of them.
    pub(crate) fn new(strip: &Strip, now: Timestamp, (step_minutes, steps): (i64, i64), over: &'static str) -> Self {
        let last = traffic_step(now, step_minutes);
        let shown = (last - steps + 1)..=last;
        let most = strip.range(shown.clone()).map(|(_, (requests, _))| *requests).max().unwrap_or_default().max(1);
        let (mut requests, mut errors) = (0, 0);
        let mut bars = Vec::new();
        for (place, step) in shown.enumerate() {
            let Some((all, wrong)) = strip.get(&step) else { continue };
            requests += all;
            errors += wrong;
            // What there is, however little, is seen.
            let high = |count: u64| if count == 0 { 0 } else { (count * HEIGHT).div_ceil(most).max(2) };
            let (height, error_height) = (high(*all), high(*wrong).min(high(*all)));
            let x = PITCH * place as u64;
            bars.push(Bar { x, width: PITCH - 2, y: HEIGHT - height, height, error_y: HEIGHT - error_height, error_height });
        }
        Self { width: PITCH * u64::try_from(steps).unwrap_or_default(), height: HEIGHT, bars, requests, errors, over }
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self::new(&Strip::from([(0, (5, 1))]), Timestamp::from_millis(1), (5, 12), "in the last hour")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_fills_the_drawing_and_what_is_older_is_left_out() {
        let strip = Strip::from([(1, (900, 0)), (10, (1, 0)), (11, (40, 1)), (12, (80, 80))]);
        let now = Timestamp::from_millis(12 * 5 * 60_000);
        let drawing = Drawing::new(&strip, now, (5, 3), "in the last hour");
        assert_eq!((drawing.requests, drawing.errors, drawing.width), (121, 81, 24));
        let heights: Vec<_> = drawing.bars.iter().map(|bar| (bar.height, bar.error_height)).collect();
        assert_eq!(heights, [(2, 0), (12, 2), (24, 24)]);
    }
}
