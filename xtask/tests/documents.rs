//! The length of the documents: what is longer is not read.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// The most words of a document, counted as `wc -w` does.
const MAX_WORDS: usize = 1500;

/// The most words of README.md.
const MAX_README_WORDS: usize = 900;

#[test]
fn documents_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents = 0;
    for folder in [root.clone(), root.join("docs")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let words = fs::read_to_string(&path).unwrap().split_whitespace().count();
            let most = if path.ends_with("README.md") { MAX_README_WORDS } else { MAX_WORDS };
            assert!(words <= most, "{}: {words} words, {most} at most", path.display());
            documents += 1;
        }
    }
    assert!(documents > 15, "{documents}");
}
