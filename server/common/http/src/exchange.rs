//! One request and its response on a connection, which is then closed.

use std::io;
use std::time::{Duration, Instant};

use common::record::one_line;
use net::Socket;

/// The maximum size of a request in bytes.
pub const MAX_REQUEST: usize = 4 << 10;

/// The maximum number of header fields.
const MAX_FIELDS: usize = 32;

/// The maximum lifetime of a connection.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The requested page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/metrics`
    Metrics,
    /// `/health`
    Health,
}

/// The response to a request.
#[derive(Debug)]
pub struct Response {
    /// Status code and reason, such as `200 OK`.
    pub status: &'static str,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Response {
    /// A response with one line of text, which may contain text of a peer.
    pub fn line(status: &'static str, text: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: one_line(text) + "\n" }
    }
}

/// What the connection waits for.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The received part of the request.
    Request(Vec<u8>),
    /// The unsent part of the response.
    Response(Vec<u8>),
    /// The end of the input, after the response was sent. A close before it could cause a reset.
    End,
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Exchange<S> {
    /// The socket, for registration with the poll.
    pub socket: S,
    stage: Stage,
    /// When the connection is closed, whatever its state.
    pub deadline: Instant,
    /// Whether a read or write may succeed.
    is_ready: bool,
}

impl<S: Socket> Exchange<S> {
    /// An exchange on an accepted connection.
    pub fn new(socket: S, now: Instant) -> Self {
        Self { socket, stage: Stage::Request(Vec::new()), deadline: now + PATIENCE, is_ready: true }
    }

    /// Handles an event of the socket.
    pub fn on_event(&mut self) {
        self.is_ready = true;
    }

    /// Whether a read or write may succeed.
    pub fn has_work(&self) -> bool {
        self.is_ready
    }

    /// How far the exchange is, for comparison: 0 without a request, 1 within one, 2 answered, 3 within a
    /// response that the peer does not read.
    pub fn progress(&self) -> u8 {
        match &self.stage {
            Stage::Over => 0,
            Stage::Request(request) => u8::from(!request.is_empty()),
            Stage::End => 2,
            Stage::Response(_) => 3,
        }
    }

    /// Whether the connection is to be closed.
    pub fn is_over(&self, now: Instant) -> bool {
        self.stage == Stage::Over || now >= self.deadline
    }

    /// Advances as far as possible. Data after the request is read once per call, since an endless sender
    /// would block the turn. `answer` makes the response when the request is complete.
    pub fn advance(&mut self, answer: impl FnOnce(Page) -> Response) {
        let mut answer = Some(answer);
        let mut has_drained = false;
        while self.is_ready && self.stage != Stage::Over && !has_drained {
            has_drained = self.stage == Stage::End;
            if let Err(error) = self.step(&mut answer) {
                match error.kind() {
                    io::ErrorKind::WouldBlock => self.is_ready = false,
                    io::ErrorKind::Interrupted => {}
                    _ => self.stage = Stage::Over,
                }
            }
        }
    }

    fn step(&mut self, answer: &mut Option<impl FnOnce(Page) -> Response>) -> io::Result<()> {
        let mut buffer = [0; MAX_REQUEST];
        match &mut self.stage {
            Stage::Request(request) => {
                let room = MAX_REQUEST - request.len();
                let n = self.socket.read(&mut buffer[..room])?;
                request.extend_from_slice(&buffer[..n]);
                debug_assert!(request.len() <= MAX_REQUEST);
                if let Some(response) = judge(request, n == 0, answer) {
                    self.stage = Stage::Response(response);
                }
            }
            Stage::Response(left) if left.is_empty() => {
                self.socket.end()?;
                self.stage = Stage::End;
            }
            Stage::Response(left) => {
                let n = self.socket.write(left)?;
                left.drain(..n);
            }
            // Data after the request is discarded.
            Stage::End => {
                if self.socket.read(&mut buffer)? == 0 {
                    self.stage = Stage::Over;
                }
            }
            Stage::Over => {}
        }
        Ok(())
    }
}

/// The whole response, if the request is complete or invalid. It is empty if the input ended too early.
fn judge(
    request: &[u8],
    is_cut: bool,
    answer: &mut Option<impl FnOnce(Page) -> Response>,
) -> Option<Vec<u8>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let parsed = head.parse(request);
    // RFC 9110, section 9.3.2: a response to HEAD has no body.
    let with_body = head.method != Some("HEAD");
    let refuse = |status, why| Some(render(&Response::line(status, why), with_body));
    match parsed {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if is_cut => return Some(Vec::new()),
        Ok(httparse::Status::Partial) if request.len() < MAX_REQUEST => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            let status = "431 Request Header Fields Too Large";
            return refuse(status, "a request has 4 KiB and 32 fields at most");
        }
        Err(_) => return refuse("400 Bad Request", "not an HTTP request"),
    }
    let page = match path_of(head.path.unwrap_or_default()) {
        "/metrics" => Page::Metrics,
        "/health" => Page::Health,
        _ => return refuse("404 Not Found", "only /metrics and /health exist"),
    };
    if !matches!(head.method, Some("GET" | "HEAD")) {
        return refuse("405 Method Not Allowed", "use GET or HEAD");
    }
    let response = answer.take()?(page);
    Some(render(&response, with_body))
}

