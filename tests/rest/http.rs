//! HTTP/1.1 by hand over a unix socket: what a client sees on the wire, without a client library in between.

use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub text: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

async fn send(socket: &Path, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: telegen\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    // A server that refuses a large body may close before it has read all of it.
    let _ = stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).await;
    BufReader::new(stream)
}

/// Status and headers, names in lower case.
async fn read_head(stream: &mut BufReader<UnixStream>) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {line:?}")).parse().unwrap();
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { return (status, headers) };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
}

pub async fn request(socket: &Path, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut stream = send(socket, method, path, headers, body).await;
    let (status, headers) = read_head(&mut stream).await;
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut bytes = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut bytes).await.unwrap();
    Response { status, headers, text: String::from_utf8(bytes).unwrap() }
}

/// Server-sent events as they arrive.
pub struct Stream(BufReader<UnixStream>);

impl Stream {
    pub async fn open(socket: &Path, path: &str) -> Stream {
        let mut stream = send(socket, "GET", path, &[], "").await;
        let (status, headers) = read_head(&mut stream).await;
        assert_eq!(status, 200);
        assert!(headers.contains(&("content-type".to_owned(), "text/event-stream".to_owned())), "{headers:?}");
        Stream(stream)
    }

    /// Name and data of the next event; `None` at the end of the stream. Lines of chunk sizes and keep-alives are passed over.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        let mut name = None;
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).await.unwrap() == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                name = Some(event.trim_end().to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name.unwrap(), serde_json::from_str(data).unwrap()));
            }
        }
    }
}
