//! The command line's way to the node it belongs to: HTTP on loopback, with the token of the
//! node's directory.
//!
//! Guarantees that no request leaves this machine: the configuration admits loopback addresses
//! only, no proxy of the environment is used, and no redirect is followed.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use signpost_protocol::OdsCode;
use zeroize::Zeroizing;

use super::behalf::Behalf;
use crate::config::{Config, ConfigError};

/// How long a request may take: the longest deadline that a node accepts, and time to answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(45);
/// How long the node may take to accept a connection, on the same machine.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a reply: the pointers of one patient, from a hundred organizations with a full answer each.
const REPLY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why the node did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ClientError {
    /// There is no node in the directory.
    #[error("{} holds no node", dir.display())]
    NoNode {
        /// The directory.
        dir: PathBuf,
    },
    /// It serves several organizations, and none was named.
    #[error("this node serves several organizations: {choices}")]
    Whose {
        /// Which.
        choices: String,
    },
    /// It does not serve the organization that was named.
    #[error("this node does not serve {ods}; it serves {choices}")]
    NotServed {
        /// Which was named.
        ods: OdsCode,
        /// Which it serves.
        choices: String,
    },
    /// Its configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its token cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody listens.
    #[error("no node answers at {url}")]
    NotRunning {
        /// The address.
        url: String,
        /// The node's directory.
        dir: PathBuf,
    },
    /// The connection broke or the reply did not come in time: whether the node acted is unknown.
    #[error("the connection to the node at {url} broke: {source}")]
    Broken {
        /// The address.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The node does not know the token.
    #[error("the node at {url} does not accept the token of {}", dir.display())]
    Token401 {
        /// The address.
        url: String,
        /// The node's directory.
        dir: PathBuf,
    },
    /// The node refused, and said why.
    #[error("the node refused ({status}): {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The node's words.
        reason: String,
    },
    /// The reply is not what it should be.
    #[error("the node's reply cannot be understood: {0}")]
    Garbled(String),
}

impl ClientError {
    /// What the user can do about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::NoNode { .. } => Some(
                "name the node's directory with --dir, or make a node with `signpost init`"
                    .to_owned(),
            ),
            Self::Whose { .. } => Some(
                "name one of them with --organization, for instance --organization RX1".to_owned(),
            ),
            Self::NotRunning { dir, .. } => Some(format!(
                "is the node running? Start it with `signpost run --dir {}`",
                dir.display()
            )),
            Self::Token401 { .. } => {
                Some("is another node running at this address? Compare api.listen".to_owned())
            }
            Self::Refused { status, .. } if is_busy(*status) => {
                Some("try again in a moment".to_owned())
            }
            _ => None,
        }
    }

    /// Whether the same request may succeed a little later, the node having done nothing.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if is_busy(*status))
    }
}

/// 429 Too Many Requests, 503 Service Unavailable.
const fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 503)
}

/// A node's successful reply.
#[derive(Debug)]
pub(super) struct Reply {
    /// The header `Signpost-Completeness`.
    pub(super) completeness: Option<String>,
    /// The header `Signpost-Next`: where the next page begins.
    pub(super) next: Option<String>,
    /// The body.
    pub(super) body: String,
}

impl Reply {
    /// The body, read as JSON.
    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ClientError> {
        // Without the parser's message, which may quote the body.
        serde_json::from_str(&self.body).map_err(|error| {
            ClientError::Garbled(format!("unexpected JSON at column {}", error.column()))
        })
    }
}

/// The HTTP client of one node.
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
    authorization: Zeroizing<String>,
    dir: PathBuf,
}

impl Client {
    /// Finds out the address of the node in `dir`, and the token of the organization that is meant.
    pub(super) fn open(dir: &Path, behalf: &Behalf) -> Result<Self, ClientError> {
        let path = behalf.token_file(dir)?;
        let token = match std::fs::read_to_string(&path) {
            Ok(token) => Zeroizing::new(token),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ClientError::NoNode { dir: dir.to_owned() });
            }
            Err(source) => return Err(ClientError::Token { path, source }),
        };
        let config = Config::read(dir)?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(REQUEST_TIME_MAX))
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            url: format!("http://{}", config.api.listen),
            authorization: Zeroizing::new(format!("Bearer {}", token.trim())),
            dir: dir.to_owned(),
        })
    }

    /// GET.
    pub(super) fn get(&self, path: &str) -> Result<Reply, ClientError> {
        let request = self.agent.get(format!("{}{path}", self.url));
        self.reply(request.header("Authorization", &*self.authorization).call())
    }

    /// GET of what is no text, at most `bytes_max` long.
    pub(super) fn get_bytes(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, ClientError> {
        let request = self.agent.get(format!("{}{path}", self.url));
        let response = request.header("Authorization", &*self.authorization).call();
        let mut response = self.connected(response)?;
        let status = response.status();
        if !status.is_success() {
            let body = response.body_mut().with_config().limit(REPLY_BYTES_MAX).read_to_string();
            let body = body.map_err(|source| self.broken(source))?;
            return Err(self.refusal(status.as_u16(), &body));
        }
        let body = response.body_mut().with_config().limit(bytes_max as u64).read_to_vec();
        body.map_err(|source| self.broken(source))
    }

    /// POST with a body and further headers.
    pub(super) fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl AsRef<[u8]>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, ClientError> {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("Authorization", &*self.authorization)
            .header("Content-Type", content_type);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.reply(request.send(body.as_ref()))
    }

    fn broken(&self, source: ureq::Error) -> ClientError {
        ClientError::Broken { url: self.url.clone(), source: Box::new(source) }
    }

    fn connected<T>(&self, response: Result<T, ureq::Error>) -> Result<T, ClientError> {
        response.map_err(|error| match &error {
            ureq::Error::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { url: self.url.clone(), dir: self.dir.clone() }
            }
            _ => self.broken(error),
        })
    }

    fn reply(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Reply, ClientError> {
        let mut response = self.connected(response)?;
        let status = response.status().as_u16();
        let header = |name| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let (completeness, next) = (header("signpost-completeness"), header("signpost-next"));
        let body = response
            .body_mut()
            .with_config()
            .limit(REPLY_BYTES_MAX)
            .read_to_string()
            .map_err(|source| self.broken(source))?;
        match status {
            200..=299 => Ok(Reply { completeness, next, body }),
            status => Err(self.refusal(status, &body)),
        }
    }

    fn refusal(&self, status: u16, body: &str) -> ClientError {
        match status {
            401 => ClientError::Token401 { url: self.url.clone(), dir: self.dir.clone() },
            status => ClientError::Refused { status, reason: reason(body) },
        }
    }
}

