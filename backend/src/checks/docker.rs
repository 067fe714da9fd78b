//! The docker check: runs a program inside a container through the engine's exec API and judges it like a script.
//!
//! Speaks HTTP over the engine's unix socket, or TCP when `DOCKER_HOST` says so. Contract: health checks, section "Docker, gRPC, others".

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use shared::health::Status;

use super::{Outcome, dial, http::exchange, output::Ring};
use crate::rt::{clock, net};

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The most of an answer that is looked at, before the output's own limit.
const ANSWER_SIZE_MAX: usize = 1024 * 1024;

/// Runs the program in the container.
pub(super) async fn run(container: &str, command: &[String], timeout: Duration, output_size_max: usize) -> Outcome {
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()).unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let timed_out = || Err(format!("Timed out ({}) running check", shared::go::Duration::from(timeout)));
    let ran = clock::timeout(timeout, execute(&host, container, command, output_size_max)).await.unwrap_or_else(|_| timed_out());
    match ran {
        Ok((code, output)) => {
            let status = match code {
                0 => Status::PASSING,
                1 => Status::WARNING,
                _ => Status::CRITICAL,
            };
            Outcome { status, output }
        }
        Err(output) => Outcome::critical(output),
    }
}

async fn execute(host: &str, container: &str, command: &[String], output_size_max: usize) -> Result<(i64, String), String> {
    if container.contains(['/', '?', '#', ' ']) {
        return Err(format!("invalid container id {container:?}"));
    }
    let create = json!({"AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Tty": false, "Cmd": command});
    let created = call(host, Method::POST, &format!("/containers/{container}/exec"), Some(create)).await?;
    let created: Value = serde_json::from_slice(&created).map_err(|error| format!("create exec failed: {error}"))?;
    let id = created["Id"].as_str().filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let id = id.ok_or("create exec failed: no id in the answer")?;
    let started = call(host, Method::POST, &format!("/exec/{id}/start"), Some(json!({"Detach": false, "Tty": false}))).await?;
    let state = call(host, Method::GET, &format!("/exec/{id}/json"), None).await?;
    let state: Value = serde_json::from_slice(&state).map_err(|error| format!("inspect exec failed: {error}"))?;
    let code = state["ExitCode"].as_i64().ok_or("inspect exec failed: no exit code in the answer")?;
    let mut output = Ring::new(output_size_max);
    unwrap_frames(&started, &mut output);
    Ok((code, output.text_with_size()))
}

/// Without a terminal the engine sends frames: stream, three zero bytes, length, content.
fn unwrap_frames(mut bytes: &[u8], output: &mut Ring) {
    while let Some(([_, 0, 0, 0, a, b, c, d], rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX).min(rest.len());
        let (content, next) = rest.split_at(length);
        output.write(content);
        bytes = next;
    }
}

async fn call(host: &str, method: Method, path: &str, body: Option<Value>) -> Result<Vec<u8>, String> {
    let mut request = Request::new(Full::new(body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()))));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|error| format!("{error}"))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("docker"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let failed = |why: String| format!("docker {path}: {why}");
    let answer = if let Some(path) = host.strip_prefix("unix://") {
        let stream =
            net::UnixStream::connect(path).await.map_err(|error| format!("dial unix {path}: connect: {}", dial::reason(&error)))?;
        exchange(stream, request).await
    } else {
        let address = host.strip_prefix("tcp://").unwrap_or(host);
        exchange(dial::tcp(address).await?, request).await
    };
    let answer = answer.map_err(failed)?;
    let (succeeded, line) = (answer.is_success(), answer.status_line());
    let mut kept = Ring::new(ANSWER_SIZE_MAX);
    answer.read(&mut kept).await;
    if succeeded { Ok(kept.into_bytes()) } else { Err(failed(format!("{line}: {}", kept.text().trim_end()))) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::rt::Runtime;

    /// An engine with one container, `c`, in which every program prints two lines and exits with a fixed code.
    async fn engine(code: i64) -> String {
        let listener = net::listen(([127, 0, 0, 1], 0).into()).await.expect("listen");
        let host = format!("tcp://{}", listener.local_addr().expect("bound"));
        Runtime::system().tasks.spawn("engine", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
                match request.lines().next().unwrap_or_default() {
                    "POST /containers/c/exec HTTP/1.1" => answer.extend_from_slice(br#"{"Id":"e1"}"#),
                    "POST /exec/e1/start HTTP/1.1" => {
                        answer.extend_from_slice(b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n");
                    }
                    "GET /exec/e1/json HTTP/1.1" => answer.extend_from_slice(json!({"ExitCode": code}).to_string().as_bytes()),
                    _ => answer = b"HTTP/1.1 404 Not Found\r\n\r\nNo such container\n".to_vec(),
                }
                let _ = stream.write_all(&answer).await;
            }
        });
        host
    }

    #[tokio::test]
    async fn a_program_in_a_container_tells_its_exit_code_and_output() {
        let ran = execute(&engine(3).await, "c", &["true".to_owned()], 4096).await;
        assert_eq!(ran, Ok((3, "out\nerr\n".to_owned())));
        let ran = execute(&engine(0).await, "c", &["true".to_owned()], 3).await;
        assert_eq!(ran, Ok((0, "Captured 3 of 8 bytes\n...\nrr\n".to_owned())));
    }

    #[tokio::test]
    async fn a_container_that_is_not_there_is_told() {
        let ran = execute(&engine(0).await, "other", &["true".to_owned()], 4096).await;
        assert_eq!(ran, Err("docker /containers/other/exec: 404 Not Found: No such container".to_owned()));
        let ran = execute("unix:///no/such.sock", "c", &["true".to_owned()], 4096).await;
        assert_eq!(ran, Err("dial unix /no/such.sock: connect: no such file or directory".to_owned()));
    }
}
