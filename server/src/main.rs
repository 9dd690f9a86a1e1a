//! The `server` program: takes lines over TCP, writes them to its log, and answers `ok`.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use http::HttpServer;
use mio::net::TcpListener;
use signal_hook::consts::SIGTTOU;

use common::process::{self, ParentCheck};
use common::units::plural;
use server::admission::Admission;
use server::backend::BackEnd;
use server::backend::file::LogFile;
use server::backend::stream::StreamLog;
use server::diagnostics::Stderr;
use server::figures::Figures;
use server::journal::rotation::Rotation;
use server::journal::{Journal, Left, Opened, Opening};
use server::options::{COMMAND, Config, ReplyMode};
use server::server::{HANDLED_SIGNALS, REFUSALS, Server};
use server::systemd::{self, Supervisor};
use server::terminal::Terminal;
use server::tls::Acceptor;

/// Descriptors that will be opened and are not for clients. These are the server's own handles on standard
/// output and error, the poll, the signals and the `sock_diag` socket. The log takes three: its file, a
/// second one while it is reopened, and its directory. A few are spare.
const RESERVED_DESCRIPTORS: usize = 12;

fn main() -> ExitCode {
    common::args::built_from(env!("LINE_LOG_COMMIT"));
    let config = match COMMAND.read(Config::default(), std::env::args_os().skip(1)) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let prepared = prepare_signals();
    let stderr = Stderr::open(config.utc);
    stderr.install_logger();
    if let Err(error) = prepared {
        log::warn!("cannot prepare for signals: {error}");
    }
    let served = serve(config, &stderr);
    let code = match &served {
        Ok(figures) => {
            stderr.say(&figures.to_string());
            ExitCode::SUCCESS
        }
        Err(message) => {
            stderr.say(&format!("server: {message}"));
            ExitCode::FAILURE
        }
    };
    stderr.finish();
    code
}

/// Unblocks the handled signals, which the parent process may have blocked. Blocks SIGTTOU, by which a
/// terminal may stop a background process that writes to it. Call it before any thread starts, since
/// threads inherit the mask.
fn prepare_signals() -> io::Result<()> {
    process::unblock_signals(HANDLED_SIGNALS)?;
    process::block_signal(SIGTTOU)
}

/// Binds before it opens the log, so that a second server on the same port does not touch the log.
fn serve(mut config: Config, stderr: &Stderr) -> Result<Figures, String> {
    if let ParentCheck::Foreign(pid) =
        process::end_with_launcher().map_err(|error| error.to_string())?
    {
        let name = process::LAUNCHER_PID;
        log::warn!("{name}={pid} in the environment names no launcher of this server: ignored");
    }
    let tls = Acceptor::open(&config)?;
    for warning in tls.iter().flat_map(Acceptor::warnings) {
        log::warn!("{warning}");
    }
    let descriptors = process::raise_descriptor_limit();
    let supervisor = Supervisor::from_env()?;
    let inherited = systemd::Sockets::from_env()?;
    let leaves_backlog = !inherited.clients.is_empty();
    let sockets = open_sockets(&config, inherited.clients)?;
    let http = open_metrics(&config, inherited.metrics)?;
    let for_http = http.as_ref().map_or(0, |_| http::DESCRIPTORS);
    limit_clients(&mut config, descriptors, sockets.len(), for_http)?;
    let start = Start {
        admission: Admission::new(&config, tls),
        sockets,
        http,
        supervisor,
        leaves_backlog,
        stderr,
    };
    match config.stream.settings() {
        None => {
            let log = open_file(&config, stderr)?;
            start.serve(&config, log, &config.log().display())
        }
        Some(settings) => {
            let log = StreamLog::open(settings, config.format, config.max_message)?;
            stderr.say(&log.promise());
            start.serve(&config, log, &"the stream")
        }
    }
}

/// Opens the log, and reports what it emptied or found damaged.
fn open_file(config: &Config, stderr: &Stderr) -> Result<LogFile, String> {
    let log = config.log();
    let mut rotation = rotation(config, &log)?;
    let like = rotation
        .as_ref()
        .and_then(Rotation::ownership_of_missing_log);
    let path = log.display();
    let opened = Journal::open_like(&log, config.opening, config.sync, like);
    let opened: Opened = opened.map_err(|error| {
        let what = format!("cannot open the log {path}: {error}");
        with_advice(&what, advice(&error, config.opening))
    })?;
    if opened.emptied_bytes > 0 {
        let bytes = plural(opened.emptied_bytes, "byte");
        stderr.say(&format!("emptied {path}: {bytes}; -append keeps them"));
    }
    if !opened.damage.is_none() {
        log::warn!("{path}: {}", opened.damage);
    }
    if let Some(rotation) = &mut rotation {
        report_damage(rotation, opened.journal.length().unwrap_or(0));
    }
    let mut file = LogFile::new(opened.journal, log);
    if let Some(rotation) = rotation {
        file.rotate_at(config.rotation, rotation, Instant::now());
    }
    Ok(file)
}

/// Reports the damage that a crash or a power failure has left in rotated files.
fn report_damage(rotation: &mut Rotation, logged: u64) {
    for (file, damage) in rotation.find_damage(logged) {
        let file = file.display();
        match damage {
            Ok(damage) => log::warn!("{file}: {}", Left(damage)),
            Err(error) => log::warn!("{file} cannot be looked through for damage: {error}"),
        }
    }
}

