//! The order of imports: only from what stands earlier in the code map.

use std::collections::BTreeSet;

use crate::map::Map;
use crate::modules::Import;
use crate::workspace::Package;

/// The package whose modules are in the map.
pub const MAPPED: &str = "server";

/// Imports from what stands later in the map, as `from -> to`.
pub fn disorder(map: &Map, packages: &[Package]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for package in packages {
        for (file, all) in &package.crates {
            for (module, imports) in all.imports() {
                let from = Place::of(package, file, module);
                let to = imports.iter().filter_map(|import| match import {
                    Import::Own(path) => Some(Place::of(package, file, path)),
                    Import::Other(path) => Place::named(packages, path),
                });
                let later = to.filter(|to| from.is_before(to, map));
                found.extend(later.map(|to| format!("{from} -> {to}")));
            }
        }
    }
    found
}

/// The modules of a package that belong in the map.
pub fn top_modules(package: &Package) -> BTreeSet<String> {
    let crates = package.crates.iter();
    let places = crates.flat_map(|(file, all)| {
        let modules = all.imports().into_keys();
        modules.map(|module| Place::of(package, file, module))
    });
    places.filter_map(|place| place.module).collect()
}

/// What is in the map: a crate, or one of its modules.
#[derive(PartialEq, Eq)]
struct Place<'a> {
    package: &'a str,
    /// The top module. The root of a program is its module `main`; that of a library is none.
    module: Option<String>,
}

impl<'a> Place<'a> {
    fn of(package: &'a Package, file: &str, module: &[String]) -> Self {
        let root = file.ends_with("main.rs").then(|| "main".to_owned());
        Self { package: &package.folder, module: module.first().cloned().or(root) }
    }

    /// The place of a path that begins with the name of a package.
    fn named(packages: &'a [Package], path: &[String]) -> Option<Self> {
        let (name, path) = path.split_first()?;
        let package = packages.iter().find(|package| package.name == *name)?;
        let (file, library) = package.crates.iter().find(|(file, _)| file.ends_with("lib.rs"))?;
        Some(Self::of(package, file, &library.module_of(path)))
    }

    fn is_before(&self, other: &Self, map: &Map) -> bool {
        let place = |names: &[String], name: &str| names.iter().position(|known| known == name);
        if self.package != other.package {
            return place(&map.crates, self.package) < place(&map.crates, other.package);
        }
        match (&self.module, &other.module) {
            (Some(own), Some(other)) if self.package == MAPPED => {
                place(&map.modules, own) < place(&map.modules, other)
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.module {
            Some(module) if self.package == MAPPED => write!(f, "{}/{module}", self.package),
            _ => f.write_str(self.package),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::modules::Crate;

    /// A package with one file for each of its modules.
    fn package(folder: &str, roots: &[&str], files: &[(&str, &str)]) -> Package {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(file.1.to_owned())
        };
        let read = |root: &&str| ((*root).to_owned(), Crate::read(Path::new(root), &read));
        Package {
            folder: folder.to_owned(),
            name: folder.rsplit('/').next().unwrap().to_owned(),
            crates: roots.iter().map(read).collect(),
        }
    }

    #[test]
    fn imports_from_later_places_are_found() {
        let map = Map {
            crates: ["server/base", "server", "tool"].map(str::to_owned).to_vec(),
            modules: ["net", "main"].map(str::to_owned).to_vec(),
        };
        let packages = [
            package("server/base", &["lib.rs"], &[("lib.rs", "use tool::A; use other::B;")]),
            package(
                "server",
                &["lib.rs", "main.rs"],
                &[
                    ("lib.rs", "pub mod net;"),
                    ("net.rs", "use base::A; fn f() { tool::b() }"),
                    ("main.rs", "use server::net::A; use tool::B;"),
                ],
            ),
            package("tool", &["lib.rs"], &[("lib.rs", "use server::net::A; use base::A;")]),
        ];
        let found: Vec<_> = disorder(&map, &packages).into_iter().collect();
        assert_eq!(found, ["server/base -> tool", "server/main -> tool", "server/net -> tool"]);
    }

    #[test]
    fn modules_of_the_server_have_an_order() {
        let map = Map {
            crates: vec![MAPPED.to_owned()],
            modules: ["net", "turns", "main"].map(str::to_owned).to_vec(),
        };
        let files = [
            ("lib.rs", "pub mod net; pub mod turns;"),
            ("net.rs", "mod part;"),
            ("net/part.rs", "use crate::turns::A;"),
            ("turns.rs", "use crate::net::part::A;"),
            ("main.rs", "use server::turns; use server::net;"),
        ];
        let packages = [package(MAPPED, &["lib.rs", "main.rs"], &files)];
        let found: Vec<_> = disorder(&map, &packages).into_iter().collect();
        assert_eq!(found, ["server/net -> server/turns"]);
        let modules: Vec<_> = top_modules(&packages[0]).into_iter().collect();
        assert_eq!(modules, ["main", "net", "turns"]);
    }
}
