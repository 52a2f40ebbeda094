//! YAML text as a tree that knows where each node stands, within limits on size, depth, nodes and aliases.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::problem::{Problem, Problems};

/// The largest file that is read.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// A node with its place.
pub(crate) type Tree = Spanned<Node>;

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
}

impl Node {
    /// What people call it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = access.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = access.next_key()? {
            map.push((key, access.next_value()?));
        }
        Ok(Node::Map(map))
    }
}

/// Parses `text`; what is no YAML, or beyond the limits, is one problem: nothing after it can be trusted.
pub(crate) fn parse(text: &str, file: &str) -> Result<Tree, Problems> {
    if text.len() > MAX_BYTES {
        return Err(one(
            file,
            text,
            (0, 0),
            "the file is larger than 256 KiB".into(),
            "split it: each folder may have a `webhook.yaml` of its own",
        ));
    }
    if let Some((index, line)) =
        text.lines().enumerate().find(|(_, line)| line.trim_start_matches(' ').starts_with('\t') && !line.trim().is_empty())
    {
        // A tab inside a block of shell text is legal; only a text that YAML refuses is reported.
        if serde_saphyr::from_str_with_options::<Tree>(text, options()).is_err() {
            let column = line.len() - line.trim_start_matches(' ').len() + 1;
            return Err(one(
                file,
                text,
                (index + 1, column),
                "a tab stands where YAML wants spaces".into(),
                "indent with spaces, two for each level",
            ));
        }
    }
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Err(one(
            file,
            text,
            (0, 0),
            "the file is empty".into(),
            "start with `version: 1`, `name: …` and `handler: { command: […] }`",
        ));
    }
    serde_saphyr::from_str_with_options::<Tree>(text, options()).map_err(|error| {
        let place = error.location().map_or((0, 0), |at| (at.line() as usize, at.column() as usize));
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or_default().chars().take(300).collect::<String>();
        // The place stands in front already.
        let message = message.split(" at line ").next().unwrap_or_default();
        one(
            file,
            text,
            place,
            format!("this is not valid YAML: {message}"),
            "check indentation, quotes and brackets on this line and the one before",
        )
    })
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: 20_000,
            max_aliases: 200,
            max_depth: 64,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000 },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    }
}

fn one(file: &str, text: &str, (line, column): (usize, usize), message: String, help: &str) -> Problems {
    Problems(vec![Problem {
        file: file.to_owned(),
        line: u32::try_from(line).unwrap_or(0),
        column: u32::try_from(column.max(1)).unwrap_or(1),
        length: 1,
        excerpt: excerpt(text, line),
        message,
        help: help.to_owned(),
    }])
}

/// Line number `line` of `text`, cut where it would fill a screen.
pub(crate) fn excerpt(text: &str, line: usize) -> String {
    line.checked_sub(1).and_then(|index| text.lines().nth(index)).unwrap_or_default().chars().take(200).collect()
}
