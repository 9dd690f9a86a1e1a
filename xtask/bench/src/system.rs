//! What is measured: the baseline, our server in its variants, and its peers.

use crate::cpus::Side;
use crate::publisher::Unit;

/// A server to measure.
#[derive(Debug)]
pub(crate) struct System {
    /// As `-only` and the tables name it.
    pub(crate) name: &'static str,
    /// Where a message is when it is acknowledged.
    pub(crate) promise: &'static str,
    pub(crate) program: Program,
    /// Separated by spaces; `{dir}` and `{port}` stand for a directory and a port of its own, `{nats}` for
    /// where its stream is.
    pub(crate) arguments: &'static str,
    /// What is put into `{dir}/server.conf`, with the same placeholders.
    pub(crate) config: &'static str,
    pub(crate) stdout: Stdout,
    pub(crate) dialect: Dialect,
    /// More it does not take, or not in a time that anybody waits.
    pub(crate) most_connections: usize,
    /// It writes what it is sent to a file.
    pub(crate) keeps_log: bool,
    /// It speaks TLS, with `{dir}/server.pem` and `{dir}/server.key`, or both in `{dir}/both.pem`; its
    /// authority is `{dir}/ca.pem`.
    pub(crate) tls: bool,
    /// It stands in front of the one of this name, which listens at `{backend}`; what both use counts.
    pub(crate) in_front_of: Option<&'static str>,
    /// How many nodes of NATS keep a stream for it.
    pub(crate) nodes: usize,
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Built beside the benchmark.
    Own(&'static str),
    /// A program of the system, and the Debian packages that bring it.
    Installed {
        name: &'static str,
        packages: &'static str,
    },
    /// Nothing: the benchmark itself publishes to the stream.
    Publisher(Unit),
}

/// What a server's stdout leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdout {
    /// `/dev/null`.
    Null,
    /// A pipe that is read as fast as it fills.
    Read,
    /// A pipe that nobody reads.
    Stalled,
}

/// The language that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Line,
    Redis,
    Memcached,
    Nats,
    Relp,
}

/// The server that the others are compared with.
pub(crate) const BASELINE: &str = "baseline";

/// Our server with a stream that is replicated.
pub(crate) const STREAMING: &str = "server-stream-r3";

/// What there is to win with such a stream.
pub(crate) const BATCHES: &str = "nats-batches-r3";

/// As many connections as a process here may have: nobody is asked for more.
const ANY: usize = usize::MAX;

pub(crate) const SYSTEMS: &[System] = &[
    System {
        program: Program::Own("baseline"),
        arguments: "",
        keeps_log: false,
        ..server(BASELINE, "nowhere: a bare mio loop that keeps nothing", "")
    },
    server("server", "in the log, page cache", "-port 0 -log {dir}/log"),
    server(
        "server-quiet",
        "in the log, page cache; not shown",
        "-port 0 -log {dir}/log -quiet",
    ),
    System {
        stdout: Stdout::Read,
        ..server(
            "server-piped",
            "in the log, page cache; shown to a pipe that is read",
            "-port 0 -log {dir}/log",
        )
    },
    System {
        stdout: Stdout::Stalled,
        ..server(
            "server-stalled",
            "in the log, page cache; shown to a pipe that nobody reads",
            "-port 0 -log {dir}/log",
        )
    },
    server(
        "server-sync",
        "in the log, synced to disk",
        "-port 0 -log {dir}/log -sync",
    ),
    server(
        "server-json",
        "in the log as JSON, page cache",
        "-port 0 -log {dir}/log -format json",
    ),
    System {
        tls: true,
        // Nobody waits for more handshakes.
        most_connections: 1000,
        ..server(
            "server-tls",
            "in the log, page cache; over TLS",
            "-port 0 -log {dir}/log -tls-cert {dir}/server.pem -tls-key {dir}/server.key",
        )
    },
    System {
        config: include_str!("../peers/haproxy.cfg"),
        ..in_front(
            "haproxy-tls",
            installed("haproxy", "haproxy"),
            "-db -f {dir}/server.conf",
        )
    },
    System {
        config: include_str!("../peers/stunnel.conf"),
        ..in_front(
            "stunnel-tls",
            installed("stunnel4", "stunnel4"),
            "{dir}/server.conf",
        )
    },
    System {
        config: concat!(
            include_str!("../peers/redis.conf"),
            include_str!("../peers/redis-tls.conf"),
            "appendfsync everysec\n"
        ),
        tls: true,
        most_connections: 1000,
        ..redis("redis-tls", "in the append-only file, page cache; over TLS")
    },
    System {
        config: concat!(
            include_str!("../peers/redis.conf"),
            "appendfsync everysec\n"
        ),
        ..redis("redis-everysec", "in the append-only file, page cache")
    },
    System {
        config: concat!(include_str!("../peers/redis.conf"), "appendfsync always\n"),
        ..redis("redis-always", "in the append-only file, synced to disk")
    },
    System {
        program: installed("memcached", "memcached"),
        dialect: Dialect::Memcached,
        keeps_log: false,
        ..server(
            "memcached",
            "in memory only",
            "-t 1 -l 127.0.0.1 -p {port} -U 0 -c 19500 -u root",
        )
    },
    System {
        program: installed("nats-server", "nats-server"),
        dialect: Dialect::Nats,
        keeps_log: false,
        ..server(
            "nats",
            "nowhere: `+OK` says that it is well-formed",
            "-a 127.0.0.1 -p {port}",
        )
    },
    System {
        program: installed("rsyslogd", "rsyslog rsyslog-relp"),
        config: include_str!("../peers/rsyslog.conf"),
        dialect: Dialect::Relp,
        // With several thousand it takes seconds to accept the next.
        most_connections: 1000,
        ..server(
            "rsyslog",
            "in a queue in memory, before it is written",
            "-n -f {dir}/server.conf -i {dir}/pid",
        )
    },
    System {
        program: installed("python3", "python3"),
        // A thread each.
        most_connections: 1000,
        ..server(
            "python",
            "in the log, page cache",
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/peers/line_server.py {dir}/log"
            ),
        )
    },
    streaming(
        "server-stream-r1",
        "in the stream, synced by its node on this machine",
        1,
    ),
    publishing("nats-lines-r1", Unit::Line, 1),
    publishing("nats-batches-r1", Unit::Batch, 1),
    streaming(
        STREAMING,
        "in the stream, synced by 3 nodes, all on this machine",
        3,
    ),
    publishing("nats-lines-r3", Unit::Line, 3),
    publishing(BATCHES, Unit::Batch, 3),
];

