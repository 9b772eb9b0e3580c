//! Table over environment over default, and every form of an endpoint.

use std::time::Duration;

use telegen_sonic::model::settings::{OtlpProtocol, Settings};
use telegen_sonic::sink::otlp::{Config, Environment, Signal};

use crate::fixtures::settings;

fn config(table: impl FnOnce(&mut Settings), environment: &[(&str, &str)]) -> Config {
    Config::resolve(&settings(table), &Environment::from_pairs(environment.iter().copied()))
}

fn targets(config: &Config) -> [String; 3] {
    Signal::ALL.map(|signal| match config.target(signal) {
        Ok(url) => url.to_string(),
        Err(error) => error.to_string(),
    })
}

fn endpoint(text: &str) -> impl FnOnce(&mut Settings) + use<> {
    let text = text.to_owned();
    |settings| settings.otlp_endpoint = Some(text)
}

#[test]
fn without_a_word_it_is_grpc_to_this_host() {
    let config = config(|_| {}, &[]);
    assert_eq!(config.protocol, OtlpProtocol::Grpc);
    assert_eq!(targets(&config), ["http://localhost:4317/"; 3]);
    assert_eq!((config.interval, config.timeout), (Duration::from_secs(10), Duration::from_secs(5)));
    assert!(!config.disabled && config.headers.is_empty() && config.resource.is_empty());
}

#[test]
fn http_has_its_own_default_port_and_a_path_for_each_signal() {
    let config = config(|settings| settings.otlp_protocol = Some(OtlpProtocol::HttpProtobuf), &[]);
    let base = "http://localhost:4318/v1";
    assert_eq!(targets(&config), [format!("{base}/metrics"), format!("{base}/logs"), format!("{base}/traces")]);
}

#[test]
fn the_table_wins_over_every_variable() {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://common:1"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://own:2"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let table = |settings: &mut Settings| {
        settings.otlp_endpoint = Some("table:3".to_owned());
        settings.otlp_protocol = Some(OtlpProtocol::Grpc);
    };
    assert_eq!(targets(&config(table, &environment)), ["http://table:3/"; 3]);
}

#[test]
fn a_signals_variable_wins_over_the_common_one_and_is_taken_as_it_is() {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://common:1/otlp/"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://own:2/ingest"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let expected = ["http://common:1/otlp/v1/metrics", "http://own:2/ingest", "http://common:1/otlp/v1/traces"];
    assert_eq!(targets(&config(|_| {}, &environment)), expected);
}

#[test]
fn an_empty_variable_counts_as_absent() {
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_EXPORTER_OTLP_PROTOCOL", " ")];
    let config = config(|_| {}, &environment);
    assert_eq!(targets(&config), ["http://localhost:4317/"; 3]);
    assert_eq!(config.ignored, []);
}

#[test]
fn a_missing_scheme_means_http_and_addresses_may_be_ipv6() {
    let target = |text: &str| targets(&config(endpoint(text), &[]))[0].clone();
    assert_eq!(target("collector:4317"), "http://collector:4317/");
    assert_eq!(target("http://10.0.0.1:4317/"), "http://10.0.0.1:4317/");
    assert_eq!(target("[2001:db8::1]:4317"), "http://[2001:db8::1]:4317/");
    assert_eq!(target("HTTP://collector"), "http://collector/");
}

#[test]
fn https_is_refused_and_never_downgraded() {
    let config = config(endpoint("https://collector:4317"), &[]);
    assert_eq!(
        targets(&config)[0],
        "otlp_endpoint: \"https://collector:4317\" needs TLS, which is not built into this version; give an http:// endpoint, such as that of a collector on this switch"
    );
}

#[test]
fn an_endpoint_that_is_none_is_refused_by_name_and_nothing_else_is_tried() {
    let form = "host:port or http://host:port, without user, password or query";
    for text in
        ["http://", "http://host:99999", "http://host:0", "http://host:", "ftp://host:1", "a b:1", "http://h:1/?x=1"]
    {
        let config = config(|_| {}, &[("OTEL_EXPORTER_OTLP_ENDPOINT", text)]);
        let refusal = format!("OTEL_EXPORTER_OTLP_ENDPOINT: \"{text}\" is not accepted; give {form}");
        assert_eq!(targets(&config), [refusal.clone(), refusal.clone(), refusal]);
    }
    let with_password = config(|_| {}, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@host:1")]);
    assert!(!targets(&with_password)[0].contains("secret"), "{with_password:?}");
}

#[test]
fn a_path_with_grpc_is_a_mistake_that_is_named() {
    let refused = &targets(&config(endpoint("http://collector:4318/v1/metrics"), &[]))[0];
    assert_eq!(
        refused,
        "otlp_endpoint: \"http://collector:4318/v1/metrics\" is not accepted; give a URL without a path: gRPC has none (or set the protocol to http/protobuf)"
    );
}

#[test]
fn variables_that_cannot_be_taken_are_named_and_leave_their_default() {
    let environment = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5s"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "ok=1,api key=s3cret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "site=ber1,broken"),
    ];
    let config = config(|_| {}, &environment);
    let ignored: Vec<String> = config.ignored.iter().map(ToString::to_string).collect();
    assert_eq!(
        ignored,
        [
            "OTEL_EXPORTER_OTLP_PROTOCOL: \"http/json\" is not accepted; give grpc or http/protobuf",
            "OTEL_SDK_DISABLED: \"yes\" is not accepted; give true or false",
            "OTEL_EXPORTER_OTLP_TIMEOUT: \"5s\" is not accepted; give milliseconds from 1 to 600000",
            "OTEL_EXPORTER_OTLP_HEADERS: item 2 is not accepted; give name=value with a name of letters, digits and -, and a percent-encoded value",
            "OTEL_RESOURCE_ATTRIBUTES: item 2 is not accepted; give name=value with a percent-encoded value",
        ]
    );
    assert_eq!((config.protocol, config.timeout, config.disabled), (OtlpProtocol::Grpc, Duration::from_secs(5), false));
    assert!(config.headers.is_empty() && config.resource.is_empty());
}

#[test]
fn headers_and_resource_attributes_are_percent_decoded() {
    let environment = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20YWJj, x-tenant = a"),
        ("OTEL_RESOURCE_ATTRIBUTES", "site=ber%2C1,service.name=lower,site=ham"),
        ("OTEL_SERVICE_NAME", "higher"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_SDK_DISABLED", "TRUE"),
    ];
    let config = config(|_| {}, &environment);
    assert_eq!(config.headers["authorization"], "Basic YWJj");
    assert_eq!(config.headers["x-tenant"], "a");
    assert!(!format!("{config:?}").contains("YWJj"), "a secret in {config:?}");
    let attributes = [("site".to_owned(), "ham".to_owned()), ("service.name".to_owned(), "higher".to_owned())];
    assert_eq!(config.resource, attributes);
    assert_eq!((config.timeout, config.disabled, config.ignored.len()), (Duration::from_millis(1_500), true, 0));
}
