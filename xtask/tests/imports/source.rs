//! What a source file declares and names: its modules and the paths of other items. Tests do not count.

use crate::tokens::{Token, tokens};

/// The content of a file, as far as imports go.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// `mod name;` declarations.
    pub modules: Vec<Module>,
    /// Paths that are named in a `use` or in the code.
    pub paths: Vec<Named>,
}

/// A module in a file of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    /// The file named by a `path` attribute, relative to the folder of the declaring file.
    pub path: Option<String>,
    /// The attribute applies to some builds only, so there is a file in the usual place, too.
    pub is_conditional: bool,
}

/// A path such as `super::channel::Next`.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// The inline modules around the path.
    pub inside: Vec<String>,
    pub segments: Vec<String>,
    /// The name that a `use` gives to the path in this file.
    pub alias: Option<String>,
}

/// Reads a file. Items under `#[cfg(test)]` are left out.
pub fn read(text: &str) -> Source {
    let mut reader = Reader {
        tokens: tokens(text),
        at: 0,
        depth: 0,
        inline: Vec::new(),
        source: Source::default(),
    };
    reader.read();
    reader.source
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    /// Open braces.
    depth: usize,
    /// The inline modules that are open, with the depth outside of each.
    inline: Vec<(&'a str, usize)>,
    source: Source,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        let mut attributes = Vec::new();
        while let Some(token) = self.next() {
            match token {
                Token::Mark('#') => {
                    let is_inner = self.skip(Token::Mark('!'));
                    let attribute = self.attribute();
                    match (is_test(&attribute), is_inner) {
                        // The whole file is a test.
                        (true, true) => return,
                        (true, false) => self.skip_item(),
                        (false, _) => {
                            attributes.push(attribute);
                            continue;
                        }
                    }
                }
                Token::Word("pub") => {
                    if self.peek(0) == Some(Token::Mark('(')) {
                        self.skip_group();
                    }
                    continue;
                }
                Token::Word("use") => self.tree(&[]),
                Token::Word("mod") => self.module(&attributes),
                Token::Word(word) => self.path(word),
                // The path after `<T as Trait>` or `$crate` has no module of this file.
                Token::PathSeparator => {
                    while matches!(self.next(), Some(Token::Word(_)))
                        && self.skip(Token::PathSeparator)
                    {}
                }
                Token::Mark('{') => self.depth += 1,
                Token::Mark('}') => self.close(),
                Token::Mark(_) | Token::Text(_) => {}
            }
            attributes.clear();
        }
    }

    fn peek(&self, ahead: usize) -> Option<Token<'a>> {
        self.tokens.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek(0);
        self.at += 1;
        token
    }

    /// Skips the next token if it is this one.
    fn skip(&mut self, token: Token<'_>) -> bool {
        let is_next = self.peek(0) == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.inline.pop_if(|(_, depth)| *depth == self.depth);
    }

    /// Skips a group in parentheses, brackets or braces, which begins here.
    fn skip_group(&mut self) {
        let mut depth = 0;
        while let Some(token) = self.next() {
            match token {
                Token::Mark('(' | '[' | '{') => depth += 1,
                Token::Mark(')' | ']' | '}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }

    /// The tokens between the brackets of an attribute.
    fn attribute(&mut self) -> Vec<Token<'a>> {
        let begin = self.at;
        if self.peek(0) != Some(Token::Mark('[')) {
            return Vec::new();
        }
        self.skip_group();
        let end = self.at.min(self.tokens.len()).saturating_sub(1);
        self.tokens.get(begin + 1..end).unwrap_or_default().to_vec()
    }

    /// Skips what an attribute applies to: an item, a field, a match arm or a statement.
    fn skip_item(&mut self) {
        while self.skip(Token::Mark('#')) {
            self.skip_group();
        }
        if self.skip(Token::Word("pub")) && self.peek(0) == Some(Token::Mark('(')) {
            self.skip_group();
        }
        let ends: &[char] = match self.peek(0) {
            Some(Token::Word("use" | "static" | "type" | "let")) => &[';'],
            Some(Token::Word("const")) if self.peek(1) != Some(Token::Word("fn")) => &[';'],
            Some(Token::Word("const" | "fn" | "mod" | "impl" | "struct" | "enum" | "trait")) => {
                &[';', '{']
            }
            _ => &[';', '{', ','],
        };
        while let Some(token) = self.peek(0) {
            match token {
                Token::Mark('{') if ends.contains(&'{') => return self.skip_group(),
                Token::Mark('(' | '[' | '{') => self.skip_group(),
                // The end of what is around.
                Token::Mark(')' | ']' | '}') => return,
                Token::Mark(mark) if ends.contains(&mark) => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    /// Reads a module after `mod`.
    fn module(&mut self, attributes: &[Vec<Token<'a>>]) {
        let Some(Token::Word(name)) = self.next() else {
            return;
        };
        if self.skip(Token::Mark('{')) {
            self.inline.push((name, self.depth));
            self.depth += 1;
        } else if self.inline.is_empty() {
            let with_path = attributes.iter().find(|it| path_in(it).is_some());
            self.source.modules.push(Module {
                name: name.to_owned(),
                path: with_path.and_then(|it| path_in(it)).map(str::to_owned),
                is_conditional: with_path.is_some_and(|it| it[0] == Token::Word("cfg_attr")),
            });
        }
    }

    /// Reads a path in the code, after its first segment.
    fn path(&mut self, first: &'a str) {
        let mut segments = vec![first];
        while self.peek(0) == Some(Token::PathSeparator)
            && let Some(Token::Word(segment)) = self.peek(1)
        {
            segments.push(segment);
            self.at += 2;
        }
        if segments.len() > 1 {
            self.name(&segments, None);
        }
    }

    /// Reads the tree of a `use`, up to the semicolon, comma or brace after it.
    fn tree(&mut self, prefix: &[&'a str]) {
        let mut segments = prefix.to_vec();
        while let Some(token) = self.peek(0) {
            match token {
                Token::Mark(';' | ',' | '}') => break,
                Token::Mark('{') => return self.group(&segments),
                Token::Mark('*') => {
                    self.at += 1;
                    return self.name(&segments, None);
                }
                Token::Word("as") => {
                    self.at += 1;
                    let Some(Token::Word(alias)) = self.next() else {
                        return;
                    };
                    return self.name(&segments, Some(alias));
                }
                // In a group, `self` is the path before it.
                Token::Word("self") if !segments.is_empty() => {}
                Token::Word(segment) => segments.push(segment),
                _ => {}
            }
            self.at += 1;
        }
        self.name(&segments, segments.last().copied());
    }

    /// Reads the trees in braces.
    fn group(&mut self, prefix: &[&'a str]) {
        while let Some(Token::Mark('{' | ',')) = self.next() {
            if self.peek(0) != Some(Token::Mark('}')) {
                self.tree(prefix);
            }
        }
    }

    fn name(&mut self, segments: &[&str], alias: Option<&str>) {
        self.source.paths.push(Named {
            inside: self.inline.iter().map(|(name, _)| (*name).to_owned()).collect(),
            segments: segments.iter().map(|&segment| segment.to_owned()).collect(),
            alias: alias.map(str::to_owned),
        });
    }
}

/// Whether an attribute limits its item to tests.
fn is_test(attribute: &[Token<'_>]) -> bool {
    let has = |word| attribute.contains(&Token::Word(word));
    attribute.first() == Some(&Token::Word("cfg")) && has("test") && !has("any") && !has("not")
}

/// The file in `path = "file"` or `cfg_attr(…, path = "file")`.
fn path_in<'a>(attribute: &[Token<'a>]) -> Option<&'a str> {
    attribute.windows(3).find_map(|window| match window {
        [Token::Word("path"), Token::Mark('='), Token::Text(path)] => Some(*path),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let source = read(text);
        source.paths.iter().map(|named| named.segments.join("::")).collect()
    }

    #[test]
    fn groups_of_a_use_are_expanded() {
        let text =
            "pub(crate) use crate::a::{self, b::{C, D as E}, G::*, F}; use super::g::*; use h;";
        assert_eq!(
            paths(text),
            [
                "crate::a",
                "crate::a::b::C",
                "crate::a::b::D",
                "crate::a::G",
                "crate::a::F",
                "super::g",
                "h"
            ]
        );
        let aliases: Vec<_> = read(text).paths.into_iter().map(|named| named.alias).collect();
        let aliases: Vec<_> = aliases.iter().flatten().collect();
        assert_eq!(aliases, ["a", "C", "E", "F", "h"]);
    }

    #[test]
    fn paths_in_the_code_are_found() {
        let text =
            "fn a(b: &crate::c::D) -> super::E { f::g::<h::I>(x.y::<Z>()); <J as k::L>::m::n() }";
        assert_eq!(paths(text), ["crate::c::D", "super::E", "f::g", "h::I", "k::L"]);
    }

    #[test]
    fn tests_do_not_count() {
        for text in [
            "#[cfg(test)] mod tests { use crate::a; fn b() { crate::c(); } }",
            "#[cfg(all(test, unix))] mod tests;",
            "#[cfg(test)] #[allow(x)] pub(crate) use crate::a::{b, c};",
            "#[cfg(test)] const A: crate::A = crate::A { b: 1 };",
            "#[cfg(test)] pub const fn a<B, C>(d: (B, C)) -> crate::D { d }",
            "struct A { #[cfg(test)] b: crate::B }",
            "#![cfg(test)] use crate::a;",
        ] {
            assert_eq!(read(text), Source::default(), "{text}");
        }
    }

    #[test]
    fn what_follows_a_test_counts() {
        for text in [
            "#[cfg(test)] mod tests; use crate::a;",
            "#[cfg(test)] use crate::b::{c}; use crate::a;",
            "#[cfg(test)] mod tests { fn b() {} } use crate::a;",
            "struct B { #[cfg(test)] b: crate::B, c: crate::a }",
            "fn b() { #[cfg(test)] crate::check(); crate::a }",
            "#[cfg(not(test))] use crate::a;",
            "#[cfg(any(test, unix))] use crate::a;",
        ] {
            assert_eq!(paths(text), ["crate::a"], "{text}");
        }
    }

    #[test]
    fn modules_may_have_another_file() {
        let text = "mod a; #[path = \"b/x.rs\"] pub mod b; \
                    #[cfg_attr(not(feature = \"c\"), path = \"y.rs\")] pub(crate) mod c; \
                    mod d { use super::e; } use f;";
        let source = read(text);
        let modules: Vec<_> = source
            .modules
            .iter()
            .map(|module| (module.name.as_str(), module.path.as_deref(), module.is_conditional))
            .collect();
        assert_eq!(
            modules,
            [("a", None, false), ("b", Some("b/x.rs"), false), ("c", Some("y.rs"), true)]
        );
        assert_eq!(source.paths[0].inside, ["d"]);
        assert!(source.paths[1].inside.is_empty());
    }
}