/// The path in a target, alone or behind a scheme and a host (RFC 9112, sections 3.2.1 and 3.2.2).
fn path_of(target: &str) -> &str {
    const SCHEME: &str = "http://";
    let path = match target.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => {
            rest.find(['/', '?']).map_or("", |at| &rest[at..])
        }
        _ => target,
    };
    path.split('?').next().unwrap_or_default()
}

fn render(response: &Response, with_body: bool) -> Vec<u8> {
    let Response { status, content_type, body } = response;
    let length = body.len();
    // RFC 9110, section 15.5.6: the response lists the methods that are allowed.
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{allow}\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    let body = if with_body { body } else { "" };
    [head.as_bytes(), body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &[u8]) -> Option<String> {
        let mut answer = Some(|page| Response::line("200 OK", &format!("{page:?}")));
        let response = judge(request, false, &mut answer)?;
        let text = String::from_utf8(response).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap();
        Some(format!("{code} {}", body.trim_end()))
    }

    #[test]
    fn requests_are_understood_or_refused_with_a_reason() {
        for (request, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 Metrics"),
            ("GET /metrics?a=b HTTP/1.0\r\n\r\n", "200 Metrics"),
            ("GET /health HTTP/1.1\r\n\r\nmore", "200 Health"),
            ("HEAD /health HTTP/1.1\r\n\r\n", "200 "),
            ("HEAD /none HTTP/1.1\r\n\r\n", "404 "),
            ("GET http://x/health HTTP/1.1\r\n\r\n", "200 Health"),
            ("GET HTTP://[::1]:9185/metrics?a HTTP/1.1\r\n\r\n", "200 Metrics"),
            ("GET http://x HTTP/1.1\r\n\r\n", "404 only /metrics and /health exist"),
            ("GET http://x?/health HTTP/1.1\r\n\r\n", "404 only /metrics and /health exist"),
            ("GET ftp://x/health HTTP/1.1\r\n\r\n", "404 only /metrics and /health exist"),
            ("GET / HTTP/1.1\r\n\r\n", "404 only /metrics and /health exist"),
            ("GET /metric HTTP/1.1\r\n\r\n", "404 only /metrics and /health exist"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405 use GET or HEAD"),
            ("hello\n", "400 not an HTTP request"),
        ] {
            assert_eq!(status(request.as_bytes()).as_deref(), Some(expected), "{request:?}");
        }
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(MAX_REQUEST));
        let long = &long.as_bytes()[..MAX_REQUEST];
        assert!(status(long).unwrap().starts_with("431 "));
        assert_eq!(status(&long[..MAX_REQUEST - 1]), None);
        let long = [b"HEAD", &long[3..MAX_REQUEST - 1]].concat();
        assert_eq!(status(&long).unwrap(), "431 ");
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert!(status(many.as_bytes()).unwrap().starts_with("431 "));
    }

    #[test]
    fn text_of_a_peer_is_escaped() {
        let response = Response::line("503 Service Unavailable", "x\n\nlinelog_healthy 1\x1b[2J");
        assert_eq!(response.body, "x\\x0a\\x0alinelog_healthy 1\\x1b[2J\n");
    }

    /// A peer that sends a request and then data without end.
    struct Flood {
        request: &'static [u8],
        reads: usize,
    }

    impl io::Read for Flood {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.reads += 1;
            assert!(self.reads < 100, "a turn has an end");
            let n = self.request.len();
            buffer[..n].copy_from_slice(self.request);
            buffer[n..].fill(b'x');
            self.request = b"";
            Ok(buffer.len())
        }
    }

    impl io::Write for Flood {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Socket for Flood {
        fn end(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_endless_sender_does_not_block_the_turn() {
        let now = Instant::now();
        let request = b"GET /health HTTP/1.1\r\n\r\n";
        let mut exchange = Exchange::new(Flood { request, reads: 0 }, now);
        for reads in 2..5 {
            exchange.advance(|_| Response::line("200 OK", "ok"));
            assert_eq!(exchange.socket.reads, reads);
            assert!(exchange.has_work() && !exchange.is_over(now));
        }
        assert!(exchange.is_over(now + PATIENCE));
    }

    #[test]
    fn a_request_may_come_in_parts() {
        let request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 0..request.len() {
            assert_eq!(status(&request[..cut]), None, "{cut}");
        }
    }
}
