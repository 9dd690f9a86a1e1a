//! Imports between the files of the workspace: no circles, and none against the order of the code map in
//! ARCHITECTURE.md. Tests may import what they like.
//!
//! - `tokens`, `source`: the paths that a file names
//! - `modules`: the modules that they lead to
//! - `workspace`, `map`: what is checked, and the order
//! - `circles`, `order`: the checks

#![allow(clippy::unwrap_used)]

mod circles;
mod map;
mod modules;
mod order;
mod source;
mod tokens;
mod workspace;

use circles::{Graph, circles};
use map::Map;
use modules::Import;

#[test]
fn no_files_import_each_other() {
    let mut found = Vec::new();
    for package in workspace::read() {
        for (file, all) in &package.crates {
            let name = |module: &[String]| match module {
                [] => file.clone(),
                _ => format!("{file}: {}", module.join("::")),
            };
            let mut graph = Graph::new();
            for (module, imports) in all.imports() {
                let own = imports.iter().filter_map(|import| match import {
                    Import::Own(path) => Some(name(path)),
                    Import::Other(_) => None,
                });
                graph.insert(name(module), own.collect());
            }
            found.extend(circles(&graph));
        }
    }
    assert!(found.is_empty(), "files that import each other: {found:#?}");
}

#[test]
fn the_map_has_every_crate_and_module() {
    let map = Map::read(&workspace::document("ARCHITECTURE.md"));
    let packages = workspace::read();
    let folders = packages.iter().map(|package| package.folder.clone());
    assert_eq!(sorted(map.crates), sorted(folders));
    let mapped = packages.iter().find(|package| package.folder == order::MAPPED);
    assert_eq!(sorted(map.modules), sorted(order::top_modules(mapped.unwrap())));
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort();
    names
}

#[test]
fn imports_follow_the_order_of_the_map() {
    let map = Map::read(&workspace::document("ARCHITECTURE.md"));
    let found = order::disorder(&map, &workspace::read());
    assert!(found.is_empty(), "imports from later places in the map: {found:#?}");
}
