//! Polls the packet counters of a job's source ports in COUNTERS_DB. What they add up to is `model::aggregate`'s business.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::aggregate::{PortCounters, PortPoll};
use crate::model::schema::counters_db;
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Fields, Reconnecting};

/// Reads port counters.
#[derive(Debug)]
pub struct Counters {
    database: Reconnecting,
}

impl Counters {
    /// The counters of the switch that `databases` describes.
    ///
    /// # Errors
    /// The configuration lacks COUNTERS_DB.
    pub fn new(databases: &DatabaseConfig) -> Result<Counters, DatabaseConfigError> {
        Ok(Counters { database: Reconnecting::new(databases, "COUNTERS_DB")? })
    }

    /// The counters of `ports`; one without counters is left out. The oids are read every time, because orchagent makes new
    /// ones when it restarts.
    ///
    /// # Errors
    /// Redis is away or did not answer.
    pub async fn poll(&mut self, ports: &BTreeSet<String>) -> Result<PortPoll, Error> {
        let connection = self.database.connection().await?;
        let mut oids = Vec::new();
        for port in ports {
            if let Some(oid) = connection.hget(counters_db::PORT_NAME_MAP, port).await? {
                oids.push((port.clone(), oid));
            }
        }
        let key = |oid: &String| connection.database().key(counters_db::COUNTERS, oid);
        let keys: Vec<String> = oids.iter().map(|(_, oid)| key(oid)).collect();
        let rows = connection.hgetall_many(&keys).await?;
        let polled = oids.into_iter().zip(&rows).filter_map(|((port, oid), row)| Some((port, counters(oid, row)?)));
        Ok(PortPoll { ports: polled.collect::<BTreeMap<_, _>>() })
    }
}

/// `None` while the counters have not been polled once: a row without them is not a port without traffic.
fn counters(oid: String, row: &Fields) -> Option<PortCounters> {
    let count = |field: &str| row.get(field)?.parse::<u64>().ok();
    Some(PortCounters {
        oid,
        packets_in: count(counters_db::IN_UCAST)? + count(counters_db::IN_NON_UCAST)?,
        packets_out: count(counters_db::OUT_UCAST)? + count(counters_db::OUT_NON_UCAST)?,
    })
}
