//! The words and marks of Rust source, without comments.

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A name, a keyword or a number.
    Word(&'a str),
    /// A string, without its quotes; escapes are left as they are.
    Text(&'a str),
    /// `::`
    PathSeparator,
    /// Any other mark.
    Mark(char),
}

/// The tokens of `source`. Characters and lifetimes are left out: no path contains one.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = next(rest, first);
        tokens.extend(token);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The token at the beginning of `rest`, if it is one of interest, and its length.
fn next(rest: &str, first: char) -> (Option<Token<'_>>, usize) {
    if rest.starts_with("//") {
        return (None, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (None, comment(rest));
    }
    if rest.starts_with("::") {
        return (Some(Token::PathSeparator), 2);
    }
    if first == '\'' {
        return (None, character(rest));
    }
    if let Some((text, length)) = string(rest) {
        return (Some(Token::Text(text)), length);
    }
    let word = rest.len() - rest.trim_start_matches(is_of_word).len();
    if word > 0 {
        return (Some(Token::Word(&rest[..word])), word);
    }
    (Some(Token::Mark(first)), first.len_utf8())
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The length of a block comment, which may contain others.
fn comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a character such as `'a'`, `'\''` or `'\u{e9}'`; 1, the quote, for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let end = at + escaped.len_utf8();
            rest[end..].find('\'').map_or(1, |quote| end + quote + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// The content and the length of a string, which may be raw and may consist of bytes.
fn string(rest: &str) -> Option<(&str, usize)> {
    let prefix = &rest[..rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len()];
    let hashes = rest[prefix.len()..].bytes().take_while(|&byte| byte == b'#');
    let open = prefix.len() + hashes.count();
    let is_open = rest[open..].starts_with('"');
    if !is_open || !["", "b", "c", "r", "br", "cr"].contains(&prefix) {
        return None;
    }
    let content = open + 1;
    if prefix.ends_with('r') {
        let end = format!("\"{}", &rest[prefix.len()..open]);
        let length = rest[content..].find(&end)?;
        return Some((&rest[content..content + length], content + length + end.len()));
    }
    let bytes = &rest.as_bytes()[content..];
    let mut length = 0;
    while *bytes.get(length)? != b'"' {
        length += if bytes[length] == b'\\' { 2 } else { 1 };
    }
    Some((&rest[content..content + length], content + length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        let word = |token| match token {
            Token::Word(word) => Some(word),
            _ => None,
        };
        tokens(source).into_iter().filter_map(word).collect()
    }

    #[test]
    fn only_code_has_words() {
        for (source, expected) in [
            ("a // b\nc /* d /* e */ f */ g", &["a", "c", "g"][..]),
            (r#"a "b \" c" d b"\\" e"#, &["a", "d", "e"]),
            (r###"a r#"b " c"# d br##" "# "## e"###, &["a", "d", "e"]),
            (r"a 'b' '\'' '\\' '\u{e9}' c 'é' d", &["a", "c", "d"]),
            ("&'a str, b'c', '\"' d", &["a", "str", "b", "d"]),
        ] {
            assert_eq!(words(source), expected, "{source}");
        }
    }

    #[test]
    fn path_separators_are_one_token() {
        assert_eq!(
            tokens(r#"a::b: "c""#),
            [
                Token::Word("a"),
                Token::PathSeparator,
                Token::Word("b"),
                Token::Mark(':'),
                Token::Text("c"),
            ]
        );
    }
}
