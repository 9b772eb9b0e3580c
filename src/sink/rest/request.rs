//! From a JSON body to a [`StartRequest`]: which members there are and which JSON types they have. Ranges and words are `model::job`'s.
//!
//! Pure.

use serde_json::{Map, Value};

use crate::io::tables::StartRequest;
use crate::io::tables::members::{FILTERS, REST_MEMBERS, field_of};
use crate::model::job::JobId;
use crate::model::limits::{self, JsonShape, ValueKind};
use crate::model::schema::{JobField, Reason};
use crate::model::value::{FieldError, describe, printable};

/// The member that names the job; it is no field of the row.
pub const JOB_ID: &str = "job_id";
const FILTERS_OBJECT: &str = "filters";

/// Reads the body of a start request. null and [] mean absent.
///
/// # Errors
/// The first member that is unknown or of another type than it should be; fields are named as members.
pub fn parse(body: &Value) -> Result<StartRequest, FieldError> {
    let Value::Object(members) = body else {
        return Err(wrong_type("body", body, "a JSON object such as {\"port\": \"Ethernet16\"}"));
    };
    let mut request = StartRequest::default();
    for (name, value) in members {
        match name.as_str() {
            JOB_ID | FILTERS_OBJECT if is_absent(value) => {}
            JOB_ID => {
                let Value::String(id) = value else { return Err(wrong_type(JOB_ID, value, "a string")) };
                request.id = Some(JobId::parse(id)?);
            }
            FILTERS_OBJECT => {
                let Value::Object(filters) = value else {
                    return Err(wrong_type(FILTERS_OBJECT, value, "an object such as {\"ip_proto\": [\"tcp\"]}"));
                };
                read_all(filters, FILTERS, &mut request)?;
            }
            // `filters.dscp` is how messages call the member, not how it is written.
            name if name.starts_with(FILTERS) => return Err(unknown(name)),
            name => read(name, value, &mut request)?,
        }
    }
    Ok(request)
}

fn read_all(members: &Map<String, Value>, prefix: &str, request: &mut StartRequest) -> Result<(), FieldError> {
    members.iter().try_for_each(|(name, value)| read(&format!("{prefix}{name}"), value, request))
}

fn read(member: &str, value: &Value, request: &mut StartRequest) -> Result<(), FieldError> {
    let field = field_of(member).ok_or_else(|| unknown(member))?;
    if !is_absent(value) {
        request.fields.insert(field, text(member, field, value)?);
    }
    Ok(())
}

