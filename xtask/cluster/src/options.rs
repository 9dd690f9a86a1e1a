//! Command-line options of `cargo xtask cluster`.

use std::path::PathBuf;

use common::args::{Command, Opt};

pub(crate) const COMMAND: Command<Options> = Command {
    name: "cluster",
    usage: "[options]",
    about: "Starts three nats-servers, two servers of the line log that keep their lines in a stream \
            there, and HAProxy in front of them, on free ports of this machine; has five clients send \
            their lines through it; and sees that each is in the stream, once and in order.",
    options: &[
        Opt {
            names: &["keep"],
            value: "",
            help: "leave all of it running until Ctrl-C",
            take: |o, _| {
                o.keep = true;
                Ok(())
            },
        },
        Opt {
            names: &["dir"],
            value: "FOLDER",
            help: "where to write the configuration files, and keep the stream: a folder that is new or \
                   empty (default: target/cluster, which is emptied)",
            take: |o, v| v.path().map(|it| o.folder = Some(it)),
        },
    ],
    commands: &[],
    operand: None,
    check: |_| Ok(()),
    examples: &[
        ("cargo xtask cluster", "does it all work together here?"),
        (
            "cargo xtask cluster -keep",
            "something to play with: kill nodes, and see what a client notices of it",
        ),
    ],
    notes: "Python 3 with its venv brings nats-server; where that or HAProxy cannot be had, it says so and \
            does nothing.\n\
            Exit codes: 0 all is well, or something cannot be had; 1 something is wrong; 2 bad options.",
};

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) keep: bool,
    pub(crate) folder: Option<PathBuf>,
}
