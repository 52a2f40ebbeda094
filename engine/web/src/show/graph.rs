//! A run's stages as a drawing: columns by how many stages come before, rows so that lines cross little. Many stages that need the same and are
//! needed by the same, as those of a matrix, stand in one block with one line in and one out, so that 200 can be read as well as 5. Laid out
//! here, so that it is there without any script. Invariant: the same stages always give the same drawing, whatever their states.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Badge;

/// A box is as wide as the longest name in its column needs, within these.
const WIDTH: u32 = 188;
const WIDEST: u32 = 340;
/// What of a box is no name.
const BESIDE: u32 = 50;
const HEIGHT: u32 = 52;
const GAP_ACROSS: u32 = 56;
const GAP_DOWN: u32 = 16;
const MARGIN: u32 = 8;
/// How often rows are ordered by their neighbours, to and fro.
const SWEEPS: usize = 4;
/// So many alike make a block.
const ALIKE: usize = 5;
/// A place in a block, as wide as the longest name there needs within these, and what is around them.
const PLACE_WIDTH: u32 = 136;
const PLACE_WIDEST: u32 = 280;
const PLACE_BESIDE: u32 = 38;
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
    /// The whole of what it is called.
    title: String,
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
    /// What each member is called in the drawing, and what stands below that.
    labels: Vec<(String, String)>,
    /// What the block is called.
    head: String,
    /// Of a place in a block.
    place: u32,
    width: u32,
    height: u32,
}

impl Node {
    fn of(members: Vec<usize>, stages: &[Stage], bases: &BTreeMap<&str, Vec<usize>>) -> Self {
        if let [member] = members.as_slice() {
            let label = alone(&stages[*member], stages, bases);
            let width = (width_of(&label.0).max(width_of(&label.1)) + BESIDE).clamp(WIDTH, WIDEST);
            return Self { members, labels: vec![label], head: String::new(), place: 0, width, height: HEIGHT };
        }
        let (head, names) = told_apart(&members.iter().map(|member| &stages[*member]).collect::<Vec<_>>());
        let widest = names.iter().map(|name| width_of(name)).max().unwrap_or(0);
        let place = (widest + PLACE_BESIDE).clamp(PLACE_WIDTH, PLACE_WIDEST);
        let names = fitting_all(&names, place - PLACE_BESIDE);
        let (across, down) = grid(members.len(), place);
        let width = 2 * BLOCK_EDGE + across * (place + PLACE_GAP) - PLACE_GAP;
        let height = BLOCK_HEAD + BLOCK_EDGE + down * (PLACE_HEIGHT + PLACE_GAP) - PLACE_GAP;
        let labels = names.into_iter().map(|name| (name, String::new())).collect();
        Self { members, labels, head, place, width, height }
    }
}

/// What a stage that stands alone is called, and what stands below. One of a small matrix whose whole name does not fit is called by its values, or by
/// those of them that the others do not have, with its name in the file below.
fn alone(stage: &Stage, stages: &[Stage], bases: &BTreeMap<&str, Vec<usize>>) -> (String, String) {
    let room = WIDEST - BESIDE;
    let siblings = bases.get(stage.base.as_str()).map(Vec::as_slice).unwrap_or_default();
    if siblings.len() < 2 || width_of(&stage.name) <= room {
        return (fitting(&stage.name, room), stage.note.clone());
    }
    let all: Vec<&Stage> = siblings.iter().map(|at| &stages[*at]).collect();
    let note = format!("{} · {}", fitting(&stage.base, room.saturating_sub(width_of(&stage.note) + width_of(" · "))), stage.note);
    let values = values_of(stage);
    if width_of(values) <= room {
        return (values.to_owned(), note);
    }
    let labels = fitting_all(&told_apart(&all).1, room);
    let own = all.iter().zip(labels).find(|(one, _)| one.name == stage.name).map(|(_, label)| label);
    (own.unwrap_or_else(|| fitting(&stage.name, room)), note)
}

/// A stage's name without that of its matrix.
fn values_of(stage: &Stage) -> &str {
    stage.name.strip_prefix(&stage.base).unwrap_or(&stage.name).trim_start_matches('-')
}

