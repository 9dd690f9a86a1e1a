//! Support for tests: fake servers, and the JSON of the client.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::Value;
use test_support::commands::{client, finish};

/// A fake server on its own port. Each connection has a thread.
pub struct Fake {
    pub address: SocketAddr,
}

impl Fake {
    /// Calls `serve` with each connection and its number, from 0, in the order of arrival.
    pub fn serving(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            thread::scope(|scope| {
                for (number, stream) in listener.incoming().enumerate() {
                    let Ok(stream) = stream else { return };
                    let serve = &serve;
                    scope.spawn(move || serve(stream, number));
                }
            });
        });
        Self { address }
    }

    /// Calls `answer` with each line, without LF, and its number on its connection, and sends what
    /// it returns.
    pub fn answering(answer: impl Fn(&str, u64) -> String + Send + Sync + 'static) -> Self {
        Self::serving(move |stream, _| answer_lines(stream, &answer))
    }

    /// `client load` against this server.
    pub fn load(&self, args: &[&str]) -> Command {
        let mut command = client(&["load", "-host", "127.0.0.1"]);
        command.args(["-port", &self.address.port().to_string()]).args(args);
        command
    }

    /// The object that `client load -json` prints, and the exit code.
    pub fn measure(&self, args: &[&str]) -> (Value, i32) {
        let output = finish(self.load(args).arg("-json"));
        let json = serde_json::from_slice(&output.stdout);
        let json: Value = json.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        check_sums(&json);
        (json, output.status.code().unwrap())
    }
}

/// Answers each line of a connection until it ends.
pub fn answer_lines(stream: TcpStream, answer: impl Fn(&str, u64) -> String) {
    stream.set_nodelay(true).unwrap();
    let mut out = stream.try_clone().unwrap();
    for (number, line) in (0..).zip(BufReader::new(stream).lines()) {
        let Ok(line) = line else { return };
        if out.write_all(answer(&line, number).as_bytes()).is_err() {
            return;
        }
    }
}

/// The number at a path such as `/messages/sent`.
pub fn number(json: &Value, path: &str) -> f64 {
    let value = json.pointer(path).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("{path} is no number in {json}"))
}

/// The count at a path such as `/messages/sent`.
pub fn count(json: &Value, path: &str) -> u64 {
    let value = json.pointer(path).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("{path} is no count in {json}"))
}

/// Checks the sums that hold in every run.
fn check_sums(json: &Value) {
    let total = |name: &str| count(json, &format!("/messages/{name}"));
    let parts = ["acknowledged", "errors", "timeouts", "unanswered"];
    assert_eq!(total("sent"), parts.iter().map(|name| total(name)).sum::<u64>(), "{json}");
    let series = json["series"].as_array().unwrap();
    for name in ["sent", "acknowledged", "errors"] {
        let seconds = series.iter().map(|second| count(second, &format!("/{name}")));
        assert_eq!(total(name), seconds.sum::<u64>(), "{name} of the seconds in {json}");
    }
    let bars = json["distribution"].as_array().unwrap().iter();
    let bars = bars.map(|bar| bar[1].as_u64().unwrap());
    assert_eq!(total("acknowledged"), bars.sum::<u64>(), "bars in {json}");
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
