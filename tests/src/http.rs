//! A small HTTP/1.1 client that shows what is on the wire: header names in their own case, bodies as sent.
//! One connection a request; every read has a deadline.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

/// An answer as it came over the wire.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers in order, names in their own case.
    pub headers: Vec<(String, String)>,
    /// Body, transfer encoding undone, content encoding not.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value, its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics with the body when it is not.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): status {} body {:?}", self.status, self.text()))
    }

    /// `X-Consul-Index`; panics when it is missing.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.header("X-Consul-Index")
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no X-Consul-Index in {:?}", self.headers))
    }
}

/// Where to send requests.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Address of the HTTP API.
    pub address: SocketAddr,
    /// Longest wait for a byte.
    pub timeout: Duration,
}

impl Client {
    /// The API of an agent on this address, port 8500.
    #[must_use]
    pub fn new(ip: IpAddr) -> Self {
        Self { address: SocketAddr::new(ip, 8500), timeout: Duration::from_secs(30) }
    }

    /// Sends one request on its own connection.
    ///
    /// # Errors
    /// The connection fails, or the answer is no HTTP.
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        let mut stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_nodelay(true)?;
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        read_response(&mut BufReader::new(stream), method == "HEAD")
    }

    /// `GET`; panics when the connection fails.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target, &[], &[]).unwrap_or_else(|error| panic!("GET {target}: {error}"))
    }

    /// `PUT`; panics when the connection fails.
    pub fn put(&self, target: &str, body: impl AsRef<[u8]>) -> Response {
        self.request("PUT", target, &[], body.as_ref()).unwrap_or_else(|error| panic!("PUT {target}: {error}"))
    }

    /// `DELETE`; panics when the connection fails.
    pub fn delete(&self, target: &str) -> Response {
        self.request("DELETE", target, &[], &[]).unwrap_or_else(|error| panic!("DELETE {target}: {error}"))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn read_line(from: &mut impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_response(from: &mut BufReader<TcpStream>, head_only: bool) -> io::Result<Response> {
    let status = read_line(from)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| invalid("status line"))?;
    let mut response = Response { status, ..Response::default() };
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("header line"))?;
        response.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if head_only || status == 204 || status == 304 {
        return Ok(response);
    }
    if response.header("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = usize::from_str_radix(read_line(from)?.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| invalid("chunk size"))?;
            let start = response.body.len();
            response.body.resize(start + size, 0);
            from.read_exact(&mut response.body[start..])?;
            read_line(from)?;
            if size == 0 {
                return Ok(response);
            }
        }
    }
    match response.header("Content-Length").and_then(|value| value.parse::<usize>().ok()) {
        Some(size) => {
            response.body.resize(size, 0);
            from.read_exact(&mut response.body)?;
        }
        None => {
            from.read_to_end(&mut response.body)?;
        }
    }
    Ok(response)
}