/// Everything that was opened before the log.
struct Start<'a> {
    admission: Admission,
    sockets: Vec<TcpListener>,
    http: Option<HttpServer>,
    supervisor: Supervisor,
    leaves_backlog: bool,
    stderr: &'a Stderr,
}

impl Start<'_> {
    /// Serves until a stop is complete. `name` is the name of the log.
    fn serve<B: BackEnd>(
        self,
        config: &Config,
        log: B,
        name: &dyn Display,
    ) -> Result<Figures, String> {
        let stderr = self.stderr;
        let terminal = if config.quiet {
            Terminal::closed()
        } else {
            Terminal::open(io::stdout())
        };
        let cannot_start = |error: io::Error| format!("cannot start: {error}");
        let metrics_at = self.http.iter().flat_map(HttpServer::addresses);
        let metrics_at: Vec<_> = metrics_at
            .collect::<io::Result<_>>()
            .map_err(cannot_start)?;
        let server = Server::new(
            config,
            self.admission,
            self.sockets,
            self.http,
            log,
            terminal,
            stderr.clone(),
        );
        let mut server = server.map_err(cannot_start)?;
        server.handle_signals().map_err(cannot_start)?;
        if config.reply_mode == ReplyMode::None {
            stderr.say("nothing is answered (-replies none): no sender learns what is in the log");
        }
        for address in metrics_at {
            stderr.say(&format!("metrics at http://{address}/metrics"));
        }
        let addresses = server.addresses().map_err(cannot_start)?;
        warn_of_openness(config, &addresses);
        for address in addresses {
            stderr.say(&format!("listening on {address}"));
        }
        server.serve_under(self.supervisor, self.leaves_backlog);
        server.run().map_err(|failure| failure.describe(name))
    }
}

/// Listens for clients, unless sockets were inherited.
fn open_sockets(
    config: &Config,
    inherited: Vec<std::net::TcpListener>,
) -> Result<Vec<TcpListener>, String> {
    if !inherited.is_empty() {
        return adopt(inherited, config.sockets.keepalive);
    }
    net::listen(&config.host, config.port, config.sockets)
        .map_err(|error| with_advice(&error, "choose another -host or -port"))
}

fn adopt(
    inherited: Vec<std::net::TcpListener>,
    keepalive: Option<Duration>,
) -> Result<Vec<TcpListener>, String> {
    let adopted = inherited
        .into_iter()
        .map(|socket| net::adopt(socket, keepalive));
    let adopted = adopted.collect::<io::Result<_>>();
    adopted.map_err(|error| format!("cannot use a socket of LISTEN_FDS: {error}"))
}

/// Listens for requests for metrics and health.
fn open_metrics(
    config: &Config,
    inherited: Vec<std::net::TcpListener>,
) -> Result<Option<HttpServer>, String> {
    let sockets = match &config.metrics {
        _ if !inherited.is_empty() => adopt(inherited, None)?,
        None => return Ok(None),
        Some((host, port)) => {
            let listening = net::listen(host, *port, net::Options::default());
            listening.map_err(|error| {
                with_advice(&format!("-metrics: {error}"), "choose another HOST:PORT")
            })?
        }
    };
    Ok(HttpServer::new(sockets))
}

/// Warns if clients on other hosts can connect without encryption and without `-allow`.
fn warn_of_openness(config: &Config, addresses: &[SocketAddr]) {
    let mut open = addresses
        .iter()
        .filter(|address| !address.ip().to_canonical().is_loopback());
    if config.tls_cert.is_none()
        && config.allow.is_none()
        && let Some(address) = open.next()
    {
        log::warn!(
            "every host that can reach {address} can write to the log, and traffic is not \
             encrypted; use -allow and -tls-cert"
        );
    }
}

/// Prepares rotation. Errors that would prevent it are found before the log is emptied.
fn rotation(config: &Config, log: &Path) -> Result<Option<Rotation>, String> {
    if !config.rotation.rotates() {
        return Ok(None);
    }
    let rotation = Rotation::new(log, config.utc, config.rotation.keep).map_err(|error| {
        let what = format!("cannot rotate the log {}: {error}", log.display());
        with_advice(
            &what,
            "choose another -log, or leave -rotate-size and -rotate-every out",
        )
    });
    rotation.map(Some)
}

/// Limits the number of clients to the descriptors available.
fn limit_clients(
    config: &mut Config,
    descriptors: usize,
    listeners: usize,
    for_http: usize,
) -> Result<(), String> {
    // The listening sockets and inherited descriptors are open already.
    let reserved =
        process::open_descriptors().max(listeners) + RESERVED_DESCRIPTORS + REFUSALS + for_http;
    let possible = descriptors.saturating_sub(reserved);
    if possible == 0 {
        return Err(format!(
            "{descriptors} open files are too few, {} at least are needed: raise 'ulimit -n'",
            reserved + 1
        ));
    }
    if let Some(wanted) = config.max_clients.filter(|wanted| *wanted > possible) {
        log::warn!(
            "-max-clients {wanted} is lowered to {possible}: {descriptors} files may be open \
             ('ulimit -n')"
        );
    }
    let wanted = config.max_clients.unwrap_or(possible);
    config.max_clients = Some(wanted.min(possible));
    Ok(())
}

fn advice(error: &io::Error, opening: Opening) -> &'static str {
    match (error.kind(), opening) {
        (io::ErrorKind::InvalidData, Opening::Overwrite) => "choose another -log, or delete it",
        _ => "choose another -log",
    }
}

fn with_advice(what: &dyn Display, advice: &str) -> String {
    format!("{what}; {advice}")
}
