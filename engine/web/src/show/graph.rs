//! A run's stages as a drawing: columns by how many stages come before, rows so that lines cross little. Laid out here, so that it is
//! there without any script. Invariant: the same stages always give the same drawing, whatever their states.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Badge;

const WIDTH: u32 = 188;
const HEIGHT: u32 = 52;
const GAP_ACROSS: u32 = 56;
const GAP_DOWN: u32 = 16;
const MARGIN: u32 = 8;
/// How often rows are ordered by their neighbours, to and fro.
const SWEEPS: usize = 4;
/// So much of a name fits into a box.
const NAME: usize = 19;

/// A stage to draw.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) name: String,
    /// The stages it needs, by name; unknown ones are left out.
    pub(crate) needs: Vec<String>,
    pub(crate) badge: Badge,
    /// How long it took, or what else is worth a few words.
    pub(crate) note: String,
    pub(crate) url: String,
    /// Whether the run's length hangs on it.
    pub(crate) critical: bool,
}

/// A drawing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Graph {
    width: u32,
    height: u32,
    boxes: Vec<Box>,
    lines: Vec<Line>,
}

#[derive(Clone, Debug, Serialize)]
struct Box {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    name: String,
    /// The name as it fits.
    label: String,
    badge: Badge,
    note: String,
    url: String,
    critical: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    /// The path of an SVG.
    path: String,
    /// Whether both its ends are critical.
    critical: bool,
}

impl Graph {
    /// Draws stages, each of which comes after everything that it needs.
    pub(crate) fn draw(stages: Vec<Stage>) -> Self {
        let index: BTreeMap<&str, usize> = stages.iter().enumerate().map(|(at, stage)| (stage.name.as_str(), at)).collect();
        let needs: Vec<Vec<usize>> = stages
            .iter()
            .enumerate()
            .map(|(at, stage)| stage.needs.iter().filter_map(|need| index.get(need.as_str()).copied()).filter(|need| *need < at).collect())
            .collect();
        let mut column = vec![0_usize; stages.len()];
        for at in 0..stages.len() {
            column[at] = needs[at].iter().map(|need| column[*need] + 1).max().unwrap_or(0);
        }
        let places = order(&column, &needs);
        let tallest = places.iter().map(Vec::len).max().unwrap_or(0);
        let mut corner = vec![(0_u32, 0_u32); stages.len()];
        for (across, places) in places.iter().enumerate() {
            // Short columns stand in the middle of tall ones.
            let offset = (as_u32(tallest) * (HEIGHT + GAP_DOWN) - as_u32(places.len()) * (HEIGHT + GAP_DOWN)) / 2;
            for (down, at) in places.iter().enumerate() {
                let x = MARGIN + as_u32(across) * (WIDTH + GAP_ACROSS);
                corner[*at] = (x, MARGIN + offset + as_u32(down) * (HEIGHT + GAP_DOWN));
            }
        }
        let mut lines = Vec::new();
        for (at, needed) in needs.iter().enumerate() {
            for need in needed {
                lines.push(line(corner[*need], corner[at], stages[at].critical && stages[*need].critical));
            }
        }
        // Critical lines are drawn last, over the others.
        lines.sort_by_key(|line| line.critical);
        let boxes = stages.into_iter().zip(corner).map(|(stage, (x, y))| boxed(stage, x, y)).collect();
        let columns = as_u32(places.len().max(1));
        Self {
            width: 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP_ACROSS,
            height: 2 * MARGIN + as_u32(tallest.max(1)) * (HEIGHT + GAP_DOWN) - GAP_DOWN,
            boxes,
            lines,
        }
    }
}

fn as_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn boxed(stage: Stage, x: u32, y: u32) -> Box {
    let Stage { name, badge, note, url, critical, .. } = stage;
    let mut label: String = name.chars().take(NAME).collect();
    if label.len() < name.len() {
        label.pop();
        label.push('…');
    }
    Box { x, y, width: WIDTH, height: HEIGHT, name, label, badge, note, url, critical }
}