/// The diagnostics of an OperationOutcome.
fn reason(body: &str) -> String {
    #[derive(Deserialize)]
    struct OperationOutcome {
        issue: Vec<Issue>,
    }
    #[derive(Deserialize)]
    struct Issue {
        diagnostics: Option<String>,
    }
    let reasons: Vec<_> = serde_json::from_str::<OperationOutcome>(body)
        .map(|outcome| outcome.issue.into_iter().filter_map(|issue| issue.diagnostics).collect())
        .unwrap_or_default();
    if reasons.is_empty() { "without a reason".to_owned() } else { reasons.join("; ") }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::TcpListener,
        thread::JoinHandle,
    };

    use super::*;
    use crate::setup;

    /// A directory of a node whose API is a server that gives one canned reply, and what it was sent.
    pub(in crate::cli) fn serve(head: &str, body: &str) -> (tempfile::TempDir, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = directory(listener.local_addr().unwrap());
        let reply = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let server = std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let (mut request, mut body_bytes) = (String::new(), 0);
            while !request.ends_with("\r\n\r\n") {
                let start = request.len();
                stream.read_line(&mut request).unwrap();
                let header = request[start..].to_lowercase();
                if let Some(length) = header.strip_prefix("content-length:") {
                    body_bytes = length.trim().parse().unwrap();
                }
            }
            stream.by_ref().take(body_bytes).read_to_string(&mut request).unwrap();
            stream.get_mut().write_all(reply.as_bytes()).unwrap();
            request
        });
        (dir, server)
    }

    fn directory(listen: std::net::SocketAddr) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let folder = setup::organization_dir(dir.path(), &"RX1".parse().unwrap());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(setup::API_TOKEN_FILE), "secret\n").unwrap();
        let config = format!("[api]\nlisten = \"{listen}\"\n");
        std::fs::write(dir.path().join(crate::config::FILE), config).unwrap();
        dir
    }

    #[test]
    fn the_token_goes_with_every_request() {
        let (dir, server) = serve("200 OK\r\nSignpost-Completeness: partial", "{}");
        let reply = Client::open(dir.path(), &Behalf::default()).unwrap().get("/x").unwrap();
        assert_eq!(reply.body, "{}");
        assert_eq!(reply.completeness.as_deref(), Some("partial"));
        let request = server.join().unwrap().to_lowercase();
        assert!(request.contains("authorization: bearer secret\r\n"), "{request}");
    }

    #[test]
    fn refusals_carry_the_nodes_words() {
        let body = r#"{"issue":[{"diagnostics":"too busy"},{"code":"x"}]}"#;
        let (dir, server) = serve("503 Service Unavailable", body);
        let error = Client::open(dir.path(), &Behalf::default())
            .unwrap()
            .post("/x", "text/plain", "", &[])
            .unwrap_err();
        assert_eq!(error.to_string(), "the node refused (503): too busy");
        assert!(error.is_busy());
        server.join().unwrap();
        let (dir, server) = serve("401 Unauthorized", "");
        let error = Client::open(dir.path(), &Behalf::default()).unwrap().get("/x").unwrap_err();
        assert!(matches!(error, ClientError::Token401 { .. }), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn a_node_that_is_not_there_is_told_from_one_that_hangs_up() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = directory(free);
        let error = Client::open(dir.path(), &Behalf::default()).unwrap().get("/x").unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
        assert!(error.hint().unwrap().contains("signpost run --dir"), "{:?}", error.hint());
        let (dir, server) = serve("200 OK\r\nContent-Length: 10", "{}");
        let error = Client::open(dir.path(), &Behalf::default()).unwrap().get("/x").unwrap_err();
        assert!(matches!(error, ClientError::Broken { .. }), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn an_empty_directory_holds_no_node() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Client::open(dir.path(), &Behalf::default()),
            Err(ClientError::NoNode { .. })
        ));
    }
}