/// Columns and rows of a block whose places are so wide, so that it looks like a square.
fn grid(count: usize, place: u32) -> (u32, u32) {
    let count = as_u32(count);
    let is_wide = |across: u32| across * across * (place + PLACE_GAP) >= count * (PLACE_HEIGHT + PLACE_GAP) * 4 / 3;
    let across = (1..=count).find(|across| is_wide(*across)).unwrap_or(1);
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
        // Boxes of a column are as wide as each other.
        let mut nodes = nodes;
        for places in &places {
            let widest = places.iter().filter(|at| nodes[**at].members.len() == 1).map(|at| nodes[*at].width).max();
            for at in places {
                if let (1, Some(widest)) = (nodes[*at].members.len(), widest) {
                    nodes[*at].width = widest;
                }
            }
        }
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
        if let ([stage], [(label, note)]) = (members, node.labels.as_slice()) {
            let texts = (label.clone(), note.clone());
            self.boxes.push(boxed(stage, (x, y, node.width, HEIGHT), texts, false));
            return;
        }
        let &Node { width, height, place: wide, .. } = node;
        let (label, note) = (fitting(&node.head, width - 2 * BLOCK_EDGE), tally(members));
        self.blocks.push(Block {
            x,
            y,
            width,
            height,
            label,
            title: node.head.clone(),
            note: fitting(&note, width - 2 * BLOCK_EDGE),
            critical,
        });
        let (across, _) = grid(members.len(), wide);
        for (place, (stage, (short, _))) in (0..).zip(members.iter().zip(&node.labels)) {
            let left = x + BLOCK_EDGE + place % across * (wide + PLACE_GAP);
            let top = y + BLOCK_HEAD + place / across * (PLACE_HEIGHT + PLACE_GAP);
            self.boxes.push(boxed(stage, (left, top, wide, PLACE_HEIGHT), (short.clone(), stage.note.clone()), true));
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
    let mut bases: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    stages.iter().enumerate().for_each(|(at, stage)| bases.entry(&stage.base).or_default().push(at));
    // A matrix is told from what stands alone.
    let matrix =
        |stage: &Stage| if bases.get(stage.base.as_str()).is_some_and(|all| all.len() > 1) { stage.base.clone() } else { String::new() };
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
    (groups.into_iter().map(|members| Node::of(members, stages, &bases)).collect(), node_of)
}

/// What a block is called, and each of its stages by what the others are not called.
fn told_apart(members: &[&Stage]) -> (String, Vec<String>) {
    let base = members.first().map(|stage| stage.base.clone()).unwrap_or_default();
    if members.iter().any(|stage| stage.base != base) {
        return (format!("{} stages", members.len()), members.iter().map(|stage| stage.name.clone()).collect());
    }
    let names: Vec<String> = members.iter().map(|stage| values_of(stage).to_owned()).collect();
    let words: Vec<Vec<&str>> = names.iter().map(|name| name.split('-').collect()).collect();
    let count = words.first().map_or(0, Vec::len);
    if words.iter().any(|words| words.len() != count) {
        return (base, without_common(&names));
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

/// Names without the words that all of them begin and end with.
fn without_common(names: &[String]) -> Vec<String> {
    let words: Vec<Vec<&str>> = names.iter().map(|name| name.split('-').collect()).collect();
    let shortest = words.iter().map(Vec::len).min().unwrap_or(0);
    let same = |place: &dyn Fn(&Vec<&str>) -> String| words.iter().all(|own| place(own) == place(&words[0]));
    let first = (0..shortest).take_while(|at| same(&|own| own[*at].to_owned())).count();
    let last = (0..shortest).take_while(|at| same(&|own| own[own.len() - 1 - at].to_owned())).count();
    // The shortest may be nothing but what all have in common: a word of that is left, so that each has a name.
    let last = last.min(shortest.saturating_sub(1));
    let first = first.min(shortest.saturating_sub(last + 1));
    words.iter().map(|own| own[first..own.len() - last].join(" ")).collect()
}

/// How wide a text is in the drawing, in its units: near enough for the font of the pages at its size.
fn width_of(text: &str) -> u32 {
    let tenths = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | '\'' | '|' | ':' => 37,
        'f' | 'r' | 't' | '1' | '-' | ' ' | '·' | '(' | ')' => 52,
        'm' | 'w' | 'M' | 'W' => 118,
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => 79,
        c if c.is_ascii() => 92,
        _ => 140,
    };
    text.chars().map(tenths).sum::<u32>().div_ceil(10)
}

/// A name as it fits into so much room: its middle is left out, since ends tell names apart.
fn fitting(name: &str, room: u32) -> String {
    if width_of(name) <= room {
        return name.to_owned();
    }
    let letters: Vec<char> = name.chars().collect();
    let cut = |kept: usize| -> String {
        let end = kept / 2;
        letters[..kept - end].iter().chain(['…'].iter()).chain(&letters[letters.len() - end..]).collect()
    };
    (2..letters.len()).rev().map(cut).find(|text| width_of(text) <= room).unwrap_or_else(|| cut(2))
}

/// Names as they fit; those that would be cut to the same have their number instead of an end.
fn fitting_all(names: &[String], room: u32) -> Vec<String> {
    let cut: Vec<String> = names.iter().map(|name| fitting(name, room)).collect();
    let alike = |text: &String| cut.iter().filter(|other| *other == text).count() > 1;
    let numbered = |(at, text): (usize, &String)| {
        let number = format!(" {}", at + 1);
        format!("{}{number}", fitting(&names[at], room.saturating_sub(width_of(&number)).max(width_of(text) / 3)))
    };
    cut.iter().enumerate().map(|(at, text)| if alike(text) { numbered((at, text)) } else { text.clone() }).collect()
}

fn boxed(stage: &Stage, (x, y, width, height): (u32, u32, u32, u32), (label, note): (String, String), small: bool) -> Box {
    let Stage { name, badge, url, critical, .. } = stage.clone();
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
        let cut = fitting("matrix-test-db-postgres-os-b", 110);
        assert!(cut.starts_with("matrix") && cut.ends_with("os-b") && cut.contains('…') && width_of(&cut) <= 110, "{cut}");
        assert_eq!(fitting("short", 110), "short");
    }

    fn labels_differ(graph: &Graph) {
        let labels: BTreeSet<(&str, &str)> = graph.boxes.iter().map(|one| (one.label.as_str(), one.note.as_str())).collect();
        assert_eq!(labels.len(), graph.boxes.len(), "{labels:?}");
        for one in &graph.boxes {
            let beside = if one.small { PLACE_BESIDE } else { BESIDE };
            assert!(width_of(&one.label) + beside <= one.width, "{one:?} is cut by its box");
        }
    }

    #[test]
    fn two_of_a_matrix_are_told_apart_however_long_their_name_is() {
        let base = "integration-tests-against-the-payment-provider";
        let versions =
            ["postgres-16", "postgres-17"].map(|db| Stage { base: base.to_owned(), ..stage(&format!("{base}-db-{db}"), &["compile"]) });
        let graph = Graph::draw(std::iter::once(stage("compile", &[])).chain(versions).collect());
        well_placed(&graph);
        labels_differ(&graph);
        let labels: Vec<&str> = graph.boxes.iter().map(|one| one.label.as_str()).collect();
        assert_eq!(labels, ["compile", "db-postgres-16", "db-postgres-17"]);
        assert!(graph.boxes[1].note.starts_with("integration-tests"), "{:?}", graph.boxes[1]);
        assert_eq!(graph.boxes[1].name, format!("{base}-db-postgres-16"), "the whole name is said too");
    }

    #[test]
    fn two_hundred_of_a_matrix_with_long_values_all_have_names_of_their_own() {
        let mut stages = vec![stage("compile", &[])];
        for region in 0..10 {
            for browser in 0..20 {
                let name = format!("test-browser-the-very-long-name-of-browser-{browser}-region-{region}-x");
                stages.push(Stage { base: "test".to_owned(), ..stage(&name, &["compile"]) });
            }
        }
        let graph = Graph::draw(stages);
        well_placed(&graph);
        labels_differ(&graph);
        assert!(graph.boxes.iter().any(|one| one.label == "19 9"), "what all have in common is left out");
    }

    #[test]
    fn names_of_unlike_length_lose_what_they_have_in_common_and_stay_apart_when_cut() {
        let mut stages = vec![stage("compile", &[])];
        for at in 0..12 {
            let tail = "a-b-c-d-e-f-g-h-i-j-k-l".split('-').take(at + 1).collect::<Vec<_>>().join("-");
            stages.push(Stage {
                base: "test".to_owned(),
                ..stage(&format!("test-case-same-start-here-{tail}-and-the-same-end"), &["compile"])
            });
        }
        let graph = Graph::draw(stages);
        well_placed(&graph);
        labels_differ(&graph);
        assert!(graph.boxes.iter().any(|one| one.label == "a b c"), "{:?}", graph.boxes);
    }
}
