//! Everything that support needs of the databases, as one JSON value. Rows of others are left out: of mirror sessions, log levels and features,
//! only ours.

use serde_json::{Map, Value};

use super::JobTables;
use super::error::TablesError;
use crate::model::job::Fields;
use crate::model::schema::{FEATURE_NAME, LOGGER_COMPONENT, SESSION_PREFIX, appl_db, config_db, state_db};
use crate::sonic::RedisConnection;

impl JobTables {
    /// `{CONFIG_DB: {table: {key: {field: value}}}, APPL_DB: …, STATE_DB: …}`, exactly as it stands in Redis.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn dump(&self) -> Result<Value, TablesError> {
        const CONFIG: [&str; 6] = [
            config_db::SETTINGS,
            config_db::JOB,
            config_db::MIRROR_PORT,
            config_db::MIRROR_SESSION,
            config_db::LOGGER,
            config_db::FEATURE,
        ];
        const STATE: [&str; 8] = [
            state_db::FEATURE,
            state_db::DAEMON,
            state_db::JOB,
            state_db::RESULT,
            state_db::FLOW,
            state_db::HISTOGRAM,
            state_db::MIRROR_SESSION,
            state_db::SWITCH_CAPABILITY,
        ];
        let waiting = format!("_{}", appl_db::JOB);
        let mut databases = Map::new();
        for (link, tables) in
            [(&self.config, &CONFIG[..]), (&self.appl, &[appl_db::JOB, waiting.as_str()]), (&self.state, &STATE)]
        {
            let dumped = dump_tables(&link.connection().await?, tables).await?;
            databases.insert(link.database.name.clone(), dumped);
        }
        Ok(Value::Object(databases))
    }
}

async fn dump_tables(connection: &RedisConnection, tables: &[&str]) -> Result<Value, TablesError> {
    let mut dumped = Map::new();
    for table in tables {
        let rows = connection.rows(table).await?;
        let ours = rows.into_iter().filter(|(key, _)| is_ours(table, key));
        let rows: Map<String, Value> = ours.map(|(key, fields)| (key, object(fields))).collect();
        dumped.insert((*table).to_owned(), Value::Object(rows));
    }
    Ok(Value::Object(dumped))
}

fn is_ours(table: &str, key: &str) -> bool {
    match table {
        config_db::MIRROR_SESSION | state_db::MIRROR_SESSION => key.starts_with(SESSION_PREFIX),
        config_db::LOGGER => key == LOGGER_COMPONENT,
        config_db::FEATURE => key == FEATURE_NAME,
        _ => true,
    }
}

fn object(fields: Fields) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}