/// The one that is called so.
pub(crate) fn named(name: &str) -> Option<&'static System> {
    SYSTEMS.iter().find(|system| system.name == name)
}

/// Our server over TLS, without and with certificates of the clients.
pub(crate) const SECURE: [System; 2] = [
    System {
        tls: true,
        ..server(
            "server-tls",
            "",
            "-port 0 -log {dir}/log -tls-cert {dir}/server.pem -tls-key {dir}/server.key",
        )
    },
    System {
        tls: true,
        ..server(
            "server-tls",
            "",
            "-port 0 -log {dir}/log -tls-cert {dir}/server.pem -tls-key {dir}/server.key \
             -tls-client-ca {dir}/ca.pem",
        )
    },
];

/// Our server, and what most of the others have in common with it.
const fn server(name: &'static str, promise: &'static str, arguments: &'static str) -> System {
    System {
        name,
        promise,
        program: Program::Own("server"),
        arguments,
        config: "",
        stdout: Stdout::Null,
        dialect: Dialect::Line,
        most_connections: ANY,
        keeps_log: true,
        tls: false,
        in_front_of: None,
        nodes: 0,
    }
}

/// Our server with a stream for its log.
const fn streaming(name: &'static str, promise: &'static str, nodes: usize) -> System {
    System {
        nodes,
        // Nobody waits for more, and a publisher has none.
        most_connections: 1000,
        ..server(name, promise, "-port 0 -stream LOG -id bench -nats {nats}")
    }
}

/// A publisher with such a stream, and no server.
const fn publishing(name: &'static str, unit: Unit, nodes: usize) -> System {
    let promise = match unit {
        Unit::Line => "the same: a message of the stream for each line",
        Unit::Batch => "the same: such batches as the server makes, bare",
    };
    System {
        program: Program::Publisher(unit),
        ..streaming(name, promise, nodes)
    }
}

/// A program that speaks TLS in front of our server, which does not.
const fn in_front(name: &'static str, program: Program, arguments: &'static str) -> System {
    System {
        program,
        tls: true,
        in_front_of: Some("server"),
        most_connections: 1000,
        ..server(
            name,
            "in the log, page cache; over TLS to what stands in front",
            arguments,
        )
    }
}

const fn redis(name: &'static str, promise: &'static str) -> System {
    System {
        program: installed("redis-server", "redis-server"),
        dialect: Dialect::Redis,
        ..server(name, promise, "{dir}/server.conf")
    }
}

const fn installed(name: &'static str, packages: &'static str) -> Program {
    Program::Installed { name, packages }
}

impl System {
    /// Where it, or its client, is to run.
    pub(crate) fn side(&self, side: Side) -> Side {
        match self.nodes {
            0 => side,
            _ => Side::Anywhere,
        }
    }
}

impl Dialect {
    /// The options with which `client load` speaks it, for messages of so many bytes.
    pub(crate) fn options(self, bytes: usize) -> Vec<String> {
        // Nothing in it changes from message to message: the client has enough to do.
        let text = match bytes {
            21 => "Thread 3, iteration 1".to_owned(),
            bytes => format!("{{pad:{bytes}}}"),
        };
        let (message, reply) = match self {
            Self::Line => (text, "ok"),
            Self::Redis => {
                let key = "$5\\r\\n{conn:5}\\r\\n";
                let message = format!("*3\\r\\n$3\\r\\nSET\\r\\n{key}${bytes}\\r\\n{text}\\r\\n");
                (message, "+OK")
            }
            Self::Memcached => {
                let message = format!("set {{conn:5}} 0 0 {bytes}\\r\\n{text}\\r\\n");
                (message, "STORED")
            }
            Self::Nats => (format!("PUB log {bytes}\\r\\n{text}\\r\\n"), "+OK"),
            // Transactions are numbered, but rsyslog takes 0 for any number.
            Self::Relp => (format!("0 syslog {bytes} {text}\\n"), "0 rsp 6 200 OK"),
        };
        let mut options = vec!["-message".to_owned(), message];
        options.extend(["-reply".to_owned(), reply.to_owned()]);
        let hello: &[&str] = match self {
            Self::Nats => &[
                "-hello",
                "CONNECT {\"verbose\":true,\"pedantic\":false}\\r\\n",
                "-hello-lines",
                "2",
                "-ignore",
                "PING",
            ],
            Self::Relp => &[
                "-hello",
                "1 open 30 relp_version=0\\ncommands=syslog\\n",
                "-hello-lines",
                "4",
            ],
            _ => &[],
        };
        options.extend(hello.iter().map(|&option| option.to_owned()));
        options
    }
}