fn line((left, top): (u32, u32), (right, bottom): (u32, u32), critical: bool) -> Line {
    let (x1, y1, x2, y2) = (left + WIDTH, top + HEIGHT / 2, right, bottom + HEIGHT / 2);
    // The bend lies right before the target, so that a line over several columns stays straight between them.
    let bend = GAP_ACROSS / 2;
    let path = if y1 == y2 {
        format!("M{x1} {y1}H{x2}")
    } else {
        format!("M{x1} {y1}C{} {y1} {} {y2} {} {y2}H{x2}", x1 + bend, x1 + bend, x1 + GAP_ACROSS)
    };
    Line { path, critical }
}

/// The stages of each column from top to bottom: each near the middle of its neighbours.
fn order(column: &[usize], needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let columns = column.iter().max().map_or(0, |last| last + 1);
    let mut places: Vec<Vec<usize>> = vec![Vec::new(); columns];
    for (at, across) in column.iter().enumerate() {
        places[*across].push(at);
    }
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); column.len()];
    for (at, needed) in needs.iter().enumerate() {
        for need in needed {
            needed_by[*need].push(at);
        }
    }
    let mut rank = vec![0.0_f64; column.len()];
    let settle = |places: &mut Vec<usize>, neighbours: &[Vec<usize>], rank: &mut Vec<f64>| {
        let middle = |at: usize, rank: &[f64]| {
            let around = &neighbours[at];
            if around.is_empty() { rank[at] } else { around.iter().map(|near| rank[*near]).sum::<f64>() / f64::from(as_u32(around.len())) }
        };
        let mut wanted: Vec<(f64, usize)> = places.iter().map(|at| (middle(*at, rank), *at)).collect();
        wanted.sort_by(|one, other| one.0.total_cmp(&other.0));
        *places = wanted.into_iter().map(|(_, at)| at).collect();
        let half = f64::from(as_u32(places.len())) / 2.0;
        for (down, at) in places.iter().enumerate() {
            rank[*at] = f64::from(as_u32(down)) - half;
        }
    };
    for _ in 0..SWEEPS {
        for places in &mut places {
            settle(places, needs, &mut rank);
        }
        for places in places.iter_mut().rev() {
            settle(places, &needed_by, &mut rank);
        }
    }
    for places in &mut places {
        settle(places, needs, &mut rank);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, needs: &[&str]) -> Stage {
        let needs = needs.iter().map(|need| (*need).to_owned()).collect();
        Stage { name: name.to_owned(), needs, badge: Badge::none("waiting"), note: String::new(), url: String::new(), critical: false }
    }

    #[test]
    fn each_stage_stands_right_of_everything_it_needs() {
        let graph = Graph::draw(vec![stage("checkout", &[]), stage("test", &["checkout"]), stage("image", &["checkout", "test", "gone"])]);
        let x: Vec<u32> = graph.boxes.iter().map(|one| one.x).collect();
        assert!(x[0] < x[1] && x[1] < x[2], "{x:?}");
        assert_eq!(graph.lines.len(), 3);
    }

    #[test]
    fn no_two_of_many_stages_share_a_place() {
        let mut stages = vec![stage("s0", &[])];
        for at in 1..200_usize {
            stages.push(stage(&format!("s{at}"), &[&format!("s{}", at / 3), &format!("s{}", at / 2)]));
        }
        let graph = Graph::draw(stages);
        let mut corners: Vec<(u32, u32)> = graph.boxes.iter().map(|one| (one.x, one.y)).collect();
        corners.sort_unstable();
        corners.dedup();
        assert_eq!(corners.len(), 200);
        assert!(corners.iter().all(|(x, y)| x + WIDTH <= graph.width && y + HEIGHT <= graph.height));
    }
}
