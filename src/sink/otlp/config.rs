//! Where and how to export: `TELEGEN|global` over the standard `OTEL_*` variables over the defaults. Pure: the environment comes in as a
//! value.
//!
//! Sources: OpenTelemetry specification, "OTLP Exporter Configuration" and "General SDK Configuration". Of the variables for one signal
//! only the endpoints are read; those for compression and TLS are not.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use thiserror::Error;

use super::Signal;
use crate::model::settings::{OtlpProtocol, Settings};
use crate::model::value::printable;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";

/// How long a request may take where the environment does not say. The specification's default is 10 s; the shorter one keeps a
/// hanging collector from delaying the next export by a whole `export_interval`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The `OTEL_*` variables of a process. An empty one counts as absent, as the specification says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Environment {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        Environment::from_pairs(std::env::vars_os().map(|(name, value)| (text(name), text(value))))
    }

    /// These variables; names that do not begin with `OTEL_` are ignored.
    #[must_use]
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Environment {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Environment(pairs.filter(|(name, _)| name.starts_with("OTEL_")).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// A value that cannot be taken: which, what it said, what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The value is not of its kind.
    #[error("{name}: \"{value}\" is not accepted; give {accepted}")]
    Invalid {
        /// Field or variable.
        name: &'static str,
        /// What it says.
        value: String,
        /// What would do.
        accepted: &'static str,
    },
    /// One item of a list is not of its kind. Its text is not repeated: headers carry secrets.
    #[error("{name}: item {item} is not accepted; give {accepted}")]
    InvalidItem {
        /// Variable.
        name: &'static str,
        /// Counted from 1.
        item: usize,
        /// What would do.
        accepted: &'static str,
    },
    /// An endpoint that needs TLS.
    #[error(
        "{name}: \"{value}\" needs TLS, which is not built into this version; give an http:// endpoint, such as that of a collector on this switch"
    )]
    Tls {
        /// Field or variable.
        name: &'static str,
        /// What it says.
        value: String,
    },
}

/// What the export needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `OTEL_SDK_DISABLED`: nothing is sent.
    pub disabled: bool,
    /// How OTLP travels.
    pub protocol: OtlpProtocol,
    /// Between two exports.
    pub interval: Duration,
    /// How long one request may take.
    pub timeout: Duration,
    /// Sent with every request; all marked as sensitive, so that they never reach a log.
    pub headers: HeaderMap,
    /// Attributes of the resource that the environment gives.
    pub resource: Vec<(String, String)>,
    /// Where each signal goes, by `Signal as usize`, as an absolute URL. A signal whose endpoint cannot be taken is not sent at all: another place than
    /// the one asked for would be worse.
    pub targets: [Result<Uri, ConfigError>; Signal::ALL.len()],
    /// Variables that could not be taken; the default stands in for each.
    pub ignored: Vec<ConfigError>,
}

impl Config {
    /// Table over environment over default. Takes what can be taken of the rest if one value is wrong.
    #[must_use]
    pub fn resolve(settings: &Settings, environment: &Environment) -> Config {
        let mut ignored = Ignored::default();
        let env_protocol = ignored.or_default(protocol(environment));
        let protocol = settings.otlp_protocol.or(env_protocol).unwrap_or(OtlpProtocol::Grpc);
        Config {
            disabled: ignored.or_default(disabled(environment)),
            protocol,
            interval: settings.export_interval,
            timeout: ignored.or_default(timeout(environment)).unwrap_or(DEFAULT_TIMEOUT),
            headers: ignored.or_default(headers(environment)),
            resource: ignored.or_default(resource(environment)),
            targets: Signal::ALL.map(|signal| target(settings, environment, protocol, signal)),
            ignored: ignored.0,
        }
    }

    /// Where `signal` goes.
    ///
    /// # Errors
    /// The reason why it is not sent.
    pub fn target(&self, signal: Signal) -> Result<&Uri, &ConfigError> {
        self.targets[signal as usize].as_ref()
    }
}

#[derive(Default)]
struct Ignored(Vec<ConfigError>);

impl Ignored {
    fn or_default<T: Default>(&mut self, result: Result<T, ConfigError>) -> T {
        result.unwrap_or_else(|error| {
            self.0.push(error);
            T::default()
        })
    }
}

fn protocol(environment: &Environment) -> Result<Option<OtlpProtocol>, ConfigError> {
    let parse =
        |word: &str| OtlpProtocol::from_word(word).ok_or_else(|| invalid(PROTOCOL, word, "grpc or http/protobuf"));
    environment.get(PROTOCOL).map(parse).transpose()
}

fn timeout(environment: &Environment) -> Result<Option<Duration>, ConfigError> {
    let parse = |text: &str| match text.parse::<u64>() {
        Ok(millis @ 1..=600_000) => Ok(Duration::from_millis(millis)),
        _ => Err(invalid(TIMEOUT, text, "milliseconds from 1 to 600000")),
    };
    environment.get(TIMEOUT).map(parse).transpose()
}

