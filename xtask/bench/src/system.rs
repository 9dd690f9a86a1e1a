//! The systems to measure: the baseline, this server in its variants, and its peers.

use crate::cpus::Side;
use crate::publisher::Unit;

/// A server to measure.
#[derive(Debug)]
pub(crate) struct System {
    /// The name in `-only` and in the tables.
    pub(crate) name: &'static str,
    /// Where a message is when it is acknowledged.
    pub(crate) promise: &'static str,
    pub(crate) program: Program,
    /// Separated by spaces. `{dir}` and `{port}` stand for its own directory and port, `{nats}` for the
    /// URL of its stream.
    pub(crate) arguments: &'static str,
    /// The content of `{dir}/server.conf`, with the same placeholders.
    pub(crate) config: &'static str,
    pub(crate) stdout: Stdout,
    pub(crate) dialect: Dialect,
    /// The largest number of connections it takes in reasonable time.
    pub(crate) most_connections: usize,
    /// It writes messages to a file.
    pub(crate) keeps_log: bool,
    /// It speaks TLS, with `{dir}/server.pem` and `{dir}/server.key`, or both in `{dir}/both.pem`; its
    /// CA is `{dir}/ca.pem`.
    pub(crate) tls: bool,
    /// The server behind this proxy, by name; it listens at `{backend}`. The CPU time of both counts.
    pub(crate) in_front_of: Option<&'static str>,
    /// The number of NATS nodes that keep its stream.
    pub(crate) nodes: usize,
}

/// The program to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Built with the benchmark.
    Own(&'static str),
    /// A program of the operating system, and the Debian packages that contain it.
    Installed {
        name: &'static str,
        packages: &'static str,
    },
    /// No program: the benchmark itself publishes to the stream.
    Publisher(Unit),
}

/// Where a server's stdout goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdout {
    /// `/dev/null`.
    Null,
    /// A pipe that is read at once.
    Read,
    /// A pipe that is never read.
    Stalled,
}

/// The protocol of a server.
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

/// This server with a replicated stream.
pub(crate) const STREAMING: &str = "server-stream-r3";

/// The upper bound for such a stream: bare batches, published without a server.
pub(crate) const BATCHES: &str = "nats-batches-r3";

/// As many connections as the descriptor limit allows.
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
        // More handshakes would take too long.
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
        // With several thousand connections it takes seconds to accept the next.
        most_connections: 1000,
        ..server(
            "rsyslog",
            "in a queue in memory, before it is written",
            "-n -f {dir}/server.conf -i {dir}/pid",
        )
    },
    System {
        program: installed("python3", "python3"),
        // One thread per connection.
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

/// The system of this name.
pub(crate) fn named(name: &str) -> Option<&'static System> {
    SYSTEMS.iter().find(|system| system.name == name)
}

/// This server over TLS, without and with client certificates.
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

/// This server, and the defaults of the other systems.
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

/// This server with a stream for its log.
const fn streaming(name: &'static str, promise: &'static str, nodes: usize) -> System {
    System {
        nodes,
        // The largest load with a publisher to compare with.
        most_connections: 1000,
        ..server(name, promise, "-port 0 -stream LOG -id bench -nats {nats}")
    }
}

/// A publisher to such a stream, without a server.
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

/// A TLS proxy in front of this server, which then speaks plain TCP.
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
    /// The CPUs for it or its client: `side`, or all for a system with NATS nodes.
    pub(crate) fn side(&self, side: Side) -> Side {
        match self.nodes {
            0 => side,
            _ => Side::Anywhere,
        }
    }
}

impl Dialect {
    /// The options with which `client load` speaks it, for messages of `bytes` bytes.
    pub(crate) fn options(self, bytes: usize) -> Vec<String> {
        // Fixed text: a template that changes per message costs the client CPU time.
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
            // Transactions are numbered, but rsyslog accepts 0 for any number.
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
