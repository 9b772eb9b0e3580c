//! What the server takes of clients that want too much: connections, time, and room for what they do not read. Unix socket and TCP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use telegen_sonic::io::tables::JobTables;
use telegen_sonic::model::report::ExportState;
use telegen_sonic::sink::rest::{Limits, bind, serve_on};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::memory::{in_memory, snapshot};
use super::redis_common::{Redis, fields, within};

/// A time-out that none of these tests waits for.
const LONG: Duration = Duration::from_secs(600);
/// One that is waited for.
pub const SHORT: Duration = Duration::from_millis(300);
/// "At once": what the issue allows.
pub const AT_ONCE: Duration = Duration::from_secs(1);
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: telegen\r\n\r\n";
/// Whoever asks this is being served from then on, and never idle.
const FOLLOW: &str = "GET /v1/monitor/jobs/j1/events HTTP/1.1\r\nHost: telegen\r\n\r\n";

/// Limits without any time-out, for the test to set one.
pub fn patient(connections: usize) -> Limits {
    Limits { connections, head: LONG, body: LONG, answer: LONG, write: LONG, patience: LONG }
}

pub enum Door {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

pub struct Shim {
    door: Door,
    redis: Redis,
    _close: oneshot::Sender<()>,
    served: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// A client by hand.
pub struct Client(pub Box<dyn Stream>);

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Shim {
    /// With one job `j1`, which runs, and whose results are `flows` flows.
    pub async fn start(listen: &str, limits: Limits, flows: u16) -> Shim {
        let redis = Redis::start();
        let state = redis.connect("STATE_DB").await;
        state
            .hset_whole("TELEGEN_JOB_TABLE|j1", &fields([("status", "running"), ("port", "Ethernet0")]))
            .await
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rest.sock");
        let listen = if listen.is_empty() { path.to_str().unwrap() } else { listen };
        let bound = bind(listen).await.unwrap().limited(limits);
        let door = bound.tcp_address().map_or(Door::Unix(path.clone()), Door::Tcp);
        let tables = Arc::new(JobTables::new(&redis.config).unwrap());
        let jobs = [("j1".to_owned(), Arc::new(in_memory("j1", flows)))];
        let (close, closed) = oneshot::channel();
        let (snapshots, snapshot) = watch::channel(snapshot(jobs.into()));
        let (exports, export) = watch::channel(ExportState::default());
        let served = tokio::spawn(async move {
            let _senders = (snapshots, exports);
            serve_on(bound, tables, snapshot, export, async {
                let _ = closed.await;
            })
            .await;
        });
        Shim { door, redis, _close: close, served, _dir: dir }
    }

    /// One on each kind of socket.
    pub async fn both(limits: Limits, flows: u16) -> [Shim; 2] {
        [Shim::start("", limits.clone(), flows).await, Shim::start("127.0.0.1:0", limits, flows).await]
    }

    pub async fn connect(&self) -> Client {
        Client(match &self.door {
            Door::Unix(path) => Box::new(within("a connection", UnixStream::connect(path)).await.unwrap()),
            Door::Tcp(address) => Box::new(within("a connection", TcpStream::connect(address)).await.unwrap()),
        })
    }

    /// A client that follows the events of `j1`, and has got the first.
    async fn follow(&self) -> Client {
        let mut client = self.connect().await;
        client.send(FOLLOW).await;
        client.read_until("event: status").await;
        client
    }

    /// A client that has asked this and found a place, be it after some attempts.
    async fn placed(&self, request: &str) -> Client {
        within("a place", async {
            loop {
                let mut client = self.connect().await;
                client.send(request).await;
                if client.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 200 ") {
                    return client;
                }
            }
        })
        .await
    }
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn read_until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        let mut bytes = [0; 4096];
        while !String::from_utf8_lossy(&read).contains(text) {
            let count = within(text, self.0.read(&mut bytes)).await.unwrap();
            assert!(count > 0, "the end came before {text:?}: {}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8(read).unwrap()
    }

    /// All that comes until the connection ends.
    pub async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        // A reset is an end, too.
        let _ = within("the end of a connection", self.0.read_to_end(&mut read)).await;
        String::from_utf8(read).unwrap()
    }

