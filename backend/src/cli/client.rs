//! Carries the API's calls to an agent over HTTP, as flags and environment say: `http://`, `https://`, `unix://`.
//!
//! Every call but a stream has a deadline. Contract: command line, section "HTTP flags".

use std::{fs, path::Path, time::Duration};

use futures_util::{Stream, StreamExt as _};
use shared::endpoint::Endpoint;

use super::args::{Args, Flag, value};

/// The flags of every command that calls an agent.
pub(super) const FLAGS: &[Flag] = &[
    value("ca-file", "value", "File with the certificate authority to trust. Environment: CONSUL_CACERT."),
    value("ca-path", "value", "Directory with certificate authorities to trust. Environment: CONSUL_CAPATH."),
    value("client-cert", "value", "Certificate to show to the agent. Environment: CONSUL_CLIENT_CERT."),
    value("client-key", "value", "Key of that certificate. Environment: CONSUL_CLIENT_KEY."),
    value(
        "http-addr",
        "address",
        "Where the agent's HTTP API is: host:port, http://, https:// or unix:///path. Environment: CONSUL_HTTP_ADDR. Default: \
         http://127.0.0.1:8500.",
    ),
    value("namespace", "value", "Accepted when empty or \"default\"."),
    value("partition", "value", "Accepted when empty or \"default\"."),
    value("tls-server-name", "value", "Name expected in the agent's certificate. Environment: CONSUL_TLS_SERVER_NAME."),
    value("token", "value", "ACL token. Environment: CONSUL_HTTP_TOKEN."),
    value("token-file", "value", "File holding the ACL token. Environment: CONSUL_HTTP_TOKEN_FILE."),
];

/// Longest call: a blocking query of ten minutes and some.
const DEADLINE: Duration = Duration::from_secs(11 * 60);
const CONNECT: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// The agent answered something else than success.
    #[error("Unexpected response code: {code} ({body})")]
    Status {
        /// Status code.
        code: u16,
        /// What it said.
        body: String,
    },
    /// There was no answer, or one that is not understood.
    #[error("{0}")]
    Transport(String),
}

/// Where and how to call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// `http://host:port`, without a slash at the end.
    url: String,
    socket: Option<String>,
    token: String,
    auth: Option<(String, String)>,
    ca_file: String,
    ca_path: String,
    cert: String,
    key: String,
    server_name: String,
    verify: bool,
}

impl Target {
    /// An agent of this process, by its URL.
    pub(super) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), verify: true, ..Self::default() }
    }

    /// What flags and environment say; a flag wins over the environment. `environment` answers variables by the part of
    /// their name behind `MUSTER_` and `CONSUL_`, and the former wins over the latter.
    ///
    /// # Errors
    /// A token file that cannot be read, or an address that is none.
    pub(super) fn new(args: &Args, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let env = |name: &str| {
            let set = |name: String| environment(&name).filter(|value| !value.is_empty());
            set(format!("MUSTER_{name}")).or_else(|| set(format!("CONSUL_{name}"))).unwrap_or_default()
        };
        let pick = |flag: &str, variable: &str| args.get(flag).filter(|text| !text.is_empty()).map_or_else(|| env(variable), str::to_owned);
        for flag in ["namespace", "partition"] {
            if !matches!(args.get(flag).unwrap_or_default(), "" | "default") {
                return Err(format!("-{flag} {:?}: only \"default\" exists", args.text(flag)));
            }
        }
        let on = |variable: &str, default: bool| match env(variable).to_lowercase().as_str() {
            "1" | "t" | "true" => true,
            "0" | "f" | "false" => false,
            _ => default,
        };
        let address = pick("http-addr", "HTTP_ADDR");
        let scheme = if on("HTTP_SSL", false) { "https" } else { "http" };
        let (url, socket) = if let Some(path) = address.strip_prefix("unix://") {
            (format!("{scheme}://localhost"), Some(path.to_owned()))
        } else if address.starts_with("http://") || address.starts_with("https://") {
            (address.trim_end_matches('/').to_owned(), None)
        } else if address.contains("://") {
            return Err(format!("Unknown protocol scheme: {}", address.split("://").next().unwrap_or_default()));
        } else {
            let address = if address.is_empty() { "127.0.0.1:8500" } else { address.trim_end_matches('/') };
            (format!("{scheme}://{address}"), None)
        };
        let auth = env("HTTP_AUTH");
        Ok(Self {
            url,
            socket,
            token: token(args, &env)?,
            auth: (!auth.is_empty()).then(|| super::args::pair(&auth, ':')),
            ca_file: pick("ca-file", "CACERT"),
            ca_path: pick("ca-path", "CAPATH"),
            cert: pick("client-cert", "CLIENT_CERT"),
            key: pick("client-key", "CLIENT_KEY"),
            server_name: pick("tls-server-name", "TLS_SERVER_NAME"),
            verify: on("HTTP_SSL_VERIFY", true),
        })
    }
}

