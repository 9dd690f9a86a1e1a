//! The code map of ARCHITECTURE.md: crates, and modules of the server, from the bottom up.

/// The order that the map gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// Folders of crates.
    pub crates: Vec<String>,
    /// Top modules of the server.
    pub modules: Vec<String>,
}

impl Map {
    /// Reads the tables under `## Code map`: the first is of crates, the second of modules.
    pub fn read(document: &str) -> Self {
        let section = document.split("\n## ").find(|section| section.starts_with("Code map\n"));
        let mut columns =
            section.into_iter().flat_map(|section| section.split("\n|---|---|\n").skip(1));
        let mut names = || first_column(columns.next().unwrap_or_default());
        let crates = names();
        let mut modules: Vec<_> = names();
        for module in &mut modules {
            module.truncate(module.trim_end_matches(".rs").len());
        }
        modules.dedup();
        Self { crates, modules }
    }
}

/// The names in backticks in the first column of a table, without their last slash.
fn first_column(table: &str) -> Vec<String> {
    let rows = table.lines().map_while(|line| line.strip_prefix('|'));
    let cells = rows.filter_map(|row| row.split('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(|name| name.trim_end_matches('/').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_columns_of_two_tables() {
        let document = "# A\n\n## Code map\n\n| path | what |\n|---|---|\n| `a/b/` | `no.rs` |\n| `a/` | |\n\n\
                        | module | what |\n|---|---|\n| `c.rs`, `d.rs` | |\n| `e.rs`, `e/` | `no` |\n\nText `x`.\n\n\
                        ## More\n\n| `y` |\n";
        let map = Map::read(document);
        assert_eq!(map.crates, ["a/b", "a"]);
        assert_eq!(map.modules, ["c", "d", "e"]);
    }
}
