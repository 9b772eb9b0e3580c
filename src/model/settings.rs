//! `TELEGEN|global`, parsed. A value that cannot be taken leaves the default in its place, and that is said: the daemon shows
//! the errors in TELEGEN_DAEMON_TABLE and in its log, because a switch must not lose telemetry to one mistyped setting.

use std::num::NonZeroU32;
use std::time::Duration;

use super::erspan::{self, Erspan};
use super::job::{Fields, SpanMethod};
use super::limits::{self, Default};
use super::schema::{Reason, SettingField, words};
use super::value::{FieldError, Reader, items, printable};
use crate::row::{NULL, base_name};

words! {
    /// Whether jobs are served at all.
    AdminState { Enabled = "enabled", Disabled = "disabled" }
}

words! {
    /// How OTLP travels.
    OtlpProtocol { Grpc = "grpc", HttpProtobuf = "http/protobuf" }
}

/// How the daemon behaves; see the contract for what takes effect at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Disabled ends all jobs.
    pub admin_state: AdminState,
    /// Jobs that may hold resources at once: 1 or 2.
    pub max_jobs: usize,
    /// Mirror sessions that one job may have. How many an ASIC has stands in no table of the switch.
    pub max_sessions: usize,
    /// Jobs that may wait; 0 refuses at once.
    pub max_queue: usize,
    /// How long a job may wait.
    pub queue_ttl: Duration,
    /// How long a row without `expires_at` must be quiet before it is taken up.
    pub settle: Duration,
    /// Whether rows found at start without a status and without `expires_at` are run.
    pub run_saved_jobs: bool,
    /// Duration of a job that does not say.
    pub default_duration: Duration,
    /// Sample rate of a job that does not say.
    pub default_sample_rate: NonZeroU32,
    /// Mirror method of a job that does not say.
    pub span_method: SpanMethod,
    /// Flows that OTLP and REST carry.
    pub topk_flows: usize,
    /// Flows that STATE_DB carries.
    pub state_flows: usize,
    /// Between two writes of the totals.
    pub result_interval: Duration,
    /// Between two writes of the flows.
    pub flow_interval: Duration,
    /// How long a finished job's rows are kept.
    pub result_retention: Duration,
    /// Percent of one core.
    pub cpu_limit_percent: u32,
    /// Bytes that all jobs' maps together may hold.
    pub memory_limit_bytes: u64,
    /// Whether directions that the switch does not confirm are tried.
    pub allow_unprobed: bool,
    /// Whether the daemon finds out by trying what the switch's tables do not say.
    pub probe_switch: bool,
    /// ERSPAN parameters.
    pub erspan: Erspan,
    /// `host:port` or URL of the collector; `None` where only the default applies and an `OTEL_*` variable may win.
    pub otlp_endpoint: Option<String>,
    /// How OTLP travels; `None` where only the default applies.
    pub otlp_protocol: Option<OtlpProtocol>,
    /// Between two exports.
    pub export_interval: Duration,
    /// Unix socket path or loopback address of the REST shim.
    pub rest_listen: String,
}

impl Settings {
    /// Parses the row; every field that cannot be taken keeps its default and is reported.
    #[must_use]
    pub fn parse(fields: &Fields) -> (Settings, Vec<FieldError>) {
        let mut row = Row { fields, errors: Vec::new() };
        row.refuse_unknown();
        let settings = Settings {
            admin_state: row.word(SettingField::AdminState, AdminState::from_word),
            max_jobs: row.integer(SettingField::MaxJobs),
            max_sessions: row.integer(SettingField::MaxSessions),
            max_queue: row.integer(SettingField::MaxQueue),
            queue_ttl: row.seconds(SettingField::QueueTtl),
            settle: Duration::from_millis(row.integer(SettingField::SettleMs)),
            run_saved_jobs: row.boolean(SettingField::RunSavedJobs),
            default_duration: row.seconds(SettingField::DefaultDuration),
            default_sample_rate: NonZeroU32::new(row.integer(SettingField::DefaultSampleRate))
                .unwrap_or(NonZeroU32::MIN),
            span_method: row.word(SettingField::SpanMethod, SpanMethod::from_word),
            topk_flows: row.integer(SettingField::TopkFlows),
            state_flows: row.integer(SettingField::StateFlows),
            result_interval: row.seconds(SettingField::ResultInterval),
            flow_interval: row.seconds(SettingField::FlowInterval),
            result_retention: row.seconds(SettingField::ResultRetention),
            cpu_limit_percent: row.integer(SettingField::CpuLimit),
            memory_limit_bytes: row.integer::<u64>(SettingField::MemoryLimit) << 20,
            allow_unprobed: row.boolean(SettingField::AllowUnprobed),
            probe_switch: row.boolean(SettingField::ProbeSwitch),
            erspan: row.erspan(),
            otlp_endpoint: row.given(SettingField::OtlpEndpoint, |reader, text| reader.text(text)),
            otlp_protocol: row
                .given(SettingField::OtlpProtocol, |reader, text| reader.word(text, OtlpProtocol::from_word)),
            export_interval: row.seconds(SettingField::ExportInterval),
            rest_listen: row.value(SettingField::RestListen, |reader, text| reader.text(text)),
        };
        for reserved in [SettingField::RestCert, SettingField::RestKey, SettingField::RestClientCa] {
            row.refuse_reserved(reserved);
        }
        (settings, row.errors)
    }
}

