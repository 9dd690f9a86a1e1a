//! Pages of options under the names of the installed programs: `server` alone would say too little in
//! `/usr/bin`.

use common::args::Page;

/// The prefix of installed programs.
pub(crate) const PREFIX: &str = "line-log-";

/// The programs under the names with which they are built.
pub(crate) const PROGRAMS: [&str; 3] = ["server", "client", "launcher"];

/// The pages of all programs and of the client's commands.
pub(crate) fn all() -> Vec<Page> {
    let mut pages = vec![server::options::COMMAND.page(), launcher::page()];
    pages.extend(client::pages());
    pages
}

/// The installed name: `line-log-client load` for `client load`.
pub(crate) fn installed(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The text with installed names for programs: at its start, and after a quote or a pipe.
pub(crate) fn with_installed_names(text: &str) -> String {
    let mut text = text.to_owned();
    for program in PROGRAMS {
        for before in ["'", "| "] {
            text = text.replace(
                &format!("{before}{program} "),
                &format!("{before}{PREFIX}{program} "),
            );
        }
        if let Some(rest) = text.strip_prefix(program)
            && rest.starts_with(' ')
        {
            text = format!("{PREFIX}{program}{rest}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_names_that_are_typed() {
        for (text, expected) in [
            ("client send -port 1", "line-log-client send -port 1"),
            ("x | client send", "x | line-log-client send"),
            (
                "see 'client load -help'",
                "see 'line-log-client load -help'",
            ),
            ("the client is here", "the client is here"),
            ("clients", "clients"),
        ] {
            assert_eq!(with_installed_names(text), expected);
        }
    }
}
