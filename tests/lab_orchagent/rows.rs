//! What a row may say, and what STATE_DB says of it. Facts of the second list, by number.

use telegen_sonic::sonic::Fields;

use crate::redis_common::fields;
use crate::switch::{Switch, active_span};

const S1: [(&str, &str); 4] =
    [("type", "SPAN"), ("src_port", "Ethernet0"), ("dst_port", "Ethernet4"), ("direction", "RX")];

/// The session of the observations, with this field as well or instead.
async fn write(switch: &Switch, name: &str, field: &str, value: &str) {
    let mut row = fields(S1);
    row.insert(field.to_owned(), value.to_owned());
    switch.config.hset_whole(&format!("MIRROR_SESSION|{name}"), &row).await.unwrap();
}

#[tokio::test]
async fn fact_s21_what_is_0_is_not_in_state_db() {
    let switch = Switch::start().await;
    let with = |name: &str, value: &str| {
        let mut row = active_span();
        row.insert(name.to_owned(), value.to_owned());
        row
    };
    write(&switch, "rate", "sample_rate", "256").await;
    switch.until_active("rate").await;
    assert_eq!(switch.row("rate").await, with("sample_rate", "256"));
    for field in ["sample_rate", "truncate_size"] {
        write(&switch, field, field, "0").await;
        switch.until_active(field).await;
        assert_eq!(switch.row(field).await, active_span());
    }
}

#[tokio::test]
async fn fact_s22_there_is_room_for_twelve_sessions() {
    let switch = Switch::start().await;
    for session in 0..12 {
        switch.session(&format!("s{session}"), "type=SPAN dst_port=Ethernet4").await;
    }
    for session in 0..12 {
        switch.until_active(&format!("s{session}")).await;
    }
    assert_eq!(switch.asic_db().await, ["unused mirror of Ethernet4"; 12]);
}

#[tokio::test]
async fn fact_s23_numbers_are_read_as_c_reads_them() {
    let switch = Switch::start().await;
    let mut sampled = active_span();
    sampled.insert("sample_rate".to_owned(), "256".to_owned());
    for value in ["0x100", " 256", "0400"] {
        write(&switch, "s1", "sample_rate", value).await;
        switch.until_active("s1").await;
        assert_eq!(switch.row("s1").await, sampled, "{value:?}");
        switch.delete("s1").await;
        switch.until("s1", None).await;
    }
    write(&switch, "s1", "queue", "15").await;
    switch.until_active("s1").await;
}

#[tokio::test]
async fn fact_s23_an_empty_source_is_active_and_binds_nothing_and_a_trailing_comma_is_none() {
    let switch = Switch::start().await;
    write(&switch, "empty", "src_port", "").await;
    switch.until_active("empty").await;
    assert_eq!(switch.bound(), [""; 0]);
    assert_eq!(switch.asic_db().await, ["unused mirror of Ethernet4"]);
    write(&switch, "comma", "src_port", "Ethernet0,Ethernet8,").await;
    switch.until_active("comma").await;
    assert_eq!(switch.bound(), ["Ethernet0 rx comma>Ethernet4", "Ethernet8 rx comma>Ethernet4"]);
}

#[tokio::test]
async fn fact_s23_what_goes_too_far_is_refused_without_a_row() {
    let switch = Switch::start().await;
    for (field, value) in [
        ("src_port", " Ethernet0"),
        ("src_port", "Ethernet0, Ethernet8"),
        ("src_port", ","),
        ("queue", "16"),
        ("sample_rate", "4294967296"),
        ("sample_rate", "-1"),
        ("sample_rate", "256 "),
    ] {
        write(&switch, "s1", field, value).await;
        switch.settle().await;
        assert_eq!(switch.row("s1").await, Fields::new(), "{field} {value:?}");
        switch.delete("s1").await;
    }
    assert_eq!(switch.asic_db().await, [""; 0]);
}

#[tokio::test]
async fn fact_s19_what_is_wrong_behind_a_policer_keeps_the_policer_for_good() {
    let switch = Switch::start().await;
    let policers = async || switch.asic.keys("ASIC_STATE:SAI_OBJECT_TYPE_POLICER").await.unwrap().len();
    let policer = "HSET POLICER|p1 meter_type packets mode sr_tcm cir 600 cbs 600";
    switch.cli(policer).await;
    switch.session("good", "type=SPAN dst_port=Ethernet4 policer=p1").await;
    switch.until_active("good").await;
    switch.delete("good").await;
    switch.until("good", None).await;
    // One that is wrong before it takes nothing.
    switch.session("before", "type=SPAN owner=me policer=p1").await;
    switch.settle().await;
    assert_eq!(policers().await, 1);
    switch.cli("DEL POLICER|p1").await;
    switch.settle().await;
    assert_eq!(policers().await, 0);
    switch.cli(policer).await;
    switch.session("behind", "type=SPAN policer=p1 owner=me").await;
    switch.settle().await;
    assert_eq!(switch.status("behind").await, None);
    switch.delete("behind").await;
    switch.cli("DEL POLICER|p1").await;
    switch.settle().await;
    assert_eq!(policers().await, 1);
    // The next attempts come a second apart.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    switch.settle().await;
    assert_eq!(policers().await, 1);
}