fn disabled(environment: &Environment) -> Result<bool, ConfigError> {
    match environment.get(SDK_DISABLED) {
        None => Ok(false),
        Some(word) if word.eq_ignore_ascii_case("true") => Ok(true),
        Some(word) if word.eq_ignore_ascii_case("false") => Ok(false),
        Some(word) => Err(invalid(SDK_DISABLED, word, "true or false")),
    }
}

fn headers(environment: &Environment) -> Result<HeaderMap, ConfigError> {
    let accepted = "name=value with a name of letters, digits and -, and a percent-encoded value";
    let mut headers = HeaderMap::new();
    for (index, (name, value)) in pairs(environment, HEADERS, accepted)?.into_iter().enumerate() {
        let error = || ConfigError::InvalidItem { name: HEADERS, item: index + 1, accepted };
        let name = HeaderName::try_from(name).map_err(|_| error())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| error())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn resource(environment: &Environment) -> Result<Vec<(String, String)>, ConfigError> {
    let mut attributes = pairs(environment, RESOURCE_ATTRIBUTES, "name=value with a percent-encoded value");
    if let (Some(name), Ok(attributes)) = (environment.get(SERVICE_NAME), &mut attributes) {
        attributes.retain(|(key, _)| key != "service.name");
        attributes.push(("service.name".to_owned(), name.to_owned()));
    }
    attributes
}

/// `name=value,name=value`, the values percent-encoded as in W3C Baggage. One bad item refuses the whole variable, as the specification asks.
fn pairs(
    environment: &Environment,
    name: &'static str,
    accepted: &'static str,
) -> Result<Vec<(String, String)>, ConfigError> {
    let text = environment.get(name).unwrap_or_default();
    let items = text.split(',').map(str::trim).enumerate().filter(|(_, item)| !item.is_empty());
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (index, item) in items {
        let pair = item.split_once('=').and_then(|(key, value)| {
            let key = percent_decoded(key.trim()).filter(|key| !key.is_empty())?;
            Some((key, percent_decoded(value.trim())?))
        });
        let (key, value) = pair.ok_or(ConfigError::InvalidItem { name, item: index + 1, accepted })?;
        pairs.retain(|(known, _)| *known != key);
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// `None` for a `%` without two hexadecimal digits, and for what is not UTF-8 afterwards.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push(if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

/// The table's endpoint, else the signal's variable, else the common variable, else the default of the protocol.
fn target(
    settings: &Settings,
    environment: &Environment,
    protocol: OtlpProtocol,
    signal: Signal,
) -> Result<Uri, ConfigError> {
    let default = match protocol {
        OtlpProtocol::Grpc => "localhost:4317",
        OtlpProtocol::HttpProtobuf => "localhost:4318",
    };
    let own = match signal {
        Signal::Metrics => "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        Signal::Logs => "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        Signal::Traces => "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    };
    let table = settings.otlp_endpoint.as_deref();
    let (name, text, is_base) = None
        .or_else(|| Some(("otlp_endpoint", table?, true)))
        .or_else(|| Some((own, environment.get(own)?, false)))
        .or_else(|| Some((ENDPOINT, environment.get(ENDPOINT)?, true)))
        .unwrap_or(("otlp_endpoint", default, true));
    let uri = endpoint(name, text)?;
    match protocol {
        OtlpProtocol::Grpc if uri.path() != "/" => {
            Err(invalid(name, text, "a URL without a path: gRPC has none (or set the protocol to http/protobuf)"))
        }
        OtlpProtocol::HttpProtobuf if is_base => {
            let path = format!("{}/v1/{}", uri.path().trim_end_matches('/'), signal.as_str());
            let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
            Uri::builder()
                .scheme("http")
                .authority(authority)
                .path_and_query(path)
                .build()
                .map_err(|_| invalid(name, text, ENDPOINT_FORM))
        }
        OtlpProtocol::Grpc | OtlpProtocol::HttpProtobuf => Ok(uri),
    }
}

const ENDPOINT_FORM: &str = "host:port or http://host:port, without user, password or query";

/// An absolute http URL; a missing scheme means http.
fn endpoint(name: &'static str, text: &str) -> Result<Uri, ConfigError> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = with_scheme.parse().map_err(|_| invalid(name, text, ENDPOINT_FORM))?;
    if uri.scheme_str() == Some("https") {
        return Err(ConfigError::Tls { name, value: shown(text) });
    }
    let is_http = uri.scheme_str() == Some("http") && uri.query().is_none();
    if is_http && uri.authority().is_some_and(is_host_and_port) {
        Ok(uri)
    } else {
        Err(invalid(name, text, ENDPOINT_FORM))
    }
}

/// A host, and perhaps a port that is one; no user. (`Authority::port` is `None` for what is no port, too.)
fn is_host_and_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let is_port =
        |text: &str| text.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port > 0);
    !authority.host().is_empty() && port.is_some_and(|port| port.is_empty() || is_port(port))
}

fn invalid(name: &'static str, value: &str, accepted: &'static str) -> ConfigError {
    ConfigError::Invalid { name, value: shown(value), accepted }
}

/// A value as a message may repeat it: without what stands before an `@`, which may be a password.
fn shown(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((_, host)) => printable(&format!("…@{host}")),
        None => printable(value),
    }
}
