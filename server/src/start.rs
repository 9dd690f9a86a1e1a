//! The start of the server. It changes nothing before it owns everything: the order is signals, certificates,
//! sockets, then the log. So a second server on the same port does not touch the log.
//!
//! - `sockets`: the listening sockets, and how many clients the descriptors allow
//! - `log_file`: the log, if it is a file

mod log_file;
mod sockets;

use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use common::process::{self, ParentCheck};
use common::program;
use http::HttpServer;
use signal_hook::consts::SIGTTOU;

use crate::admission::Admission;
use crate::backend::BackEnd;
use crate::backend::stream::StreamLog;
use crate::backend::stream::settings::Settings;
use crate::diagnostics::Stderr;
use crate::figures::Figures;
use crate::options::{COMMAND, Config, ReplyMode};
use crate::server::Server;
use crate::server::signals::HANDLED_SIGNALS;
use crate::systemd::Supervisor;
use crate::terminal::Terminal;
use crate::tls::Acceptor;
use sockets::Sockets;

/// Runs the server with these arguments until it is stopped.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let config = match COMMAND.read(Config::default(), args) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let prepared = prepare_signals();
    let stderr = Stderr::open(config.utc);
    stderr.install_logger();
    if let Err(error) = prepared {
        log::warn!("cannot prepare for signals: {error}");
    }
    let code = match serve(config, &stderr) {
        Ok(figures) => {
            stderr.say(&figures.to_string());
            ExitCode::SUCCESS
        }
        Err(message) => {
            stderr.say(&format!("{}: {message}", program::named("server")));
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

fn serve(mut config: Config, stderr: &Stderr) -> Result<Figures, String> {
    let parent = process::end_with_launcher().map_err(|error| error.to_string())?;
    if let ParentCheck::Foreign(pid) = parent {
        let name = process::LAUNCHER_PID;
        log::warn!("{name}={pid} in the environment names no launcher of this server: ignored");
    }
    let tls = Acceptor::open(&config)?;
    for warning in tls.iter().flat_map(Acceptor::warnings) {
        log::warn!("{warning}");
    }
    let descriptors = process::raise_descriptor_limit();
    let supervisor = Supervisor::from_env()?;
    let sockets = Sockets::open(&config)?;
    config.max_clients = Some(sockets.max_clients(config.max_clients, descriptors)?);
    let start = Start {
        admission: Admission::new(&config, tls),
        config: &config,
        sockets,
        supervisor,
        stderr,
    };
    match Settings::of(&config.stream) {
        None => {
            let log = log_file::open(&config, stderr)?;
            start.serve(log, &config.log().display())
        }
        Some(settings) => {
            let log = StreamLog::open(settings, config.format, config.max_message)?;
            stderr.say(&log.promise());
            start.serve(log, &"the stream")
        }
    }
}

/// Everything that is opened before the log.
struct Start<'a> {
    config: &'a Config,
    admission: Admission,
    sockets: Sockets,
    supervisor: Supervisor,
    stderr: &'a Stderr,
}

impl Start<'_> {
    /// Serves until a stop is complete. `name` is the name of the log.
    fn serve<B: BackEnd>(self, log: B, name: &dyn Display) -> Result<Figures, String> {
        let server = self.open_server(log);
        let server = server.map_err(|error| format!("cannot start: {error}"))?;
        server.run().map_err(|failure| failure.describe(name))
    }

    /// Makes the server, and reports the addresses at which it listens.
    fn open_server<B: BackEnd>(self, log: B) -> io::Result<Server<B>> {
        let (config, stderr, sockets) = (self.config, self.stderr, self.sockets);
        let terminal = if config.quiet { Terminal::closed() } else { Terminal::open(io::stdout()) };
        let metrics_at = sockets.http.iter().flat_map(HttpServer::addresses);
        let metrics_at: Vec<_> = metrics_at.collect::<io::Result<_>>()?;
        let mut server = Server::new(
            config,
            self.admission,
            sockets.clients,
            sockets.http,
            log,
            terminal,
            stderr.clone(),
        )?;
        server.handle_signals()?;
        if config.reply_mode == ReplyMode::None {
            stderr.say("nothing is answered (-replies none): no sender learns what is in the log");
        }
        for address in metrics_at {
            stderr.say(&format!("metrics at http://{address}/metrics"));
        }
        let addresses = server.addresses()?;
        sockets::warn_of_openness(config, &addresses);
        for address in addresses {
            stderr.say(&format!("listening on {address}"));
        }
        server.serve_under(self.supervisor, sockets.are_inherited);
        Ok(server)
    }
}
