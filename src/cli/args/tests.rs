//! What arguments become, and which of them are none.

use clap::CommandFactory;

use super::*;

fn start(arguments: &[&str]) -> Result<Vec<(JobField, String)>, String> {
    let arguments = ["telegen-sonic", "start"].iter().chain(arguments);
    let cli = Cli::try_parse_from(arguments).map_err(|error| error.kind().to_string())?;
    let Command::Tables(TableCommand::Start(args)) = cli.command else { unreachable!("the command was start") };
    let request = args.to_request().map_err(|error| error.message)?;
    Ok(request.fields.into_iter().collect())
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_duration_may_stand_behind_the_port_or_be_named_but_not_both() {
    let expected = Ok(vec![(JobField::Port, "Ethernet16".to_owned()), (JobField::Duration, "60".to_owned())]);
    assert_eq!(start(&["Ethernet16", "60"]), expected);
    assert_eq!(start(&["Ethernet16", "--duration", "60"]), expected);
    assert!(start(&["Ethernet16", "60", "--duration", "60"]).is_err());
}

#[test]
fn a_port_is_asked_for_unless_a_kind_is_named_which_says_whether_it_needs_one() {
    assert!(start(&[]).is_err() && start(&["--duration", "60"]).is_err());
    let kind = |word: &str| (JobField::Kind, word.to_owned());
    assert_eq!(start(&["--kind", "profile"]), Ok(vec![kind("profile")]));
    let port = (JobField::Port, "Ethernet16".to_owned());
    assert_eq!(start(&["Ethernet16", "--kind", "traffic"]), Ok(vec![kind("traffic"), port]));
}

#[test]
fn filters_of_a_list_add_up_and_others_may_be_given_once() {
    let fields =
        start(&["Ethernet0", "--filter", "dscp=46", "--filter", "dscp=0,8", "--filter", "src_cidr=10.0.0.0/8"]);
    let fields: BTreeMap<JobField, String> = fields.unwrap().into_iter().collect();
    assert_eq!((&*fields[&JobField::Dscp], &*fields[&JobField::SrcCidr]), ("46,0,8", "10.0.0.0/8"));
    let twice = start(&["Ethernet0", "--vlan", "7", "--filter", "vlan=8"]);
    assert_eq!(twice.unwrap_err(), "filter: vlan is given twice, as \"7\" and \"8\"; give it once");
}

#[test]
fn a_filter_that_is_none_says_what_there_is() {
    for bad in ["tcp", "proto=tcp", "port=1"] {
        let accepted = "KEY=VALUE, where KEY is one of vlan, ip_proto, l4_sport, l4_dport, src_cidr, dst_cidr, dscp";
        let message = format!("filter: \"{bad}\" is not accepted; give {accepted}");
        assert_eq!(start(&["Ethernet0", "--filter", bad]), Err(message));
    }
}

#[test]
fn flags_become_fields() {
    let fields: BTreeMap<JobField, String> =
        start(&["Ethernet0", "--no-otlp", "--anonymize", "--inner"]).unwrap().into_iter().collect();
    assert_eq!((&*fields[&JobField::OtlpExport], &*fields[&JobField::Anonymize]), ("false", "true"));
    assert_eq!(fields[&JobField::Inner], "true");
    assert!(!start(&["Ethernet0"]).unwrap().iter().any(|(field, _)| *field == JobField::Inner));
}

#[test]
fn the_help_of_analyze_says_the_default_of_a_job() {
    let help = Cli::command().find_subcommand_mut("analyze").unwrap().render_long_help().to_string();
    let default = crate::model::settings::Settings::default().default_sample_rate;
    assert!(help.contains(&format!("[default: {default}]")), "{help}");
}

#[test]
fn stop_wants_a_job_or_all_of_them() {
    let parse = |arguments: &[&str]| Cli::try_parse_from(["telegen-sonic", "stop"].iter().chain(arguments)).is_ok();
    assert!(parse(&["a"]) && parse(&["--all"]));
    assert!(!parse(&[]) && !parse(&["a", "--all"]));
}