fn is_absent(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// The value as it stands in a row.
fn text(member: &str, field: JobField, value: &Value) -> Result<String, FieldError> {
    let kind = limits::job(field).kind;
    if !field.is_list() {
        return item(kind, value).ok_or_else(|| wrong_type(member, value, &describe_json(kind)));
    }
    let Value::Array(values) = value else {
        return Err(wrong_type(member, value, &format!("a list, each item {}", describe_json(kind))));
    };
    // An item with a comma would be two items in the row, and an empty one none.
    let one = |value: &Value| {
        let text = item(kind, value).filter(|text| !text.contains(',') && !text.trim().is_empty());
        text.ok_or_else(|| wrong_type(member, value, &format!("items that are {}", describe_json(kind))))
    };
    let items: Result<Vec<String>, FieldError> = values.iter().map(one).collect();
    Ok(items?.join(","))
}

fn item(kind: ValueKind, value: &Value) -> Option<String> {
    let number = || value.as_number().map(ToString::to_string);
    let string = || value.as_str().map(str::to_owned);
    match kind.json_shape() {
        JsonShape::Number => number(),
        JsonShape::Boolean => value.as_bool().map(|value| value.to_string()),
        JsonShape::NumberOrString => number().or_else(string),
        JsonShape::String => string(),
    }
}

/// What a kind accepts, with its JSON type.
fn describe_json(kind: ValueKind) -> String {
    let accepted = describe(kind);
    match kind {
        ValueKind::Integer { .. } => format!("{accepted}, as a JSON number"),
        ValueKind::Boolean => format!("{accepted}, without quotes"),
        ValueKind::PortRange => {
            "a port from 0 to 65535 as a JSON number, or a range such as \"1024-2048\" as a string".to_owned()
        }
        ValueKind::IpProtocol => accepted,
        _ => format!("{accepted}, as a JSON string"),
    }
}

fn wrong_type(member: &str, value: &Value, accepted: &str) -> FieldError {
    let message = format!("{member}: {} is not accepted; give {accepted}", printable(&value.to_string()));
    FieldError { reason: Reason::InvalidField, field: member.to_owned(), message }
}

fn unknown(member: &str) -> FieldError {
    let mut known: Vec<&str> = REST_MEMBERS.iter().map(|(member, _)| *member).collect();
    known.push(JOB_ID);
    let member = printable(member);
    let message = format!("{member}: no such member; a request has {} (filters is an object)", known.join(", "));
    FieldError { reason: Reason::InvalidField, field: member, message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(body: &Value) -> Vec<(JobField, String)> {
        parse(body).unwrap().fields.into_iter().collect()
    }

    fn refused(body: &Value) -> (String, String) {
        let error = parse(body).unwrap_err();
        assert_eq!(error.reason, Reason::InvalidField);
        (error.field, error.message)
    }

    #[test]
    fn every_member_reaches_its_field() {
        let body = json!({
            "kind": "traffic",
            "port": "Ethernet16", "direction": "both", "span_method": "none", "duration_sec": 90, "sample_rate": 1, "vlan": 7,
            "mirror_sample_rate": 64, "mirror_truncate": 128,
            "filters": {
                "ip_proto": ["tcp", 17], "l4_sport": [53], "l4_dport": ["1024-2048", 443], "src_cidr": "10.0.0.0/8",
                "dst_cidr": "::/0", "dscp": [46, 0],
            },
            "inner": true, "result_detail": "summary", "otlp_export": false, "anonymize": true, "description": "a", "owner": "b",
            "job_id": "night-1",
        });
        assert_eq!(parse(&body).unwrap().id.unwrap().as_str(), "night-1");
        let expected = [
            (JobField::Kind, "traffic"),
            (JobField::Port, "Ethernet16"),
            (JobField::Direction, "both"),
            (JobField::SpanMethod, "none"),
            (JobField::Duration, "90"),
            (JobField::SampleRate, "1"),
            (JobField::MirrorSampleRate, "64"),
            (JobField::MirrorTruncate, "128"),
            (JobField::Vlan, "7"),
            (JobField::IpProto, "tcp,17"),
            (JobField::L4Sport, "53"),
            (JobField::L4Dport, "1024-2048,443"),
            (JobField::SrcCidr, "10.0.0.0/8"),
            (JobField::DstCidr, "::/0"),
            (JobField::Dscp, "46,0"),
            (JobField::Inner, "true"),
            (JobField::ResultDetail, "summary"),
            (JobField::OtlpExport, "false"),
            (JobField::Anonymize, "true"),
            (JobField::Description, "a"),
            (JobField::Owner, "b"),
        ];
        let expected: Vec<(JobField, String)> =
            expected.iter().map(|(field, value)| (*field, (*value).to_owned())).collect();
        assert_eq!(fields(&body), expected);
    }

    #[test]
    fn null_and_empty_lists_mean_absent() {
        let body =
            json!({ "port": "Ethernet0", "vlan": null, "filters": { "dscp": [], "src_cidr": null }, "job_id": null });
        assert_eq!(fields(&body), [(JobField::Port, "Ethernet0".to_owned())]);
        assert_eq!(fields(&json!({ "filters": null })), []);
    }

    #[test]
    fn unknown_members_are_named() {
        assert_eq!(refused(&json!({ "prot": "Ethernet0" })).0, "prot");
        assert_eq!(refused(&json!({ "filters": { "vlan": 1 } })).0, "filters.vlan");
        assert_eq!(refused(&json!({ "filters.dscp": [1] })).0, "filters.dscp");
        assert_eq!(refused(&json!({ "expires_at": null })).0, "expires_at");
    }

    #[test]
    fn a_wrong_type_names_member_value_and_what_would_be_accepted() {
        let cases = [
            (
                json!({ "duration_sec": "90" }),
                "duration_sec: \"90\" is not accepted; give an integer from 1 to 86400, as a JSON number",
            ),
            (json!({ "anonymize": 1 }), "anonymize: 1 is not accepted; give true or false, without quotes"),
            (
                json!({ "filters": { "dscp": 46 } }),
                "filters.dscp: 46 is not accepted; give a list, each item an integer from 0 to 63, as a JSON number",
            ),
            (
                json!({ "direction": ["both"] }),
                "direction: [\"both\"] is not accepted; give ingress, egress or both, as a JSON string",
            ),
            (
                json!({ "filters": { "l4_dport": ["80,443"] } }),
                "filters.l4_dport: \"80,443\" is not accepted; give items that are a port from 0 to 65535 as a JSON number, or a \
                 range such as \"1024-2048\" as a string",
            ),
            (json!([1]), "body: [1] is not accepted; give a JSON object such as {\"port\": \"Ethernet16\"}"),
            (json!({ "kind": ["traffic"] }), "kind: [\"traffic\"] is not accepted; give traffic, as a JSON string"),
            (json!({ "job_id": 1 }), "job_id: 1 is not accepted; give a string"),
        ];
        for (body, message) in cases {
            assert_eq!(refused(&body).1, message);
        }
    }

    #[test]
    fn numbers_outside_of_the_range_are_left_to_the_jobs_own_parser() {
        assert_eq!(fields(&json!({ "duration_sec": -1 })), [(JobField::Duration, "-1".to_owned())]);
        assert_eq!(fields(&json!({ "duration_sec": 1.5 })), [(JobField::Duration, "1.5".to_owned())]);
    }
}
