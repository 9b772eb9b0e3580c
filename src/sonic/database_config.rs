//! `database_config.json` and `database_global.json`: which Redis instance holds which database.
//!
//! Format: sonic-swss-common `dbconnector.cpp`, sonic-buildimage `database_config.json.j2`. Ids, separators and instances always come
//! from the file: `enable_multidb` spreads the databases over several servers, and a multi-ASIC switch has one file per namespace.
//! This file reads; it connects to nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::hold::Right;

use serde_json::{Map, Value};

/// Where SONiC keeps the file of a single-ASIC switch, and of the host namespace of a multi-ASIC switch.
pub const DEFAULT_PATH: &str = "/var/run/redis/sonic-db/database_config.json";
/// Where SONiC lists the files of all namespaces of a multi-ASIC switch.
pub const DEFAULT_GLOBAL_PATH: &str = "/var/run/redis/sonic-db/database_global.json";

const INCLUDES_FORM: &str = "a list of {\"include\": file, \"namespace\": name}";

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseConfigError {
    /// The file cannot be read.
    #[error("{file}: {source}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not JSON.
    #[error("{file}: not JSON: {source}", file = file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line, column and cause.
        source: serde_json::Error,
    },
    /// A field is missing or holds what it must not.
    #[error("{file}: {field}: {value}: expected {expected}", file = file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// The field, as a path: `DATABASES.CONFIG_DB.id`.
        field: String,
        /// The value found, as JSON, or `missing`.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The file does not name the database.
    #[error("{file}: DATABASES: no {database}; it names {known}", file = file.display())]
    UnknownDatabase {
        /// The file.
        file: PathBuf,
        /// The database asked for.
        database: String,
        /// The databases that the file names.
        known: String,
    },
    /// The global file does not name the namespace.
    #[error("{file}: INCLUDES: no namespace {namespace:?}; it names {known}", file = file.display())]
    UnknownNamespace {
        /// The file.
        file: PathBuf,
        /// The namespace asked for.
        namespace: String,
        /// The namespaces that the file names.
        known: String,
    },
}

/// A Redis server, by the ways that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its unix socket, if the file names one.
    pub unix_socket: Option<PathBuf>,
    /// Its TCP host.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

/// One way to a Redis server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// TCP, `host:port`.
    Tcp(String, u16),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(formatter, "{}", path.display()),
            Endpoint::Tcp(host, port) => write!(formatter, "{host}:{port}"),
        }
    }
}

/// One database: its number, its separator and its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `CONFIG_DB`, `STATE_DB`, …
    pub name: String,
    /// The number for SELECT. Two names may share one (PFC_WD_DB and FLEX_COUNTER_DB do).
    pub id: u32,
    /// Between table and key, and between the parts of a key.
    pub separator: String,
    /// The server that holds it.
    pub instance: Instance,
}

impl Database {
    /// The Redis key of row `key` of `table`.
    #[must_use]
    pub fn key(&self, table: &str, key: &str) -> String {
        format!("{table}{}{key}", self.separator)
    }

    /// Table and row key of a Redis key: what stands before and after the first separator. `None` for a key without one.
    #[must_use]
    pub fn split_key<'a>(&self, redis_key: &'a str) -> Option<(&'a str, &'a str)> {
        redis_key.split_once(&*self.separator)
    }

    /// The way to take now: the unix socket if the file names one (it costs less and needs no network), TCP if there is none. A socket that
    /// cannot be looked for is taken: connecting says why, and what listens at the TCP port may be another server.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        match &self.instance.unix_socket {
            Some(path) if !matches!(path.try_exists(), Ok(false)) => Endpoint::Unix(path.clone()),
            Some(_) | None => Endpoint::Tcp(self.instance.host.clone(), self.instance.port),
        }
    }
}

/// The databases of one namespace.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    file: PathBuf,
    databases: BTreeMap<String, Database>,
    right: Option<Right>,
}

impl DatabaseConfig {
    /// The same databases, whose [`Reconnecting`](super::Reconnecting) connections are given only while a right is held.
    #[must_use]
    pub fn only_with(&self, right: Right) -> DatabaseConfig {
        DatabaseConfig { right: Some(right), ..self.clone() }
    }

    /// The right without which nothing is done to these databases; `None`: there is none.
    #[must_use]
    pub fn right(&self) -> Option<Right> {
        self.right.clone()
    }

    /// Reads `path`, see [`DEFAULT_PATH`].
    ///
    /// # Errors
    /// The file is missing, is not JSON, or says something that cannot be: the error names file, field and value.
    pub fn load(path: &Path) -> Result<DatabaseConfig, DatabaseConfigError> {
        DatabaseConfig::from_value(&read_json(path)?, path)
    }

    /// Reads `text` as if it were the file `origin`, which is used in messages only.
    ///
    /// # Errors
    /// As [`DatabaseConfig::load`].
    pub fn from_json(text: &str, origin: &Path) -> Result<DatabaseConfig, DatabaseConfigError> {
        DatabaseConfig::from_value(&parse_json(text, origin)?, origin)
    }

