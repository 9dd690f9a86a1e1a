//! The modules of one crate, and which of them imports from which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::{self, Module, Named, Source};

/// The path of a module in its crate, such as `["backend", "stream"]`; empty for the root.
pub type ModulePath = Vec<String>;

/// The text of a file, if it exists.
pub type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// Where a path leads.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Import {
    /// A module of the same crate.
    Own(ModulePath),
    /// A path that begins with the name of another crate.
    Other(Vec<String>),
}

/// A crate as its root file declares it. Modules that only tests have are left out.
pub struct Crate {
    modules: BTreeMap<ModulePath, Vec<Source>>,
}

impl Crate {
    /// Reads the files of a crate, from its root file on.
    pub fn read(root: &Path, read: Read<'_>) -> Self {
        let mut modules = BTreeMap::new();
        let folder = root.parent().unwrap_or(root).to_owned();
        let mut found = vec![(ModulePath::new(), root.to_owned(), folder)];
        while let Some((path, file, folder)) = found.pop() {
            let Some(text) = read(&file) else {
                continue;
            };
            let source = source::read(&text);
            for module in &source.modules {
                let mut child = path.clone();
                child.push(module.name.clone());
                for (file, folder) in files(module, &file, &folder) {
                    found.push((child.clone(), file, folder));
                }
            }
            modules.entry(path).or_insert_with(Vec::new).push(source);
        }
        Self { modules }
    }

    /// The modules, and what each imports, itself excluded.
    pub fn imports(&self) -> BTreeMap<&ModulePath, BTreeSet<Import>> {
        let imports = |(module, sources): (_, &Vec<Source>)| {
            let all = sources.iter().flat_map(|source| {
                let paths = source.paths.iter();
                paths.map(|named| self.resolve(module, source, named))
            });
            let others = all.filter(|import| !matches!(import, Import::Own(own) if own == module));
            (module, others.collect())
        };
        self.modules.iter().map(imports).collect()
    }

    /// The module that holds the last segment of a path that is relative to the crate.
    pub fn module_of(&self, path: &[String]) -> ModulePath {
        let mut module = path.to_vec();
        while !module.is_empty() && !self.modules.contains_key(&module) {
            module.pop();
        }
        module
    }

    /// Re-exports are not followed: the module that is named is the one that is imported.
    fn resolve(&self, module: &ModulePath, source: &Source, named: &Named) -> Import {
        let scope = [module.as_slice(), &named.inside].concat();
        match self.absolute(&scope, source, named) {
            Some(path) => Import::Own(self.module_of(&path)),
            None => Import::Other(named.segments.clone()),
        }
    }

    /// The path relative to the crate; `None` if it begins with another crate, or with a local name.
    fn absolute(&self, scope: &[String], source: &Source, named: &Named) -> Option<Vec<String>> {
        let (first, rest) = named.segments.split_first()?;
        match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" | "super" => {
                let ups = named.segments.iter().filter(|segment| *segment == "super");
                let ups = ups.count();
                let downs = named.segments.iter().skip_while(|s| *s == "self" || *s == "super");
                let above = &scope[..scope.len().checked_sub(ups)?];
                return Some(above.iter().chain(downs).cloned().collect());
            }
            _ => {}
        }
        let child = [scope, &named.segments[..1]].concat();
        if self.modules.contains_key(&child) {
            return Some([scope, &named.segments].concat());
        }
        // A path in the code may begin with a name that a `use` has brought in.
        let is_in_code = named.alias.is_none();
        let mut imported = source.paths.iter();
        let used = imported.find(|path| is_in_code && path.alias.as_ref() == Some(first))?;
        let mut path = self.absolute(scope, source, used)?;
        path.extend_from_slice(rest);
        Some(path)
    }
}

/// The files of a module that `file` declares, each with the folder of its own submodules.
fn files(module: &Module, file: &Path, folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut files = Vec::new();
    if let Some(path) = &module.path {
        let file = file.with_file_name(path);
        let folder = file.parent().unwrap_or(folder).to_owned();
        files.push((file, folder));
    }
    if module.path.is_none() || module.is_conditional {
        let own = folder.join(&module.name);
        files.push((own.with_extension("rs"), own.clone()));
        files.push((own.join("mod.rs"), own));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each module of a crate imports, as text.
    fn imports(files: &[(&str, &str)]) -> Vec<String> {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(file.1.to_owned())
        };
        let all = Crate::read(Path::new("src/lib.rs"), &read);
        let mut lines = Vec::new();
        for (module, imports) in all.imports() {
            for import in imports {
                let to = match import {
                    Import::Own(path) => format!("/{}", path.join("/")),
                    Import::Other(path) => path.join("::"),
                };
                lines.push(format!("/{} -> {to}", module.join("/")));
            }
        }
        lines
    }

    #[test]
    fn paths_lead_to_modules() {
        for (text, expected) in [
            ("use crate::b::C;", "/b"),
            ("use super::b;", "/b"),
            ("use super::C;", "/"),
            ("use self::d::E;", "/a/d"),
            ("use d::E;", "/a/d"),
            ("fn f() { d::g() }", "/a/d"),
            ("fn f() { crate::b::C::g() }", "/b"),
            ("mod inner { use super::super::b; }", "/b"),
            ("mod inner { use super::d::E; }", "/a/d"),
            ("use other::{b};", "other::b"),
        ] {
            let found = imports(&[
                ("src/lib.rs", "mod a; mod b;"),
                ("src/a.rs", &format!("mod d; {text}")),
                ("src/a/d.rs", ""),
                ("src/b.rs", ""),
            ]);
            assert_eq!(found, [format!("/a -> {expected}")], "{text}");
        }
    }

    #[test]
    fn names_lead_where_their_use_leads() {
        let found = imports(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use crate::b as c; fn f() { c::d::e() }"),
            ("src/b.rs", "mod d;"),
            ("src/b/d.rs", ""),
        ]);
        assert_eq!(found, ["/a -> /b", "/a -> /b/d"]);
    }

    #[test]
    fn a_module_of_its_own_or_of_tests_is_no_import() {
        let found = imports(&[
            ("src/lib.rs", "mod a; #[cfg(test)] mod tests;"),
            ("src/a.rs", "use self::B; use crate::a::C; #[cfg(test)] use super::D;"),
            ("src/tests.rs", "use crate::a;"),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_conditional_file_belongs_to_its_module() {
        let found = imports(&[
            ("src/lib.rs", "mod a; mod b; #[cfg_attr(unix, path = \"c_unix.rs\")] mod c;"),
            ("src/a.rs", ""),
            ("src/b.rs", ""),
            ("src/c.rs", "use crate::a;"),
            ("src/c_unix.rs", "use crate::b;"),
        ]);
        assert_eq!(found, ["/c -> /a", "/c -> /b"]);
    }
}
