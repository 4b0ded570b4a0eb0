//! Work that allocates more than it computes.

use std::collections::BTreeMap;

use super::{RealJob, yard::random};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "allocation";
    vec![
        RealJob::new(family, "tree", 150, tree, |_, nth| nth as u64),
        RealJob::new(family, "strings", 50, strings, |_, nth| nth as u64),
        RealJob::new(family, "boxes", 80, boxes, |_, nth| nth as u64),
        RealJob::new(family, "strings-out", 200, strings_out, |_, nth| nth as u64),
    ]
}

/// A tree of ten thousand nodes, and how deep it is.
fn boxes(seed: u64) -> usize {
    let mut root = None;
    random(seed).take(10_000).for_each(|key| insert(&mut root, key));
    depth(root.as_deref())
}

struct Node {
    key: u64,
    children: [Option<Box<Node>>; 2],
}

fn insert(mut at: &mut Option<Box<Node>>, key: u64) {
    while let Some(node) = at {
        at = &mut node.children[usize::from(key > node.key)];
    }
    *at = Some(Box::new(Node { key, children: [None, None] }));
}

fn depth(node: Option<&Node>) -> usize {
    let children = node.into_iter().flat_map(|node| &node.children);
    children.map(|child| 1 + depth(child.as_deref())).max().unwrap_or(0)
}

/// A map from text to numbers, and its middle.
fn tree(seed: u64) -> u64 {
    let tree: BTreeMap<String, u64> = random(seed).take(5_000).map(|n| (n.to_string(), n)).collect();
    tree.values().nth(2_500).copied().unwrap_or(0)
}

/// Twenty thousand strings, of which the longest wins.
fn strings(seed: u64) -> String {
    let all: Vec<String> = random(seed).take(20_000).map(|n| format!("{n:x} and {}", n % 100)).collect();
    all.into_iter().max_by_key(String::len).unwrap_or_default()
}

/// Five thousand strings, all of which go back.
fn strings_out(seed: u64) -> Vec<String> {
    random(seed).take(5_000).map(|n| format!("{n:x} and {}", n % 100)).collect()
}
