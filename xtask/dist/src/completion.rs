//! Shell completion: options, commands, the choices of an option, and files where an option takes one.

use std::fmt::Write as _;

use common::args::{Page, Row};
use common::program::PROGRAMS;

use crate::pages::PREFIX;

/// The kind of value that an option takes.
enum Value<'a> {
    None,
    Choices(Vec<&'a str>),
    File,
    Other,
}

fn value(row: &Row) -> Value<'_> {
    match row.value {
        "" => Value::None,
        "FILE" | "LOG" | "PATH" | "DIR" => Value::File,
        choices if choices.contains('|') => Value::Choices(choices.split('|').collect()),
        _ => Value::Other,
    }
}

/// The page of a program, and those of its commands by name.
fn of_program<'a>(
    program: &'a str,
    pages: &'a [Page],
) -> impl Iterator<Item = (&'a str, &'a Page)> {
    pages.iter().filter_map(move |page| {
        let rest = page.name.strip_prefix(PREFIX)?.strip_prefix(program)?;
        match rest.strip_prefix(' ') {
            Some(command) => Some((command, page)),
            None if rest.is_empty() => Some(("", page)),
            None => None,
        }
    })
}

fn options(page: &Page) -> String {
    let names = page.options.iter().flat_map(|row| row.names);
    names.map(|name| format!("-{name}")).collect::<Vec<_>>().join(" ")
}

/// Completion for bash, of all programs in one file.
pub(crate) fn bash(pages: &[Page]) -> String {
    let mut text = "# Completion of the line log's programs, for bash.\n".to_owned();
    for program in PROGRAMS {
        let function = format!("_line_log_{program}");
        _ = writeln!(text, "{function}() {{");
        text.push_str("  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= options=\n");
        text.push_str(
            "  [[ $COMP_CWORD -gt 1 && ${COMP_WORDS[1]} != -* ]] && command=${COMP_WORDS[1]}\n",
        );
        text.push_str("  case $command in\n");
        for (command, page) in of_program(program, pages) {
            bash_of_page(&mut text, command, page);
        }
        text.push_str("  esac\n");
        // Option names contain dashes: only the first dash of each word is doubled.
        text.push_str(
            "  [[ $word == --* ]] && options=$(sed -E 's/(^| )-/\\1--/g' <<<\"$options\")\n",
        );
        text.push_str("  COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n}\n");
        _ = writeln!(text, "complete -o filenames -F {function} {PREFIX}{program}");
    }
    text
}

/// The completion of a program's own options, or of a command.
fn bash_of_page(text: &mut String, command: &str, page: &Page) {
    let pattern = if command.is_empty() { "''" } else { command };
    let names: Vec<_> = page.commands.iter().map(|(name, _)| *name).collect();
    let names = names.join(" ");
    _ = writeln!(text, "  {pattern})\n    options='{}'", options(page));
    if !names.is_empty() {
        _ = writeln!(text, "    [[ $COMP_CWORD -eq 1 ]] && options=\"$options {names}\"");
    }
    text.push_str("    case ${before/#--/-} in\n");
    for row in &page.options {
        let names = row.names.iter().map(|name| format!("-{name}"));
        let names = names.collect::<Vec<_>>().join("|");
        match value(row) {
            Value::None => {}
            Value::Choices(choices) => {
                let choices = choices.join(" ");
                _ = writeln!(
                    text,
                    "    {names}) COMPREPLY=($(compgen -W '{choices}' -- \"$word\")); return ;;"
                );
            }
            Value::File => {
                _ = writeln!(
                    text,
                    "    {names}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;"
                );
            }
            Value::Other => {
                _ = writeln!(text, "    {names}) COMPREPLY=(); return ;;");
            }
        }
    }
    text.push_str("    esac\n");
    if page.has_operands {
        text.push_str(
            "    [[ $word != -* ]] && { COMPREPLY=($(compgen -f -- \"$word\")); return; }\n",
        );
    }
    text.push_str("    ;;\n");
}

/// Completion for zsh, of one program.
pub(crate) fn zsh(program: &str, pages: &[Page]) -> String {
    let mut text = format!("#compdef {PREFIX}{program}\n\nlocal command=''\n");
    text.push_str(
        "[[ $CURRENT -gt 2 && $words[2] != -* ]] && command=$words[2]\ncase $command in\n",
    );
    for (command, page) in of_program(program, pages) {
        let pattern = if command.is_empty() { "''" } else { command };
        _ = writeln!(text, "{pattern})");
        if !page.commands.is_empty() {
            let names: Vec<_> =
                page.commands.iter().map(|(name, about)| describe(name, about)).collect();
            let names = names.join(" ");
            _ = writeln!(
                text,
                "  (( CURRENT == 2 )) && {{ local -a names=({names}); _describe command names; }}"
            );
        }
        text.push_str("  _arguments \\\n");
        if !command.is_empty() {
            _ = writeln!(text, "    '1:command:({command})' \\");
        }
        for row in &page.options {
            for name in row.names {
                let help = quote_zsh(&row.help);
                let value = match value(row) {
                    Value::None => String::new(),
                    Value::Choices(choices) => format!(":{}:({})", "choice", choices.join(" ")),
                    Value::File => ":file:_files".to_owned(),
                    Value::Other => format!(":{}:", row.value.replace([':', '[', ']'], " ")),
                };
                _ = writeln!(text, "    '-{name}[{help}]{value}' \\");
            }
        }
        let operands = if page.has_operands { "'*:file:_files'" } else { "" };
        _ = writeln!(text, "    {operands}\n  ;;");
    }
    text.push_str("esac\n");
    text
}

fn describe(name: &str, about: &str) -> String {
    format!("'{name}:{}'", quote_zsh(about))
}

fn quote_zsh(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

/// Completion for fish, of one program.
pub(crate) fn fish(program: &str, pages: &[Page]) -> String {
    let name = format!("{PREFIX}{program}");
    let mut text = format!("# Completion of {name}, for fish.\ncomplete -c {name} -f\n");
    let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let commands: Vec<_> = of_program(program, pages)
        .filter(|(command, _)| !command.is_empty())
        .map(|(command, _)| command)
        .collect();
    let commands = commands.join(" ");
    for (command, page) in of_program(program, pages) {
        let when = match command {
            "" if commands.is_empty() => String::new(),
            "" => format!(" -n 'not __fish_seen_subcommand_from {commands}'"),
            command => format!(" -n '__fish_seen_subcommand_from {command}'"),
        };
        for (name_of_command, about) in page.commands {
            _ = writeln!(text, "complete -c {name}{when} -a {name_of_command} -d {}", quote(about));
        }
        if page.has_operands {
            _ = writeln!(text, "complete -c {name}{when} -F");
        }
        for row in &page.options {
            for option in row.names {
                let value = match value(row) {
                    Value::None => String::new(),
                    Value::Choices(choices) => format!(" -x -a {}", quote(&choices.join(" "))),
                    Value::File => " -r -F".to_owned(),
                    Value::Other => " -x".to_owned(),
                };
                let help = quote(&row.help);
                _ = writeln!(text, "complete -c {name}{when} -o {option}{value} -d {help}");
            }
        }
    }
    text
}
