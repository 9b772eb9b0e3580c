//! SONiC's Redis conventions against a real Redis: what `src/sonic` promises, and what it relies on.

// In the helpers of tests as in the tests themselves: a failure here is a failed test.
#![allow(clippy::unwrap_used)]

#[path = "redis_common/mod.rs"]
mod redis_common;

#[path = "sonic_redis/bounds.rs"]
mod bounds;
#[path = "sonic_redis/connections.rs"]
mod connections;
#[path = "sonic_redis/holds.rs"]
mod holds;
#[path = "sonic_redis/losses.rs"]
mod losses;
#[path = "sonic_redis/queues.rs"]
mod queues;
#[path = "sonic_redis/watches.rs"]
mod watches;
