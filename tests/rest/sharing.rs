//! What many clients share: connections to Redis, readings, and the answers themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use telegen_sonic::sonic::RedisConnection;

use super::doors_common::{FakeDaemon, heartbeat, row, write_finished_job};
use super::http::Stream;
use super::memory::{in_memory, snapshot};
use super::redis_common::{Redis, within};
use super::{JOBS, Shim};

/// Connections that Redis has from everybody.
async fn connections(redis: &RedisConnection) -> usize {
    let mut list = redis::cmd("CLIENT");
    let list: String = redis.query("CLIENT", list.arg("LIST")).await.unwrap();
    list.lines().count()
}

/// Commands that Redis carried out since its start.
async fn hgetalls(redis: &RedisConnection) -> u64 {
    let mut info = redis::cmd("INFO");
    let info: String = redis.query("INFO", info.arg("commandstats")).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_hgetall:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn all_requests_together_have_four_connections_to_redis() {
    let redis = Redis::start();
    let state = redis.connect("STATE_DB").await;
    heartbeat(&state).await;
    for id in 0..16 {
        let status = row([("status", "running"), ("port", "Ethernet0")]);
        state.hset_whole(&format!("TELEGEN_JOB_TABLE|j{id}"), &status).await.unwrap();
    }
    let shim = Shim::start(&redis).await;
    let before = connections(&state).await;
    let mut streams = Vec::new();
    for id in 0..16 {
        let mut stream = within("a stream", Stream::open(&shim.socket, &format!("{JOBS}/j{id}/events"))).await;
        within("a status", stream.next()).await.unwrap();
        streams.push(stream);
    }
    // Nobody answers these: each waits for two seconds.
    let starts = (0..32).map(|id| {
        let shim = &shim;
        async move { shim.post(&json!({ "port": "Silent0", "job_id": format!("s{id}") })).await.status }
    });
    let mut starts = std::pin::pin!(join_all(starts));
    let mut most = 0;
    let answers = loop {
        tokio::select! {
            answers = &mut starts => break answers,
            now = connections(&state) => most = most.max(now - before),
        }
    };
    assert_eq!(answers, [202; 32]);
    // CONFIG_DB, STATE_DB, and the one that listens; APPL_DB is only asked about jobs that it may have.
    assert_eq!(most, 3);
}

#[tokio::test]
async fn every_stream_hears_of_its_own_job() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    let mut streams = BTreeMap::new();
    for id in ["a", "b"] {
        shim.post(&json!({ "port": "Ethernet0", "job_id": id })).await;
        let mut stream = within("a stream", Stream::open(&shim.socket, &format!("{JOBS}/{id}/events"))).await;
        within("a status", stream.next()).await.unwrap();
        streams.insert(id, stream);
    }
    shim.call("DELETE", &format!("{JOBS}/a"), "").await;
    let (_, ended) = within("the end", streams.get_mut("a").unwrap().next()).await.unwrap();
    assert_eq!((&ended["job_id"], &ended["status"]), (&json!("a"), &json!("stopped")));
    shim.call("DELETE", &format!("{JOBS}/b"), "").await;
    let (_, ended) = within("the end", streams.get_mut("b").unwrap().next()).await.unwrap();
    assert_eq!((&ended["job_id"], &ended["status"]), (&json!("b"), &json!("stopped")));
}

#[tokio::test]
async fn those_who_follow_when_redis_restarts_are_told_by_the_end_of_their_stream_and_can_follow_again() {
    let mut redis = Redis::start();
    let state = redis.connect("STATE_DB").await;
    let status = row([("status", "running"), ("port", "Ethernet0")]);
    state.hset_whole("TELEGEN_JOB_TABLE|j1", &status).await.unwrap();
    let shim = Shim::start(&redis).await;
    let path = format!("{JOBS}/j1/events");
    let mut stream = within("a stream", Stream::open(&shim.socket, &path)).await;
    within("a status", stream.next()).await.unwrap();
    redis.server.stop(false).unwrap();
    assert_eq!(within("the end of the stream", stream.next()).await, None);
    redis.server.start_again().unwrap();
    within("a status", async {
        while shim.get(JOBS).await.status != 200 || shim.get(&path.replace("events", "results")).await.status == 503 {}
    })
    .await;
    let state = redis.connect("STATE_DB").await;
    state.hset_whole("TELEGEN_JOB_TABLE|j1", &row([("status", "done"), ("port", "Ethernet0")])).await.unwrap();
    // The shared connection has a back-off of its own.
    within("a status", async { while shim.get(&path).await.status == 503 {} }).await;
    let mut stream = within("a stream", Stream::open(&shim.socket, &path)).await;
    assert_eq!(within("a status", stream.next()).await.unwrap().1["status"], "done");
}

#[tokio::test]
async fn two_hundred_who_ask_for_the_same_results_cause_a_handful_of_readings() {
    let redis = Redis::start();
    let state = redis.connect("STATE_DB").await;
    write_finished_job(&state, "j1").await;
    let shim = Shim::start(&redis).await;
    shim.snapshot.send_replace(snapshot(BTreeMap::from([("j1".to_owned(), Arc::new(in_memory("j1", 4_096)))])));
    let path = format!("{JOBS}/j1/results");
    let one = shim.get(&path).await;
    let before = hgetalls(&state).await;
    let answers = join_all((0..200).map(|_| shim.get(&path))).await;
    for answer in &answers {
        assert_eq!((answer.status, answer.text == one.text), (200, true));
    }
    let readings = hgetalls(&state).await - before;
    // A job's row and its totals for each reading; 200 readings would be 400.
    assert!(readings <= 40, "{readings}");
}

#[tokio::test]
async fn an_answer_is_never_older_than_its_question() {
    let redis = Redis::start();
    let state = redis.connect("STATE_DB").await;
    write_finished_job(&state, "j1").await;
    let shim = Shim::start(&redis).await;
    let path = format!("{JOBS}/j1/results");
    for packets in ["1201", "1202", "1203"] {
        // As when coverage comes after the reading: `updated_at` stays.
        state.hset_whole("TELEGEN_RESULT_TABLE|j1", &row([("packets_total", packets)])).await.unwrap();
        let answers = join_all((0..20).map(|_| shim.get(&path))).await;
        for answer in answers {
            assert_eq!(answer.json()["packets_total"].to_string(), packets);
        }
    }
}
