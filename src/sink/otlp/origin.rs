//! Who speaks: the resource and the scope that every OTLP message carries. Pure.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::attribute;
use crate::model::report::DaemonInfo;

/// `service.name` where nobody says another, and the name of the scope.
pub const SERVICE_NAME: &str = "telegen-sonic";

/// Resource and scope of this daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The daemon and the switch it runs on.
    pub resource: Resource,
    /// This program.
    pub scope: InstrumentationScope,
}

impl Origin {
    /// What is known of daemon and switch; empty values are left out. `overrides` (of `OTEL_RESOURCE_ATTRIBUTES` and
    /// `OTEL_SERVICE_NAME`) win over what was found out, because somebody wrote them for this very switch.
    #[must_use]
    pub fn new(daemon: &DaemonInfo, overrides: &[(String, String)]) -> Origin {
        let device = &daemon.device;
        let known = [
            ("service.name", SERVICE_NAME),
            ("service.namespace", "sonic"),
            ("service.version", daemon.version),
            ("service.instance.id", &daemon.instance_id),
            ("host.name", &device.hostname),
            ("host.id", &device.machine_id),
            ("host.arch", &device.arch),
            ("os.type", "linux"),
            ("os.name", "SONiC"),
            ("os.version", &device.os_version),
            ("device.manufacturer", &device.manufacturer),
            ("device.model.identifier", model_identifier(&device.platform).unwrap_or_default()),
            ("sonic.platform", &device.platform),
            ("sonic.hwsku", &device.hwsku),
            ("sonic.asic.namespace", &device.namespace),
        ];
        let overridden = |name: &str| overrides.iter().any(|(key, _)| key == name);
        let attributes: Vec<KeyValue> = known
            .into_iter()
            .filter(|(name, value)| !value.is_empty() && !overridden(name))
            .chain(overrides.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .map(|(name, value)| attribute::text(name, value))
            .collect();
        Origin {
            resource: Resource { attributes, ..Resource::default() },
            scope: InstrumentationScope {
                name: SERVICE_NAME.to_owned(),
                version: daemon.version.to_owned(),
                ..InstrumentationScope::default()
            },
        }
    }
}

/// The machine in an ONIE platform string, `<arch>-<vendor>_<machine>-r<revision>`: `as7712_32x` of `x86_64-accton_as7712_32x-r0`.
/// `hwsku` is no substitute: it also names how the ports of one model are divided.
fn model_identifier(platform: &str) -> Option<&str> {
    let (_, vendor_and_machine) = platform.split_once('-')?;
    let (_, machine) = vendor_and_machine.split_once('_')?;
    let (model, revision) = machine.rsplit_once("-r")?;
    revision.bytes().all(|byte| byte.is_ascii_digit()).then_some(model)
}

#[cfg(test)]
mod tests {
    use super::model_identifier;

    #[test]
    fn the_model_is_the_machine_of_an_onie_platform_and_nothing_is_guessed_from_other_strings() {
        assert_eq!(model_identifier("x86_64-accton_as7712_32x-r0"), Some("as7712_32x"));
        assert_eq!(model_identifier("x86_64-kvm_x86_64-r0"), Some("x86_64"));
        assert_eq!(model_identifier("arm64-nokia_ixs7215_52xb-r0"), Some("ixs7215_52xb"));
        assert_eq!(model_identifier("vs"), None);
        assert_eq!(model_identifier(""), None);
    }
}