    /// The database `name`.
    ///
    /// # Errors
    /// The file does not name it; the error says which ones it names.
    pub fn database(&self, name: &str) -> Result<&Database, DatabaseConfigError> {
        self.databases.get(name).ok_or_else(|| DatabaseConfigError::UnknownDatabase {
            file: self.file.clone(),
            database: name.to_owned(),
            known: self.databases.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// All databases, by name.
    pub fn databases(&self) -> impl Iterator<Item = &Database> {
        self.databases.values()
    }

    fn from_value(root: &Value, file: &Path) -> Result<DatabaseConfig, DatabaseConfigError> {
        let reader = Reader { file };
        let mut instances = BTreeMap::new();
        for (name, value) in reader.object(root, "INSTANCES", "")? {
            let at = format!("INSTANCES.{name}");
            let instance = Instance {
                unix_socket: reader.optional_text(value, "unix_socket_path", &at)?.map(PathBuf::from),
                host: reader.text(value, "hostname", &at)?.to_owned(),
                port: reader.number(value, "port", &at, "a port number 0..65535")?,
            };
            instances.insert(name.as_str(), instance);
        }
        let mut databases = BTreeMap::new();
        for (name, value) in reader.object(root, "DATABASES", "")? {
            let at = format!("DATABASES.{name}");
            let wanted = reader.text(value, "instance", &at)?;
            let instance = instances.get(wanted).cloned().ok_or_else(|| {
                reader.error(format!("{at}.instance"), value.get("instance"), "the name of an entry of INSTANCES")
            })?;
            let database = Database {
                name: name.clone(),
                id: reader.number(value, "id", &at, "a whole number from 0")?,
                separator: reader.text(value, "separator", &at)?.to_owned(),
                instance,
            };
            databases.insert(name.clone(), database);
        }
        Ok(DatabaseConfig { file: file.to_owned(), databases, right: None })
    }
}

/// The namespaces of a multi-ASIC switch, each with a file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalConfig {
    file: PathBuf,
    includes: BTreeMap<String, PathBuf>,
}

impl GlobalConfig {
    /// Reads `path`, see [`DEFAULT_GLOBAL_PATH`].
    ///
    /// # Errors
    /// The file is missing, is not JSON, or says something that cannot be.
    pub fn load(path: &Path) -> Result<GlobalConfig, DatabaseConfigError> {
        let root = read_json(path)?;
        let reader = Reader { file: path };
        let list = root.get("INCLUDES");
        let entries =
            list.and_then(Value::as_array).ok_or_else(|| reader.error("INCLUDES".to_owned(), list, INCLUDES_FORM))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut includes = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let at = format!("INCLUDES[{index}]");
            let include = folder.join(reader.text(entry, "include", &at)?);
            // A DPU's databases carry the name of their container instead of a namespace; the host's carry neither.
            let name = match reader.optional_text(entry, "namespace", &at)? {
                Some(namespace) => namespace,
                None => reader.optional_text(entry, "container_name", &at)?.unwrap_or_default(),
            };
            if includes.insert(name.to_owned(), include).is_some() {
                return Err(reader.error(at, Some(entry), "a namespace that no other entry has"));
            }
        }
        Ok(GlobalConfig { file: path.to_owned(), includes })
    }

    /// The namespaces, the host's as the empty name.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.includes.keys().map(String::as_str)
    }

    /// The databases of `namespace`; of the host, if it is empty.
    ///
    /// # Errors
    /// The file does not name it, or its own file is wrong.
    pub fn namespace(&self, namespace: &str) -> Result<DatabaseConfig, DatabaseConfigError> {
        let path = self.includes.get(namespace).ok_or_else(|| DatabaseConfigError::UnknownNamespace {
            file: self.file.clone(),
            namespace: namespace.to_owned(),
            known: self.namespaces().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
        })?;
        DatabaseConfig::load(path)
    }
}

fn read_json(path: &Path) -> Result<Value, DatabaseConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| DatabaseConfigError::Read { file: path.to_owned(), source })?;
    parse_json(&text, path)
}

fn parse_json(text: &str, file: &Path) -> Result<Value, DatabaseConfigError> {
    serde_json::from_str(text).map_err(|source| DatabaseConfigError::Syntax { file: file.to_owned(), source })
}

/// Reads fields and knows the file for its messages.
struct Reader<'a> {
    file: &'a Path,
}

impl Reader<'_> {
    fn error(&self, field: String, value: Option<&Value>, expected: &'static str) -> DatabaseConfigError {
        let value = value.map_or_else(|| "missing".to_owned(), Value::to_string);
        DatabaseConfigError::Field { file: self.file.to_owned(), field, value, expected }
    }

    fn object<'v>(
        &self,
        parent: &'v Value,
        name: &str,
        at: &str,
    ) -> Result<&'v Map<String, Value>, DatabaseConfigError> {
        let value = parent.get(name);
        value.and_then(Value::as_object).ok_or_else(|| self.error(join(at, name), value, "an object"))
    }

    fn text<'v>(&self, parent: &'v Value, name: &str, at: &str) -> Result<&'v str, DatabaseConfigError> {
        let value = parent.get(name);
        let text = value.and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| self.error(join(at, name), value, "a text that is not empty"))
    }

    fn optional_text<'v>(
        &self,
        parent: &'v Value,
        name: &str,
        at: &str,
    ) -> Result<Option<&'v str>, DatabaseConfigError> {
        match parent.get(name) {
            None => Ok(None),
            // The template writes an empty path where an instance has no socket.
            Some(Value::String(text)) => Ok((!text.is_empty()).then_some(text)),
            Some(other) => Err(self.error(join(at, name), Some(other), "a text")),
        }
    }

    fn number<T: TryFrom<u64>>(
        &self,
        parent: &Value,
        name: &str,
        at: &str,
        expected: &'static str,
    ) -> Result<T, DatabaseConfigError> {
        let value = parent.get(name);
        let number = value.and_then(Value::as_u64).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.error(join(at, name), value, expected))
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

#[cfg(test)]
mod tests;
