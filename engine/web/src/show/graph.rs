//! A run's stages as a drawing: columns by how many stages come before, rows so that lines cross little. Many stages that need the same and are
//! needed by the same, as those of a matrix, stand in one block with one line in and one out, so that 200 can be read as well as 5. Laid out
//! here, so that it is there without any script. Invariant: the same stages always give the same drawing, whatever their states.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Badge;

const WIDTH: u32 = 188;
const HEIGHT: u32 = 52;
const GAP_ACROSS: u32 = 56;
const GAP_DOWN: u32 = 16;
const MARGIN: u32 = 8;
/// How often rows are ordered by their neighbours, to and fro.
const SWEEPS: usize = 4;
/// So much of a name fits into a box, and into a place of a block.
const NAME: usize = 19;
const PLACE_NAME: usize = 15;
/// So many alike make a block.
const ALIKE: usize = 5;
/// A place in a block, and what is around them.
const PLACE_WIDTH: u32 = 136;
const PLACE_HEIGHT: u32 = 30;
const PLACE_GAP: u32 = 6;
const BLOCK_HEAD: u32 = 48;
const BLOCK_EDGE: u32 = 12;
/// So far below the upper edge a short column begins at most.
const DEEPEST: u32 = 200;

/// A stage to draw.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) name: String,
    /// The name in the file, the same for all of a matrix.
    pub(crate) base: String,
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
    blocks: Vec<Block>,
    boxes: Vec<Box>,
    lines: Vec<Line>,
}

/// The frame around stages that are alike.
#[derive(Clone, Debug, Serialize)]
struct Block {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    label: String,
    /// How many there are in which state.
    note: String,
    critical: bool,
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
    /// Whether it stands in a block: then there is room for a line.
    small: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    /// The path of an SVG.
    path: String,
    /// Whether both its ends are critical.
    critical: bool,
}

/// What has a place of its own: a stage, or a block of them.
struct Node {
    members: Vec<usize>,
    width: u32,
    height: u32,
}

impl Node {
    fn of(members: Vec<usize>) -> Self {
        if members.len() == 1 {
            return Self { members, width: WIDTH, height: HEIGHT };
        }
        let (across, down) = grid(members.len());
        let width = 2 * BLOCK_EDGE + across * (PLACE_WIDTH + PLACE_GAP) - PLACE_GAP;
        let height = BLOCK_HEAD + BLOCK_EDGE + down * (PLACE_HEIGHT + PLACE_GAP) - PLACE_GAP;
        Self { members, width, height }
    }
}

/// Columns and rows of a block: three times as many rows as columns look like a square.
fn grid(count: usize) -> (u32, u32) {
    let count = as_u32(count);
    let across = (1..=count).find(|across| across * across * 3 >= count).unwrap_or(1);
    (across, count.div_ceil(across))
}

impl Graph {
    /// Draws stages, each of which comes after everything that it needs.
    pub(crate) fn draw(stages: Vec<Stage>) -> Self {
        let index: BTreeMap<&str, usize> = stages.iter().enumerate().map(|(at, stage)| (stage.name.as_str(), at)).collect();
        let needs: Vec<BTreeSet<usize>> = stages
            .iter()
            .enumerate()
            .map(|(at, stage)| stage.needs.iter().filter_map(|need| index.get(need.as_str()).copied()).filter(|need| *need < at).collect())
            .collect();
        let (nodes, node_of) = nodes(&stages, &needs);
        let node_needs: Vec<Vec<usize>> = nodes
            .iter()
            .map(|node| {
                let needed: BTreeSet<usize> = node.members.iter().flat_map(|at| &needs[*at]).map(|need| node_of[*need]).collect();
                needed.into_iter().collect()
            })
            .collect();
        let mut column = vec![0_usize; nodes.len()];
        for at in 0..nodes.len() {
            column[at] = node_needs[at].iter().map(|need| column[*need] + 1).max().unwrap_or(0);
        }
        let places = order(&column, &node_needs);
        let tall = |places: &Vec<usize>| places.iter().map(|at| nodes[*at].height + GAP_DOWN).sum::<u32>();
        let tallest = places.iter().map(tall).max().unwrap_or(0).max(HEIGHT + GAP_DOWN);
        let (mut corner, mut x) = (vec![(0_u32, 0_u32); nodes.len()], MARGIN);
        for places in &places {
            // Short columns stand in the middle of tall ones, but where the drawing begins something is to be seen.
            let mut y = MARGIN + ((tallest - tall(places)) / 2).min(DEEPEST);
            for at in places {
                corner[*at] = (x, y);
                y += nodes[*at].height + GAP_DOWN;
            }
            x += places.iter().map(|at| nodes[*at].width).max().unwrap_or(WIDTH) + GAP_ACROSS;
        }
        let critical = |node: usize| nodes[node].members.iter().any(|at| stages[*at].critical);
        let mut lines = Vec::new();
        for (at, needed) in node_needs.iter().enumerate() {
            for need in needed {
                let from = (corner[*need].0 + nodes[*need].width, corner[*need].1 + nodes[*need].height / 2);
                lines.push(line(from, (corner[at].0, corner[at].1 + nodes[at].height / 2), critical(at) && critical(*need)));
            }
        }
        // Critical lines are drawn last, over the others.
        lines.sort_by_key(|line| line.critical);
        let width = x.saturating_sub(GAP_ACROSS).max(MARGIN + WIDTH) + MARGIN;
        let mut graph = Self { width, height: 2 * MARGIN + tallest - GAP_DOWN, blocks: Vec::new(), boxes: Vec::new(), lines };
        for (at, node) in nodes.iter().enumerate() {
            let members: Vec<&Stage> = node.members.iter().map(|member| &stages[*member]).collect();
            graph.put(node, corner[at], &members, critical(at));
        }
        graph
    }

