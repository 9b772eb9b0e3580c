//! SONiC's Redis wire conventions, free of telegen's words: useful to any program on a SONiC switch.
//!
//! - [`database_config`]: which Redis holds which database, under which id and separator;
//! - [`connection`]: one database, every command within a time limit; [`bounded`]: rows of any size; [`link`]: connected again after a loss;
//! - [`subscriber_table`]: follow tables of CONFIG_DB or STATE_DB;
//! - [`producer_table`], [`consumer_table`]: the queue-like protocol of APPL_DB;
//! - [`pubsub`]: what both of them listen to; [`hold`]: a right that one process at a time has;
//! - [`syslog`]: lines for the system log, and the levels of CONFIG_DB `LOGGER`;
//! - [`ready`]: wait until the switch has loaded its configuration.
//!
//! What a field's name and value mean is in [`crate::row`].
//!
//! The names are those of sonic-swss-common, the text is not: this is written from the protocol, and tested against a real Redis.

pub mod backoff;
pub mod bounded;
pub mod connection;
pub mod consumer_table;
pub mod database_config;
pub mod error;
pub mod hold;
mod inbox;
pub mod link;
mod oddities;
pub mod producer_table;
pub mod pubsub;
pub mod ready;
pub mod subscriber_table;
pub mod syslog;

pub use crate::row::Fields;
pub use connection::{RedisConnection, connect};
pub use consumer_table::ConsumerQueue;
pub use database_config::{Database, DatabaseConfig, DatabaseConfigError};
pub use error::Error;
pub use link::Reconnecting;
pub use producer_table::ProducerStateTable;
pub use ready::wait_for_config_db;
pub use subscriber_table::{TableWatch, WatchEvent, Watched};