/// `-token`, `-token-file`, then the same of the environment.
fn token(args: &Args, env: &dyn Fn(&str) -> String) -> Result<String, String> {
    let from_file = |path: &str| match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(why) => Err(format!("Error loading token file {path}: {why}")),
    };
    let given = |name: &str| args.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(token) = given("token") {
        return Ok(token);
    }
    if let Some(path) = given("token-file") {
        return from_file(&path);
    }
    match (env("HTTP_TOKEN"), env("HTTP_TOKEN_FILE")) {
        (token, _) if !token.is_empty() => Ok(token),
        (_, path) if !path.is_empty() => from_file(&path),
        _ => Ok(String::new()),
    }
}

/// Calls one agent.
#[derive(Clone, Debug)]
pub(super) struct Client {
    target: Target,
    http: reqwest::Client,
}

impl Client {
    /// A client for the target.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub(super) fn new(target: Target) -> Result<Self, String> {
        // Somebody may have installed it before; there is only one to install.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder().connect_timeout(CONNECT).no_proxy();
        if let Some(path) = &target.socket {
            builder = builder.unix_socket(Path::new(path));
        }
        let authorities = authorities(&target)?;
        if !authorities.is_empty() {
            builder = builder.tls_certs_only(authorities);
        }
        if !target.cert.is_empty() && !target.key.is_empty() {
            let mut pem = read(&target.cert)?;
            pem.extend(read(&target.key)?);
            builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(|why| why.to_string())?);
        }
        if !target.verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let http = builder.build().map_err(|why| why.to_string())?;
        Ok(Self { target, http })
    }

    /// Sends a call and decodes its reply.
    ///
    /// # Errors
    /// No answer, or one that is not a success.
    pub(super) async fn call<E: Endpoint>(&self, endpoint: &E) -> Result<E::Reply, Error> {
        let body = self.bytes(endpoint).await?;
        E::decode(&body).map_err(|why| Error::Transport(why.to_string()))
    }

    /// The same, but "not found" is an answer.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub(super) async fn find<E: Endpoint>(&self, endpoint: &E) -> Result<Option<E::Reply>, Error> {
        match self.call(endpoint).await {
            Ok(reply) => Ok(Some(reply)),
            Err(Error::Status { code: 404, .. }) => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// The port of the API; the usual one over a socket.
    pub(super) fn port(&self) -> u16 {
        reqwest::Url::parse(&self.target.url).ok().and_then(|url| url.port()).unwrap_or(8500)
    }

    /// The agent's clock, as its answers tell it.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub(super) async fn date(&self) -> Result<Option<String>, Error> {
        let response = self.send("GET", "agent/version", None, Some(CONNECT)).await?;
        Ok(response.headers().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned))
    }

    async fn bytes<E: Endpoint>(&self, endpoint: &E) -> Result<Vec<u8>, Error> {
        let response = self.send(E::METHOD, &endpoint.url(), endpoint.body().map(Into::into), Some(DEADLINE)).await?;
        let body = response.bytes().await.map_err(|why| Error::Transport(words(&why)))?;
        Ok(body.to_vec())
    }

    async fn send(
        &self,
        method: &str,
        url: &str,
        body: Option<reqwest::Body>,
        deadline: Option<Duration>,
    ) -> Result<reqwest::Response, Error> {
        let full = format!("{}/v1/{url}", self.target.url);
        let method = reqwest::Method::from_bytes(method.as_bytes()).map_err(|why| Error::Transport(why.to_string()))?;
        let verb = title(method.as_str());
        let mut request = self.http.request(method, &full);
        if !self.target.token.is_empty() {
            request = request.header("X-Consul-Token", &self.target.token);
        }
        if let Some((user, password)) = &self.target.auth {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(deadline) = deadline {
            request = request.timeout(deadline);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|why| Error::Transport(format!("{verb} \"{full}\": {}", self.dial(&why))))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        Err(Error::Status { code: status.as_u16(), body })
    }

    fn dial(&self, why: &reqwest::Error) -> String {
        if !why.is_connect() {
            return words(why);
        }
        let place = match &self.target.socket {
            Some(path) => format!("unix {path}"),
            None => format!("tcp {}", self.target.url.split("://").nth(1).unwrap_or_default()),
        };
        format!("dial {place}: connect: {}", words(why))
    }

    /// Sends a body as it comes.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub(super) async fn upload(
        &self,
        method: &str,
        url: &str,
        body: impl Stream<Item = std::io::Result<Vec<u8>>> + Send + 'static,
    ) -> Result<(), Error> {
        self.send(method, url, Some(reqwest::Body::wrap_stream(body)), Some(DEADLINE)).await.map(drop)
    }

    /// Opens a stream of lines that ends only with the agent.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub(super) async fn lines(&self, url: &str) -> Result<impl Stream<Item = Result<Vec<u8>, Error>> + use<>, Error> {
        self.pieces(url).await
    }

    /// Opens a body of any length, which comes in pieces.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub(super) async fn pieces(&self, url: &str) -> Result<impl Stream<Item = Result<Vec<u8>, Error>> + use<>, Error> {
        let response = self.send("GET", url, None, None).await?;
        Ok(response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec()).map_err(|why| Error::Transport(words(&why)))))
    }
}