    fn put(&mut self, node: &Node, (x, y): (u32, u32), members: &[&Stage], critical: bool) {
        if let [stage] = members {
            let (label, name) = (fitting(&stage.name, NAME), stage.name.clone());
            self.boxes.push(boxed(stage, (x, y, WIDTH, HEIGHT), name, (label, false)));
            return;
        }
        let (label, names) = told_apart(members);
        let (&Node { width, height, .. }, note) = (node, tally(members));
        self.blocks.push(Block { x, y, width, height, label: fitting(&label, NAME), note, critical });
        let (across, _) = grid(members.len());
        for (place, (stage, short)) in (0..).zip(members.iter().zip(names)) {
            let left = x + BLOCK_EDGE + place % across * (PLACE_WIDTH + PLACE_GAP);
            let top = y + BLOCK_HEAD + place / across * (PLACE_HEIGHT + PLACE_GAP);
            let place = (left, top, PLACE_WIDTH, PLACE_HEIGHT);
            self.boxes.push(boxed(stage, place, stage.name.clone(), (fitting(&short, PLACE_NAME), true)));
        }
    }
}

/// Stages in the order of the first of each node, and which node each is in. Those alike need the same and are needed by the same.
fn nodes(stages: &[Stage], needs: &[BTreeSet<usize>]) -> (Vec<Node>, Vec<usize>) {
    let mut needed_by: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); stages.len()];
    for (at, needed) in needs.iter().enumerate() {
        for need in needed {
            needed_by[*need].insert(at);
        }
    }
    let mut bases: BTreeMap<&str, usize> = BTreeMap::new();
    stages.iter().for_each(|stage| *bases.entry(&stage.base).or_default() += 1);
    // A matrix is told from what stands alone.
    let matrix =
        |stage: &Stage| if bases.get(stage.base.as_str()).is_some_and(|count| *count > 1) { stage.base.clone() } else { String::new() };
    let mut alike: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, stage) in stages.iter().enumerate() {
        alike.entry((&needs[at], &needed_by[at], matrix(stage))).or_default().push(at);
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for members in alike.into_values() {
        if members.len() < ALIKE {
            groups.extend(members.into_iter().map(|at| vec![at]));
        } else {
            groups.push(members);
        }
    }
    groups.sort();
    let mut node_of = vec![0; stages.len()];
    for (node, members) in groups.iter().enumerate() {
        members.iter().for_each(|at| node_of[*at] = node);
    }
    (groups.into_iter().map(Node::of).collect(), node_of)
}

/// What a block is called, and each of its stages by what the others are not called.
fn told_apart(members: &[&Stage]) -> (String, Vec<String>) {
    let base = members.first().map(|stage| stage.base.clone()).unwrap_or_default();
    if members.iter().any(|stage| stage.base != base) {
        return (format!("{} stages", members.len()), members.iter().map(|stage| stage.name.clone()).collect());
    }
    let rest = |stage: &&Stage| stage.name.strip_prefix(&base).unwrap_or(&stage.name).trim_start_matches('-').to_owned();
    let names: Vec<String> = members.iter().map(rest).collect();
    let words: Vec<Vec<&str>> = names.iter().map(|name| name.split('-').collect()).collect();
    let count = words.first().map_or(0, Vec::len);
    if words.iter().any(|words| words.len() != count) {
        return (base, names.clone());
    }
    // The words in which all agree are the names of the matrix's keys.
    let differs = |place: usize| words.iter().any(|own| own[place] != words[0][place]);
    let places: Vec<usize> = (0..count).filter(|place| differs(*place)).collect();
    let short = |words: &Vec<&str>| places.iter().map(|place| words[*place]).collect::<Vec<_>>().join(" ");
    (base, words.iter().map(short).collect())
}

