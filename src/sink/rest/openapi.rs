//! The description of this interface, OpenAPI 3.1. Paths come from `routes`, ranges and words from `model::limits` and `model::schema`:
//! nothing here says a number of its own. Pure.

mod results;

use serde_json::{Map, Value, json};

use super::REST_MEMBERS;
use super::request::JOB_ID;
use super::routes::{Call, ROUTES, Route};
use crate::io::tables::members::FILTERS;
use crate::model::kind::Kind;
use crate::model::limits::{self, Default, ValueKind};
use crate::model::schema::{JobField, Reason, Status, Warning};
use crate::model::value::{IP_PROTOCOL_NUMBERS, describe};

/// What `[a-zA-Z0-9][-a-zA-Z0-9_]{0,20}` says in `model::job::JobId::parse`.
fn job_id_pattern() -> String {
    format!("^[a-zA-Z0-9][-a-zA-Z0-9_]{{0,{}}}$", limits::JOB_ID_MAX_CHARS - 1)
}

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "telegen-sonic",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Jobs that observe one port of a SONiC switch for a limited time. A shim over CONFIG_DB and STATE_DB: \
                            whatever is done here can be done there.",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "paths": paths,
        "components": { "schemas": schemas() },
    })
}

fn operation(route: Route) -> Value {
    let mut operation = json!({ "summary": summary(route.call), "operationId": operation_id(route) });
    if route.path.contains("{id}") {
        operation["parameters"] =
            json!([{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }]);
    }
    if route.call == Call::Start {
        let content = json!({ "application/json": { "schema": reference("Job") } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if !route.path.starts_with("/v1")
        && !matches!(route.call, Call::Health | Call::Ready | Call::Metrics | Call::OpenApi)
    {
        operation["deprecated"] = json!(true);
    }
    let answers = answers(route.call).into_iter().map(|(code, description, schema, media)| {
        let content = json!({ media: { "schema": reference(schema) } });
        (code.to_owned(), json!({ "description": description, "content": content }))
    });
    operation["responses"] = Value::Object(answers.collect());
    if route.call == Call::Start {
        operation["responses"]["429"]["headers"] =
            json!({ "Retry-After": { "description": "Seconds until a job ends.", "schema": { "type": "integer" } } });
        operation["responses"]["201"]["headers"] =
            json!({ "Location": { "description": "The job's path.", "schema": { "type": "string" } } });
    }
    operation
}

fn summary(call: Call) -> &'static str {
    match call {
        Call::Start => "Start a job",
        Call::List => "All known jobs",
        Call::Status => "Where a job is",
        Call::Results => "What a job has found",
        Call::Events => "Status and results as they change (server-sent events)",
        Call::Stop | Call::StopByPost => "Stop a job; waits until it is over",
        Call::Health => "Whether the process lives",
        Call::Ready => "Whether jobs can be served",
        Call::Metrics => "Metrics of the daemon and its jobs, Prometheus text",
        Call::OpenApi => "This document",
    }
}

fn operation_id(route: Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(route.method).chain(words).collect::<Vec<_>>().join("_")
}

type Answer = (&'static str, &'static str, &'static str, &'static str);

const JSON: &str = "application/json";
const NO_DATABASE: Answer =
    ("503", "The databases do not answer, or there are as many clients as can be served", "Error", JSON);
const NO_PLACE: Answer = ("503", "There are as many clients as can be served", "Error", JSON);
const NO_JOB: Answer = ("404", "No such job", "Error", JSON);

fn answers(call: Call) -> Vec<Answer> {
    match call {
        Call::Start => vec![
            ("201", "The job starts or runs", "JobBrief", JSON),
            ("202", "The job waits for a free slot, or the daemon has not answered yet", "JobBrief", JSON),
            ("400", "A member or its value cannot be taken, or the port does not exist", "Error", JSON),
            ("408", "The body was not there in time", "Error", JSON),
            ("409", "The port is mirrored already, or the id is in use", "Error", JSON),
            ("413", "The body is too large", "Error", JSON),
            ("429", "All slots are taken", "Error", JSON),
            (
                "503",
                "The switch or the daemon cannot serve the job, without a daemon its row was withdrawn; or too many clients",
                "Error",
                JSON,
            ),
        ],
        Call::List => vec![("200", "All known jobs", "JobList", JSON), NO_DATABASE],
        Call::Status => vec![("200", "The job", "JobStatus", JSON), NO_JOB, NO_DATABASE],
        Call::Results => vec![("200", "Its results so far", "Results", JSON), NO_JOB, NO_DATABASE],
        Call::Events => {
            vec![
                ("200", "Events named status and results, until the job is over", "Text", "text/event-stream"),
                NO_JOB,
                NO_DATABASE,
            ]
        }
        Call::Stop | Call::StopByPost => {
            vec![("200", "Its status now; also if it was over before", "JobBrief", JSON), NO_JOB, NO_DATABASE]
        }
        Call::Health => vec![("200", "The process lives", "Object", JSON), NO_PLACE],
        Call::Ready => vec![("200", "Jobs can be served", "Object", JSON), ("503", "Not now, and why", "Error", JSON)],
        Call::Metrics => vec![("200", "Metrics", "Text", "text/plain"), NO_PLACE],
        Call::OpenApi => vec![("200", "This document", "Object", JSON), NO_PLACE],
    }
}

fn schemas() -> Value {
    let nullable = |kind: &str| json!({ "type": [kind, "null"] });
    let words = |words: Vec<&str>| json!({ "type": "string", "enum": words });
    let statuses = words(Status::ALL.iter().map(|status| status.as_str()).collect());
    json!({
        "Job": job(),
        "JobBrief": {
            "type": "object",
            "required": ["job_id", "status"],
            "properties": { "job_id": { "type": "string" }, "status": { "anyOf": [reference("Status"), { "type": "null" }] },
                            "interface": nullable("string") },
        },
        "JobStatus": {
            "type": "object",
            "description": "The members of the request as the daemon understood them, and these.",
            "required": ["job_id", "status"],
            "properties": {
                "job_id": { "type": "string" },
                "status": { "anyOf": [reference("Status"), { "type": "null" }] },
                "reason": { "anyOf": [reference("Reason"), { "type": "null" }] },
                "message": { "type": "string" },
                "warning": { "type": "array", "items": words(Warning::ALL.iter().map(|warning| warning.as_str()).collect()) },
                "interface": nullable("string"),
                "mirror_session": nullable("string"),
                "created_at": nullable("string"), "started_at": nullable("string"),
                "expires_at": nullable("string"), "ended_at": nullable("string"),
            },
        },
        "JobList": { "type": "object", "properties": { "jobs": { "type": "array", "items": reference("JobStatus") } } },
        "Results": results::results(),
        "Status": statuses,
        "Reason": words(Reason::ALL.iter().map(|reason| reason.as_str()).collect()),
        "Error": {
            "type": "object",
            "required": ["error", "message"],
            "properties": { "error": { "type": "string" }, "message": { "type": "string" }, "field": nullable("string") },
        },
        "Object": { "type": "object" },
        "Text": { "type": "string" },
    })
}

/// The body of a start request: `filters.x` stands in the object `filters`.
fn job() -> Value {
    let mut properties = Map::new();
    let mut filters = Map::new();
    for (member, field) in REST_MEMBERS {
        match member.strip_prefix(FILTERS) {
            Some(name) => filters.insert(name.to_owned(), member_schema(field)),
            None => properties.insert(member.to_owned(), member_schema(field)),
        };
    }
    properties.insert(
        "filters".to_owned(),
        json!({ "type": "object", "additionalProperties": false, "properties": filters,
                "description": "Different filters all have to match; of a list, one item has to." }),
    );
    properties.insert(
        JOB_ID.to_owned(),
        json!({ "type": "string", "pattern": job_id_pattern(), "description": "Made by the server if absent." }),
    );
    json!({
        "type": "object",
        "description": "null and [] mean absent.",
        "additionalProperties": false,
        "required": needed_by_every_kind(),
        "properties": properties,
    })
}

/// What a request must have, whatever its kind.
fn needed_by_every_kind() -> Vec<&'static str> {
    let is_needed = |field| Kind::ALL.iter().all(|kind| kind.needs().contains(field));
    REST_MEMBERS.iter().filter(|(_, field)| is_needed(field)).map(|(member, _)| *member).collect()
}

fn member_schema(field: JobField) -> Value {
    let rule = limits::job(field);
    let mut schema = match rule.max_items {
        Some(max) => json!({ "type": "array", "maxItems": max, "items": kind_schema(rule.kind) }),
        None => kind_schema(rule.kind),
    };
    match rule.default {
        Default::Value(default) => {
            schema["default"] = default
                .parse::<u64>()
                .map(Value::from)
                .or_else(|_| default.parse::<bool>().map(Value::from))
                .unwrap_or_else(|_| Value::from(default));
        }
        // Not `default`: a generated client sends that, and would override what the switch's owner has set.
        Default::Setting(setting) => {
            schema["description"] = Value::from(format!("Without it, {setting} of TELEGEN|global applies."));
        }
        Default::Absent => {}
    }
    schema
}

fn kind_schema(kind: ValueKind) -> Value {
    match kind {
        ValueKind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        ValueKind::Boolean => json!({ "type": "boolean" }),
        ValueKind::Word { accepted, .. } => json!({ "type": "string", "enum": accepted }),
        ValueKind::IpProtocol => {
            let names: Vec<&str> = IP_PROTOCOL_NUMBERS.iter().map(|(class, _)| class.as_str()).collect();
            json!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": u8::MAX }, { "type": "string", "enum": names }] })
        }
        ValueKind::PortRange => json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": u16::MAX },
            { "type": "string", "pattern": "^[0-9]{1,5}-[0-9]{1,5}$" },
        ] }),
        ValueKind::Text { max_chars } => json!({ "type": "string", "maxLength": max_chars }),
        ValueKind::Timestamp => json!({ "type": "string", "format": "date-time" }),
        ValueKind::PortNames
        | ValueKind::Prefix
        | ValueKind::IpAddress
        | ValueKind::Endpoint
        | ValueKind::Listen
        | ValueKind::Netdev
        | ValueKind::GreType
        | ValueKind::Path => json!({ "type": "string", "description": describe(kind) }),
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::CounterFamily;

    #[test]
    fn ranges_words_and_defaults_are_those_of_the_limits() {
        let properties = &document()["components"]["schemas"]["Job"]["properties"];
        assert_eq!(
            properties["duration_sec"],
            json!({ "type": "integer", "minimum": 1, "maximum": 86400,
                    "description": "Without it, default_duration of TELEGEN|global applies." })
        );
        assert_eq!(properties["direction"]["default"], "ingress");
        assert_eq!(properties["kind"], json!({ "type": "string", "enum": ["traffic"], "default": "traffic" }));
        assert_eq!(document()["components"]["schemas"]["Job"]["required"], json!(["port"]));
        assert_eq!(properties["anonymize"], json!({ "type": "boolean", "default": false }));
        let filters = &properties["filters"]["properties"];
        let dscp =
            json!({ "type": "array", "maxItems": 64, "items": { "type": "integer", "minimum": 0, "maximum": 63 } });
        assert_eq!(filters["dscp"], dscp);
        for (member, field) in REST_MEMBERS {
            let schema = match member.strip_prefix(FILTERS) {
                Some(name) => &filters[name],
                None => &properties[member],
            };
            if let ValueKind::Word { accepted, .. } = limits::job(field).kind {
                assert_eq!(schema["enum"], json!(accepted), "{member}");
            }
            if let ValueKind::Integer { min, max } = limits::job(field).kind {
                let schema = if field.is_list() { &schema["items"] } else { schema };
                assert_eq!((&schema["minimum"], &schema["maximum"]), (&json!(min), &json!(max)), "{member}");
            }
        }
    }

    #[test]
    fn every_route_is_described_with_its_answers_and_every_reference_leads_somewhere() {
        let document = document();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method];
            assert!(operation["responses"].as_object().is_some_and(|answers| !answers.is_empty()), "{}", route.path);
        }
        let text = document.to_string();
        for found in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = found.split('"').next().unwrap();
            assert!(!document["components"]["schemas"][name].is_null(), "{name}");
        }
    }

    #[test]
    fn results_are_described_with_every_name_that_a_counter_can_have() {
        let document = document();
        let results = &document["components"]["schemas"]["Results"]["properties"];
        let names = |object: &Value| object["propertyNames"]["enum"].as_array().map(Vec::len);
        assert_eq!(names(&results["services"]), Some(CounterFamily::Service.names().len()));
        assert_eq!(names(&results["health"]["properties"]["tcp_flags"]), Some(64));
        assert_eq!(results["errors"]["propertyNames"]["enum"][6], "checksum_ip");
        assert_eq!(results["health"]["properties"]["segments"]["type"], json!(["object", "null"]));
    }

    #[test]
    fn operation_ids_are_unique() {
        let mut ids: Vec<String> = ROUTES.iter().map(|route| operation_id(*route)).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), ROUTES.len());
    }
}
