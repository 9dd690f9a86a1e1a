//! Development commands of the project: `cargo xtask COMMAND`. One file per command.

mod bench;
mod cluster;
mod dist;
mod release;
mod report;
mod run_all;
mod torture;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use self::report::say;

/// Exit code for an invalid command line.
const EXIT_USAGE: u8 = 2;

/// A command: its name, what it does, and its function. The function gets the rest of the command line.
type Command = (&'static str, &'static str, fn(Vec<OsString>) -> ExitCode);

const COMMANDS: &[Command] = &[
    (
        "run-all [OPTIONS]",
        "build all programs and run the launcher; -tls makes certificates, too",
        run_all::main,
    ),
    ("bench [OPTIONS]", "compare the server with its peers; -quick takes a minute", bench::main),
    (
        "cluster [OPTIONS]",
        "run two servers behind HAProxy that share a stream; -keep leaves them up",
        cluster::main,
    ),
    ("dist", "make packages of the programs, with manuals and completions", dist::main),
    (
        "torture [OPTIONS]",
        "break things around the server again and again; -stream: nodes of NATS",
        torture::main,
    ),
];

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    let Some(name) = args.first() else {
        say(io::stderr(), &usage());
        return ExitCode::from(EXIT_USAGE);
    };
    if ["-h", "-help", "--help"].iter().any(|help| name == help) {
        say(io::stdout(), &usage());
        return ExitCode::SUCCESS;
    }
    let known = |(usage, ..): &&Command| usage.split(' ').next().is_some_and(|n| name == n);
    let Some((_, _, run)) = COMMANDS.iter().find(known) else {
        let name = name.to_string_lossy();
        let hint = match nearest(&name) {
            Some(nearest) => format!(": did you mean '{nearest}'?"),
            None => String::new(),
        };
        let why = format!("xtask: unknown command '{name}'{hint}\n\n{}", usage());
        say(io::stderr(), &why);
        return ExitCode::from(EXIT_USAGE);
    };
    run(args.split_off(1))
}

/// The known command nearest to `typed`, at most two edits away.
fn nearest(typed: &str) -> Option<&'static str> {
    let names = COMMANDS.iter().filter_map(|(usage, ..)| usage.split(' ').next());
    let distance = |name: &&str| strsim::damerau_levenshtein(typed, name);
    let nearest = names.min_by_key(distance)?;
    (distance(&nearest) <= 2).then_some(nearest)
}

fn usage() -> String {
    let mut text = "Usage: cargo xtask COMMAND\n\nCommands:\n".to_owned();
    for (usage, about, _) in COMMANDS {
        _ = writeln!(text, "  {usage}\n      {about}");
    }
    text.push_str(
        "
Examples:
  cargo xtask run-all --clients 5
      one server and five clients; a summary at the end
  cargo xtask run-all -help
      the launcher's options
  cargo xtask bench -quick
      the server and its peers, in a minute
",
    );
    text
}