/// How many of them are in which state, the worst first.
fn tally(members: &[&Stage]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for tone in ["bad", "warn", "busy", "wait", "off", "good"] {
        for stage in members.iter().filter(|stage| stage.badge.tone == tone) {
            match counts.iter_mut().find(|(word, _)| *word == stage.badge.word) {
                Some((_, count)) => *count += 1,
                None => counts.push((&stage.badge.word, 1)),
            }
        }
    }
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn as_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A name as it fits: its middle is left out, since ends tell names apart.
fn fitting(name: &str, room: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= room {
        return name.to_owned();
    }
    let end = (room - 1) / 2;
    let begin = room - 1 - end;
    letters[..begin].iter().chain(['…'].iter()).chain(&letters[letters.len() - end..]).collect()
}

fn boxed(stage: &Stage, (x, y, width, height): (u32, u32, u32, u32), name: String, (label, small): (String, bool)) -> Box {
    let Stage { badge, note, url, critical, .. } = stage.clone();
    Box { x, y, width, height, name, label, badge, note, url, critical, small }
}

fn line((x1, y1): (u32, u32), (x2, y2): (u32, u32), critical: bool) -> Line {
    // The bend lies right before the target, so that a line out of a narrow box passes the wide ones of its column.
    let bend = GAP_ACROSS / 2;
    let path = if y1 == y2 {
        format!("M{x1} {y1}H{x2}")
    } else {
        format!("M{x1} {y1}H{}C{} {y1} {} {y2} {x2} {y2}", x2 - GAP_ACROSS, x2 - bend, x2 - bend)
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
        let (name, badge) = (name.to_owned(), Badge::none("waiting"));
        Stage { base: name.clone(), name, needs, badge, note: String::new(), url: String::new(), critical: false }
    }

    fn overlap(one: &Box, other: &Box) -> bool {
        one.x < other.x + other.width && other.x < one.x + one.width && one.y < other.y + other.height && other.y < one.y + one.height
    }

    fn well_placed(graph: &Graph) {
        for (at, one) in graph.boxes.iter().enumerate() {
            assert!(one.x + one.width <= graph.width && one.y + one.height <= graph.height, "{one:?} is outside");
            assert!(!graph.boxes[at + 1..].iter().any(|other| overlap(one, other)), "{one:?} is under another one");
        }
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
        assert_eq!(graph.boxes.len(), 200);
        well_placed(&graph);
    }

    #[test]
    fn a_matrix_is_one_block_in_which_each_is_told_by_what_differs() {
        let mut stages = vec![stage("compile", &[]), stage("lint", &["compile"])];
        for node in [18, 20, 22] {
            for db in ["lite", "pg"] {
                stages.push(Stage { base: "test".to_owned(), ..stage(&format!("test-db-{db}-node-{node}"), &["compile"]) });
            }
        }
        let names: Vec<String> = stages.iter().map(|stage| stage.name.clone()).collect();
        stages.push(stage("deploy", &names.iter().map(String::as_str).collect::<Vec<_>>()));
        let graph = Graph::draw(stages);
        well_placed(&graph);
        assert_eq!(graph.lines.len(), 5, "one line in and one out, besides those of `lint` and the one around both");
        let [block] = graph.blocks.as_slice() else { panic!("{:?}", graph.blocks) };
        assert_eq!((block.label.as_str(), block.note.as_str()), ("test", "6 waiting"));
        let inside: Vec<&str> = graph.boxes.iter().filter(|one| one.small).map(|one| one.label.as_str()).collect();
        assert_eq!(inside, ["lite 18", "pg 18", "lite 20", "pg 20", "lite 22", "pg 22"]);
    }

    #[test]
    fn of_a_long_name_both_ends_are_seen() {
        assert_eq!(fitting("matrix-test-db-postgres-os-b", 15), "matrix-…es-os-b");
        assert_eq!(fitting("short", 15), "short");
    }
}