    pub async fn is_open(&mut self) -> bool {
        tokio::time::timeout(SHORT, self.0.read(&mut [0])).await.is_err()
    }
}

pub fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn whoever_finds_no_place_is_told_so_at_once() {
    for shim in Shim::both(patient(2), 0).await {
        let _followers = [shim.follow().await, shim.follow().await];
        for request in ["", HEALTH] {
            let began = Instant::now();
            let mut third = shim.connect().await;
            third.send(request).await;
            let answer = third.read_to_end().await;
            assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
            let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n";
            assert!(answer.starts_with(head), "{answer}");
            let message = "2 connections are being served already, which is the most; try again in a second";
            assert_eq!(body(&answer), json!({ "error": "too_many_connections", "message": message, "field": null }));
        }
    }
}

#[tokio::test]
async fn a_place_that_becomes_free_is_given_away() {
    for shim in Shim::both(patient(1), 0).await {
        let follower = shim.follow().await;
        assert!(shim.connect().await.read_to_end().await.starts_with("HTTP/1.1 503 "));
        drop(follower);
        shim.placed(HEALTH).await;
    }
}

#[tokio::test]
async fn idle_connections_give_way_the_oldest_first() {
    for shim in Shim::both(patient(3), 0).await {
        let mut used = shim.connect().await;
        let mut unused = shim.connect().await;
        // In the middle of a head is idle, too.
        let mut half = shim.connect().await;
        half.send("GET /healthz HTT").await;
        // Since its answer it is the youngest.
        used.send(HEALTH).await;
        used.read_until("}").await;
        let began = Instant::now();
        let mut honest = shim.connect().await;
        honest.send(HEALTH).await;
        assert!(honest.read_until("}").await.starts_with("HTTP/1.1 200 "));
        assert!(began.elapsed() < AT_ONCE);
        assert_eq!(unused.read_to_end().await, "");
        assert!(half.is_open().await && used.is_open().await && honest.is_open().await);
    }
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_out() {
    let shim = Shim::start("", Limits::default(), 0).await;
    let mut idle = Vec::new();
    for _ in 0..1_100 {
        idle.push(shim.connect().await);
        let began = Instant::now();
        let mut honest = shim.connect().await;
        honest.send("GET /healthz HTTP/1.1\r\nHost: telegen\r\nConnection: close\r\n\r\n").await;
        assert!(honest.read_to_end().await.starts_with("HTTP/1.1 200 "));
        assert!(began.elapsed() < AT_ONCE);
    }
    // The last 256 are there, less the place that the last honest one took; all others have been told to go.
    let mut open = 0;
    for client in &mut idle {
        open += usize::from(tokio::time::timeout(Duration::from_millis(1), client.0.read(&mut [0])).await.is_err());
    }
    assert_eq!(open, 255);
}

#[tokio::test]
async fn a_head_and_the_next_one_are_waited_for_so_long() {
    for shim in Shim::both(Limits { head: SHORT, ..patient(8) }, 0).await {
        let began = Instant::now();
        let mut silent = shim.connect().await;
        let mut half = shim.connect().await;
        half.send("GET /healthz HTTP/1.1\r\nHost: tel").await;
        let mut used = shim.connect().await;
        used.send(HEALTH).await;
        assert!(used.read_until("}").await.starts_with("HTTP/1.1 200 "));
        assert_eq!(
            (silent.read_to_end().await, half.read_to_end().await, used.read_to_end().await),
            Default::default()
        );
        assert!(began.elapsed() >= SHORT);
    }
}

#[tokio::test]
async fn a_body_is_waited_for_so_long() {
    for shim in Shim::both(Limits { body: SHORT, ..patient(8) }, 0).await {
        let mut slow = shim.connect().await;
        slow.send("POST /v1/monitor/jobs HTTP/1.1\r\nHost: telegen\r\nContent-Length: 30\r\n\r\n{\"port\":").await;
        let answer = slow.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
        let message = "the body was not there within 300ms; a job takes a few hundred bytes";
        assert_eq!(body(&answer), json!({ "error": "too_slow", "message": message, "field": null }));
    }
}

#[tokio::test]
async fn an_answer_comes_in_its_time_or_that_is_said() {
    for shim in Shim::both(Limits { answer: SHORT, ..patient(8) }, 0).await {
        let state = shim.redis.connect("STATE_DB").await;
        super::heartbeat(&state).await;
        // The job runs, and nobody ends it.
        let mut client = shim.connect().await;
        let config = shim.redis.connect("CONFIG_DB").await;
        config.hset_whole("TELEGEN_JOB|j1", &fields([("port", "Ethernet0")])).await.unwrap();
        client.send("DELETE /v1/monitor/jobs/j1 HTTP/1.1\r\nHost: telegen\r\nConnection: close\r\n\r\n").await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        let message = "no answer came about within 300ms; whether anything was changed is unknown";
        assert_eq!(body(&answer), json!({ "error": "no_answer", "message": message, "field": null }));
    }
}

/// Asks for the results so often that no socket holds the answers, and reads none.
async fn never_read(shim: &Shim) -> Client {
    let mut client = shim.connect().await;
    let request = "GET /v1/monitor/jobs/j1/results HTTP/1.1\r\nHost: telegen\r\n\r\n";
    client.send(&request.repeat(32)).await;
    client
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    for shim in Shim::both(Limits { write: SHORT, ..patient(1) }, 2_000).await {
        let _unread = never_read(&shim).await;
        shim.placed(HEALTH).await;
    }
}

#[tokio::test]
async fn clients_that_do_not_read_or_send_on_give_way_to_others() {
    // As many as can follow events.
    const PLACES: usize = 16;
    for shim in Shim::both(Limits { patience: SHORT, ..patient(PLACES) }, 2_000).await {
        let mut slow = Vec::new();
        for _ in 1..PLACES {
            slow.push(never_read(&shim).await);
        }
        let mut sender = shim.connect().await;
        sender.send("POST /v1/monitor/jobs HTTP/1.1\r\nHost: telegen\r\nContent-Length: 30\r\n\r\n").await;
        tokio::time::sleep(SHORT).await;
        // None of the newcomers gives way to the next.
        let mut followers = Vec::new();
        for _ in 0..PLACES {
            let began = Instant::now();
            followers.push(shim.placed(FOLLOW).await);
            assert!(began.elapsed() < AT_ONCE);
        }
        assert!(shim.connect().await.read_to_end().await.starts_with("HTTP/1.1 503 "));
    }
}

#[tokio::test]
async fn a_client_that_sends_while_it_is_turned_away_still_reads_why() {
    for shim in Shim::both(patient(1), 0).await {
        let _follower = shim.follow().await;
        let mut client = shim.connect().await;
        let head = "POST /v1/monitor/jobs HTTP/1.1\r\nHost: telegen\r\nContent-Length: 60000\r\n\r\n";
        client.send(head).await;
        // It is still sending when the answer is there already.
        let _ = client.0.write_all(&vec![b' '; 60_000]).await;
        assert_eq!(body(&client.read_to_end().await)["error"], "too_many_connections");
    }
}