/// `Get`, `Put`: as Go names methods in errors.
fn title(method: &str) -> String {
    let lower = method.to_lowercase();
    let mut letters = lower.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

/// The innermost reason, in the system's words.
fn words(why: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = why;
    while let Some(source) = reason.source() {
        reason = source;
    }
    let text = reason.to_string();
    if text.contains("Connection refused") {
        return "connection refused".to_owned();
    }
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|why| format!("Error loading {path}: {why}"))
}

fn authorities(target: &Target) -> Result<Vec<reqwest::Certificate>, String> {
    let mut files = Vec::new();
    if !target.ca_file.is_empty() {
        files.push(target.ca_file.clone());
    }
    if !target.ca_path.is_empty() {
        let entries = fs::read_dir(&target.ca_path).map_err(|why| format!("Error loading {}: {why}", target.ca_path))?;
        files.extend(entries.filter_map(Result::ok).map(|entry| entry.path().display().to_string()));
    }
    let mut found = Vec::new();
    for file in files {
        found.extend(reqwest::Certificate::from_pem_bundle(&read(&file)?).map_err(|why| format!("Error loading {file}: {why}"))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;

    fn target(line: &str, variables: &[(&str, &str)]) -> Result<Target, String> {
        let arguments: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let args = args::parse(&arguments, &[FLAGS]).expect(line);
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Target::new(&args, &find)
    }

    fn check_url(line: &str, variables: &[(&str, &str)], expected: &str) {
        assert_eq!(target(line, variables).map(|target| target.url).as_deref(), Ok(expected), "{line} {variables:?}");
    }

    #[test]
    fn addresses_come_from_flag_then_environment_then_default() {
        check_url("", &[], "http://127.0.0.1:8500");
        check_url("-http-addr=a:1", &[("CONSUL_HTTP_ADDR", "b:2")], "http://a:1");
        check_url("", &[("CONSUL_HTTP_ADDR", "b:2")], "http://b:2");
        check_url("", &[("CONSUL_HTTP_ADDR", "b:2"), ("MUSTER_HTTP_ADDR", "c:3")], "http://c:3");
        check_url("", &[("CONSUL_HTTP_ADDR", "b:2"), ("CONSUL_HTTP_SSL", "true")], "https://b:2");
        check_url("-http-addr https://x:8501/", &[], "https://x:8501");
        let socket = target("-http-addr=unix:///run/m.sock", &[]).expect("a socket");
        assert_eq!((socket.url.as_str(), socket.socket.as_deref()), ("http://localhost", Some("/run/m.sock")));
        assert_eq!(target("-http-addr=ftp://x", &[]), Err("Unknown protocol scheme: ftp".to_owned()));
        assert!(target("-namespace=x", &[]).is_err() && target("-namespace=default", &[]).is_ok());
    }

    #[test]
    fn tokens_come_from_flags_before_the_environment() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("token");
        fs::write(&file, " from-file\n").expect("a file in it");
        let file = file.display().to_string();
        let token = |line: &str, variables: &[(&str, &str)]| target(line, variables).expect(line).token;
        let both = [("CONSUL_HTTP_TOKEN", "env"), ("CONSUL_HTTP_TOKEN_FILE", file.as_str())];
        assert_eq!(token("-token=a", &both), "a");
        assert_eq!(token(&format!("-token-file={file}"), &both), "from-file");
        assert_eq!(token("", &both), "env");
        assert_eq!(token("", &both[1..]), "from-file");
        assert!(target("-token-file=/nonexist/x", &[]).is_err());
    }
}
