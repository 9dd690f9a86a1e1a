//! Circles in a graph.

use std::collections::{BTreeMap, BTreeSet};

/// The edges of a graph: to where each node leads.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// The groups of nodes that lead to each other, each in order.
pub fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<_, _> = graph.keys().map(|node| (node, reachable(graph, node))).collect();
    let circle = |node: &String| -> BTreeSet<String> {
        let both = |other: &&String| reach.get(other).is_some_and(|back| back.contains(node));
        reach[node].iter().filter(both).cloned().collect()
    };
    let circles: BTreeSet<_> = graph.keys().map(circle).collect();
    circles.into_iter().filter(|circle| !circle.is_empty()).collect()
}

/// The nodes that can be reached from `from` in one step or more.
fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut found = vec![from];
    while let Some(node) = found.pop() {
        for next in graph.get(node).into_iter().flatten() {
            if reached.insert(next.clone()) {
                found.push(next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_whole() {
        for (edges, expected) in [
            ("a>b b>c a>c", ""),
            ("a>b b>a", "ab"),
            ("a>b b>c c>a c>d d>e", "abc"),
            ("a>b b>a b>c c>d d>c", "ab cd"),
            ("a>b b>c c>b c>a", "abc"),
        ] {
            let mut graph = Graph::new();
            for edge in edges.split(' ') {
                let (from, to) = edge.split_once('>').unwrap();
                graph.entry(from.to_owned()).or_default().insert(to.to_owned());
            }
            let found: Vec<String> =
                circles(&graph).into_iter().map(|c| c.into_iter().collect()).collect();
            assert_eq!(found.join(" "), expected, "{edges}");
        }
    }
}
