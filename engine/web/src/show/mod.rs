//! How values look on pages: states, times, logs, graphs, and text that strangers wrote.

mod ansi;
mod badge;
mod graph;
mod strip;
mod time;
mod visible;

pub(crate) use ansi::{LineShown, Painter};
pub(crate) use badge::Badge;
pub(crate) use graph::{Graph, Stage};
pub(crate) use strip::Drawing;
pub(crate) use time::{Moment, bytes, given_time, took};
pub(crate) use visible::{visible, visible_lines};