impl std::default::Default for Settings {
    fn default() -> Settings {
        Settings::parse(&Fields::new()).0
    }
}

struct Row<'a> {
    fields: &'a Fields,
    errors: Vec<FieldError>,
}

impl Row<'_> {
    /// The value in the row, if it is there and can be taken.
    fn given<T>(&mut self, field: SettingField, read: impl Fn(Reader<'_>, &str) -> Result<T, FieldError>) -> Option<T> {
        let text = self.fields.get(field.as_str())?;
        self.taken(read(Reader::new(limits::setting(field)), text))
    }

    /// The items of a list, which stands in the row as `name@` or `name`; one that cannot be taken spoils the list.
    fn list<T>(
        &mut self,
        field: SettingField,
        read: impl Fn(Reader<'_>, &str) -> Result<T, FieldError>,
    ) -> Option<Vec<T>> {
        let rule = limits::setting(field);
        let forms = [format!("{field}@"), field.to_string()];
        let mut given = forms.iter().filter_map(|name| self.fields.get(name));
        let text = given.next()?;
        let refused = |message| FieldError { reason: Reason::InvalidField, field: field.to_string(), message };
        let values: Result<Vec<T>, FieldError> = items(text).map(|item| read(Reader::new(rule), item)).collect();
        let list = match (given.next(), rule.max_items, values) {
            (Some(_), _, _) => Err(refused(format!("{field}: given twice, as {field} and {field}@; give one of them"))),
            (None, Some(max), Ok(values)) if values.len() > max => {
                Err(refused(format!("{field}: {} items are too many; give at most {max}", values.len())))
            }
            (None, _, values) => values,
        };
        self.taken(list)
    }

    fn taken<T>(&mut self, read: Result<T, FieldError>) -> Option<T> {
        read.map_err(|error| self.errors.push(error)).ok()
    }

    /// The value in the row, or the default of `limits`.
    fn value<T>(&mut self, field: SettingField, read: impl Fn(Reader<'_>, &str) -> Result<T, FieldError>) -> T {
        let rule = limits::setting(field);
        self.given(field, &read).unwrap_or_else(|| {
            let Default::Value(text) = rule.default else { unreachable!("{field} has a default in limits::SETTINGS") };
            read(Reader::new(rule), text).unwrap_or_else(|error| unreachable!("default: {error}"))
        })
    }

    fn integer<T: TryFrom<u64>>(&mut self, field: SettingField) -> T {
        self.value(field, |reader, text| reader.integer(text))
    }

    fn seconds(&mut self, field: SettingField) -> Duration {
        Duration::from_secs(self.integer(field))
    }

    fn boolean(&mut self, field: SettingField) -> bool {
        self.value(field, |reader, text| reader.boolean(text))
    }

    fn word<T>(&mut self, field: SettingField, from_word: fn(&str) -> Option<T>) -> T {
        self.value(field, |reader, text| reader.word(text, from_word))
    }

    fn erspan(&mut self) -> Erspan {
        Erspan {
            sources: erspan::pool(
                &self.list(SettingField::ErspanSrcIp, |reader, text| reader.prefix(text)).unwrap_or_default(),
            ),
            dst_ip: self.given(SettingField::ErspanDstIp, |reader, text| reader.address(text)),
            netdev: self.given(SettingField::ErspanNetdev, |reader, text| reader.text(text)),
            gre_type: self.value(SettingField::ErspanGreType, |reader, text| reader.gre_type(text)),
            dscp: self.integer(SettingField::ErspanDscp),
            ttl: self.integer(SettingField::ErspanTtl),
        }
    }

    fn refuse_unknown(&mut self) {
        let is_known = |name: &str| {
            let (base, is_marked) = base_name(name);
            name == NULL || SettingField::from_word(base).is_some_and(|field| field.is_list() || !is_marked)
        };
        for name in self.fields.keys().filter(|name| !is_known(name)) {
            let known: Vec<&str> = SettingField::ALL.iter().map(|field| field.as_str()).collect();
            let message = format!("{}: no such setting; TELEGEN|global has {}", printable(name), known.join(", "));
            self.errors.push(FieldError { reason: Reason::InvalidField, field: printable(name), message });
        }
    }

    fn refuse_reserved(&mut self, field: SettingField) {
        if self.fields.contains_key(field.as_str()) {
            let message = format!(
                "{field}: TLS is reserved and not built into this version; leave it out and use rest_listen with a unix socket or a loopback address"
            );
            self.errors.push(FieldError { reason: Reason::InvalidField, field: field.to_string(), message });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::{AdminState, OtlpProtocol, Settings};
    use crate::model::erspan::GreType;
    use crate::model::job::{Fields, SpanMethod};
    use crate::model::limits::{self, ValueKind};

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_empty_row_means_the_contracts_defaults_and_every_default_parses() {
        let (settings, errors) = Settings::parse(&Fields::new());
        assert_eq!(errors, []);
        assert_eq!((settings.max_jobs, settings.max_queue), (2, 0));
        assert_eq!(settings.queue_ttl.as_secs(), 60);
        assert_eq!(settings.settle.as_millis(), 1000);
        assert_eq!((settings.default_duration.as_secs(), settings.default_sample_rate.get()), (120, 100));
        assert_eq!(settings.span_method, SpanMethod::Span);
        assert_eq!((settings.topk_flows, settings.state_flows), (1024, 20));
        assert_eq!(settings.memory_limit_bytes, 64 << 20);
        assert_eq!(settings.erspan.gre_type, GreType::Erspan);
        assert_eq!(settings.rest_listen, "/var/run/telegen/rest.sock");
    }

    #[test]
    fn a_bad_value_keeps_its_default_is_reported_and_leaves_the_others_alone() {
        let (settings, errors) = Settings::parse(&fields(&[("max_jobs", "3"), ("admin_state", "disabled")]));
        assert_eq!((settings.max_jobs, settings.admin_state), (2, AdminState::Disabled));
        let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(messages, ["max_jobs: \"3\" is not accepted; give an integer from 1 to 2"]);
    }

    #[test]
    fn unknown_and_reserved_settings_are_named() {
        let (_, errors) = Settings::parse(&fields(&[("max_job", "1"), ("rest_cert", "/etc/x"), ("NULL", "NULL")]));
        let named: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, ["max_job", "rest_cert"]);
    }

    #[test]
    fn the_pool_of_sources_is_a_list_of_addresses_and_prefixes() {
        let sources = |pairs: &[(&str, &str)]| {
            let (settings, errors) = Settings::parse(&fields(pairs));
            let sources: Vec<String> = settings.erspan.sources.iter().map(ToString::to_string).collect();
            (sources.join(" "), errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        };
        let (none, ok) = (String::new(), String::new());
        assert_eq!(
            sources(&[("erspan_src_ip@", "10.0.0.9, 10.0.0.4/30")]),
            ("10.0.0.9 10.0.0.5 10.0.0.6".to_owned(), ok)
        );
        let refused =
            "erspan_src_ip: \"host\" is not accepted; give an IPv4 or IPv6 prefix such as 10.0.0.0/8 or 2001:db8::/32";
        assert_eq!(sources(&[("erspan_src_ip", "10.0.0.1,host")]), (none.clone(), refused.to_owned()));
        let many = ["10.0.0.1"; 17].join(",");
        let refused = "erspan_src_ip: 17 items are too many; give at most 16";
        assert_eq!(sources(&[("erspan_src_ip", &many)]), (none.clone(), refused.to_owned()));
        let refused = "erspan_src_ip: given twice, as erspan_src_ip and erspan_src_ip@; give one of them";
        assert_eq!(sources(&[("erspan_src_ip", "::1"), ("erspan_src_ip@", "::1")]), (none, refused.to_owned()));
    }

    #[test]
    fn every_number_is_taken_to_the_ends_of_its_range_and_keeps_its_default_beyond() {
        let default = Settings::default();
        for rule in &limits::SETTINGS {
            let ValueKind::Integer { min, max } = rule.kind else { continue };
            for value in [min, max] {
                let (_, errors) = Settings::parse(&fields(&[(rule.field.as_str(), &value.to_string())]));
                assert_eq!(errors, [], "{} {value}", rule.field);
            }
            let below = min.checked_sub(1).map(|value| value.to_string());
            for value in below.into_iter().chain([(max + 1).to_string(), "x".to_owned()]) {
                let (settings, errors) = Settings::parse(&fields(&[(rule.field.as_str(), &value)]));
                assert_eq!(settings, default, "{} {value}", rule.field);
                let message =
                    format!("{}: \"{value}\" is not accepted; give an integer from {min} to {max}", rule.field);
                assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [message]);
            }
        }
    }

    #[test]
    fn every_setting_changes_what_it_names_and_nothing_else() {
        type Change = fn(&mut Settings);
        let cases: [(&str, &str, Change); 28] = [
            ("admin_state", "disabled", |settings| settings.admin_state = AdminState::Disabled),
            ("max_jobs", "1", |settings| settings.max_jobs = 1),
            ("max_sessions", "3", |settings| settings.max_sessions = 3),
            ("max_queue", "3", |settings| settings.max_queue = 3),
            ("queue_ttl", "7", |settings| settings.queue_ttl = Duration::from_secs(7)),
            ("settle_ms", "7", |settings| settings.settle = Duration::from_millis(7)),
            ("run_saved_jobs", "true", |settings| settings.run_saved_jobs = true),
            ("default_duration", "7", |settings| settings.default_duration = Duration::from_secs(7)),
            ("default_sample_rate", "1", |settings| settings.default_sample_rate = NonZeroU32::MIN),
            ("span_method", "none", |settings| settings.span_method = SpanMethod::None),
            ("topk_flows", "7", |settings| settings.topk_flows = 7),
            ("state_flows", "7", |settings| settings.state_flows = 7),
            ("result_interval", "7", |settings| settings.result_interval = Duration::from_secs(7)),
            ("flow_interval", "7", |settings| settings.flow_interval = Duration::from_secs(7)),
            ("result_retention", "7", |settings| settings.result_retention = Duration::from_secs(7)),
            ("cpu_limit", "7", |settings| settings.cpu_limit_percent = 7),
            ("memory_limit", "7", |settings| settings.memory_limit_bytes = 7 << 20),
            ("allow_unprobed", "true", |settings| settings.allow_unprobed = true),
            ("erspan_src_ip", "10.0.0.7", |settings| settings.erspan.sources = vec![Ipv4Addr::new(10, 0, 0, 7).into()]),
            ("erspan_src_ip@", "10.0.0.7", |settings| {
                settings.erspan.sources = vec![Ipv4Addr::new(10, 0, 0, 7).into()];
            }),
            ("erspan_dst_ip", "::7", |settings| settings.erspan.dst_ip = Some(Ipv6Addr::from(7).into())),
            ("erspan_netdev", "gre7", |settings| settings.erspan.netdev = Some("gre7".to_owned())),
            ("erspan_gre_type", "25944", |settings| settings.erspan.gre_type = GreType::Bridging),
            ("erspan_dscp", "7", |settings| settings.erspan.dscp = 7),
            ("erspan_ttl", "7", |settings| settings.erspan.ttl = 7),
            ("otlp_endpoint", "h:7", |settings| settings.otlp_endpoint = Some("h:7".to_owned())),
            ("otlp_protocol", "http/protobuf", |settings| settings.otlp_protocol = Some(OtlpProtocol::HttpProtobuf)),
            ("rest_listen", "/x", |settings| settings.rest_listen = "/x".to_owned()),
        ];
        for (name, value, change) in cases {
            let mut expected = Settings::default();
            change(&mut expected);
            assert_eq!(Settings::parse(&fields(&[(name, value)])), (expected, vec![]), "{name}");
        }
    }
}
