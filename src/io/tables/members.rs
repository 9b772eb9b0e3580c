//! The members of a job in JSON and the fields of its row, in one table: requests are read by it and answers written by it.

use crate::model::job::Fields;
use crate::model::schema::JobField;
use crate::model::value::FieldError;

/// What stands before the name of a member of the object `filters`.
pub const FILTERS: &str = "filters.";

/// Each member and its field. `expires_at` is no member: it is computed.
pub const REST_MEMBERS: [(&str, JobField); 21] = [
    ("kind", JobField::Kind),
    ("port", JobField::Port),
    ("direction", JobField::Direction),
    ("span_method", JobField::SpanMethod),
    ("duration_sec", JobField::Duration),
    ("sample_rate", JobField::SampleRate),
    ("mirror_sample_rate", JobField::MirrorSampleRate),
    ("mirror_truncate", JobField::MirrorTruncate),
    ("vlan", JobField::Vlan),
    ("filters.ip_proto", JobField::IpProto),
    ("filters.l4_sport", JobField::L4Sport),
    ("filters.l4_dport", JobField::L4Dport),
    ("filters.src_cidr", JobField::SrcCidr),
    ("filters.dst_cidr", JobField::DstCidr),
    ("filters.dscp", JobField::Dscp),
    ("inner", JobField::Inner),
    ("result_detail", JobField::ResultDetail),
    ("otlp_export", JobField::OtlpExport),
    ("anonymize", JobField::Anonymize),
    ("description", JobField::Description),
    ("owner", JobField::Owner),
];

/// The field of a member.
#[must_use]
pub fn field_of(member: &str) -> Option<JobField> {
    REST_MEMBERS.iter().find(|(known, _)| *known == member).map(|(_, field)| *field)
}

/// The member of a field; `None` for `expires_at`.
#[must_use]
pub fn member_of(field: JobField) -> Option<&'static str> {
    REST_MEMBERS.iter().find(|(_, known)| *known == field).map(|(member, _)| *member)
}

/// The field's name in an error as the JSON user wrote it, and the same at the beginning of the message.
#[must_use]
pub fn in_members(field: &str, message: &str) -> (String, String) {
    let member = JobField::from_word(field).and_then(member_of).unwrap_or(field);
    let message = match message.strip_prefix(field) {
        Some(rest) if rest.starts_with(':') => format!("{member}{rest}"),
        Some(_) | None => message.to_owned(),
    };
    (member.to_owned(), message)
}

/// As [`in_members`], for an error of the local parser.
#[must_use]
pub fn error_in_members(error: &FieldError) -> (String, String) {
    in_members(&error.field, &error.message)
}

/// The row of these fields, with SONiC's `@` behind the names of lists.
#[must_use]
pub fn to_row<'a>(fields: impl IntoIterator<Item = (&'a JobField, &'a String)>) -> Fields {
    fields.into_iter().map(|(field, value)| (field.table_name(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_but_the_computed_one_has_exactly_one_member() {
        for field in JobField::ALL {
            let members = REST_MEMBERS.iter().filter(|(_, known)| known == field).count();
            assert_eq!(members, usize::from(*field != JobField::ExpiresAt), "{field}");
        }
        assert_eq!(field_of("filters.dscp"), Some(JobField::Dscp));
        assert_eq!(field_of("duration"), None);
    }

    #[test]
    fn errors_speak_of_the_member_that_the_user_wrote() {
        let (field, message) =
            in_members("duration", "duration: \"0\" is not accepted; give an integer from 1 to 86400");
        assert_eq!(field, "duration_sec");
        assert_eq!(message, "duration_sec: \"0\" is not accepted; give an integer from 1 to 86400");
        assert_eq!(in_members("x", "x: no").0, "x");
        assert_eq!(in_members("port", "ports are closed").1, "ports are closed");
    }
}
