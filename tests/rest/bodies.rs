//! What a body may cost: memory while it comes, whatever the pieces, and nothing at all if it is too large by its own account.

use std::process::Command;

use serde_json::json;
use telegen_sonic::sink::rest::Limits;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::limits::{AT_ONCE, Client, SHORT, Shim, body, patient};

/// The largest body there is.
const LIMIT: usize = 64 * 1024;
/// What all clients together may cost, in KiB.
const ROOM: u64 = 24 * 1024;
/// Set in a process that runs nothing but one test, so that its memory is that test's.
const ALONE: &str = "TELEGEN_TEST_ALONE";

/// Whether this is the process that measures. If it is not, runs `test` in one that is.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", &format!("bodies::{test}")]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// KiB.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn head(length: usize) -> String {
    format!("POST /v1/monitor/jobs HTTP/1.1\r\nHost: telegen\r\nContent-Length: {length}\r\n\r\n")
}

async fn senders(shim: &Shim, count: usize, head: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = shim.connect().await;
        client.send(head).await;
        clients.push(client);
    }
    clients
}

/// All clients send this, so often.
async fn send_pieces(clients: &mut [Client], piece: &str, times: usize, base: u64) {
    for _ in 0..times {
        for client in &mut *clients {
            client.send(piece).await;
        }
        // The server reads each piece by itself.
        tokio::task::yield_now().await;
        assert!(rss() < base + ROOM, "{} KiB, and {base} KiB before", rss());
    }
}

#[tokio::test]
async fn bodies_that_come_byte_by_byte_cost_what_they_hold() {
    if !is_alone("bodies_that_come_byte_by_byte_cost_what_they_hold") {
        return;
    }
    for shim in Shim::both(patient(64), 0).await {
        let base = rss();
        let mut clients = senders(&shim, 20, &head(LIMIT)).await;
        send_pieces(&mut clients, " ", 4_000, base).await;
        let mut chunked = senders(&shim, 20, "POST /jobs/start HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        send_pieces(&mut chunked, "1\r\n \r\n", 4_000, base).await;
    }
}

#[tokio::test]
async fn the_largest_bodies_of_as_many_clients_as_there_may_be_have_room() {
    if !is_alone("the_largest_bodies_of_as_many_clients_as_there_may_be_have_room") {
        return;
    }
    let Limits { connections, .. } = Limits::default();
    for shim in Shim::both(patient(connections), 0).await {
        let base = rss();
        let mut clients = senders(&shim, connections, &head(LIMIT)).await;
        // All but the last byte, so that none is answered.
        let piece = " ".repeat(1_023);
        send_pieces(&mut clients, &piece, 64, base).await;
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_by_its_own_account_is_refused_at_once() {
    for shim in Shim::both(patient(8), 0).await {
        for length in [LIMIT + 1, usize::MAX / 2] {
            let began = Instant::now();
            let mut client = shim.connect().await;
            client.send(&head(length)).await;
            refused(&client.read_to_end().await);
            assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        }
        // The largest there is is waited for.
        let mut client = shim.connect().await;
        client.send(&head(LIMIT)).await;
        assert!(client.is_open().await);
    }
}

#[tokio::test]
async fn a_body_that_does_not_say_how_long_it_is_is_refused_when_it_is_too_large() {
    for shim in Shim::both(patient(8), 0).await {
        let mut client = shim.connect().await;
        client.send("POST /jobs/start HTTP/1.1\r\nHost: telegen\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send(&format!("10000\r\n{}\r\n", " ".repeat(LIMIT))).await;
        assert!(tokio::time::timeout(SHORT, client.0.read_u8()).await.is_err());
        client.send("1\r\n \r\n").await;
        refused(&client.read_to_end().await);
    }
}

fn refused(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    let message = "the body is larger than 65536 bytes; a job takes a few hundred";
    assert_eq!(body(answer), json!({ "error": "too_large", "message": message, "field": null }));
}
