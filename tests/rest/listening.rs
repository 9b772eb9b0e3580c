//! Where the shim listens, and where it does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use telegen_sonic::io::tables::JobTables;
use telegen_sonic::model::report::ExportState;
use telegen_sonic::sink::rest::{ListenError, bind, serve};
use tokio::sync::watch;

use super::memory::snapshot;
use super::redis_common::Redis;

#[tokio::test]
async fn a_stale_socket_is_replaced_and_one_that_answers_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rest.sock");
    let listen = path.to_str().unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let bound = bind(listen).await.unwrap();
    assert!(matches!(bind(listen).await, Err(ListenError::InUse { .. })));
    drop(bound);
    assert!(!path.exists());
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(bind(listen).await, Err(ListenError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[tokio::test]
async fn tcp_is_for_loopback_only() {
    let bound = bind("127.0.0.1:0").await.unwrap();
    assert!(bound.tcp_address().unwrap().ip().is_loopback());
    for refused in ["0.0.0.0:8080", "192.0.2.1:8080", "rest.sock", ""] {
        assert!(matches!(bind(refused).await, Err(ListenError::NotAccepted { .. })), "{refused}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_is_an_error() {
    let redis = Redis::start();
    let tables = Arc::new(JobTables::new(&redis.config).unwrap());
    let (_snapshot, snapshots) = watch::channel(snapshot(BTreeMap::new()));
    let (_export, exports) = watch::channel(ExportState::default());
    let served = serve("0.0.0.0:1", tables, snapshots, exports, std::future::pending()).await;
    assert!(served.unwrap_err().to_string().contains("mutual TLS"));
}

#[tokio::test]
async fn a_socket_whose_queue_is_full_is_served_by_somebody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rest.sock");
    let busy = std::os::unix::net::UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&busy, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert!(matches!(bind(path.to_str().unwrap()).await, Err(ListenError::InUse { .. })));
    drop(busy);
    bind(path.to_str().unwrap()).await.unwrap();
}
