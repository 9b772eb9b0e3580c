//! What the traffic is made of beyond its protocols: who it is for, how it is marked, what is in tunnels. Shares, one line each.

use std::fmt::Write;

use super::number::{share, thousands};
use crate::io::tables::JobRow;
use crate::model::report::Results;
use crate::model::schema::{CountFamily, EthClass, IpClass, JobField};
use crate::model::traffic::Service;

/// Shares that fit a line.
const TOP: usize = 8;

/// The lines, with a blank line before them; empty if there is nothing to say.
pub fn mix(results: &Results) -> String {
    let lines = [
        ("sent to", cast(results)),
        ("dscp", shares(results, CountFamily::Dscp, dscp_name)),
        ("ecn", shares(results, CountFamily::Ecn, str::to_owned)),
        ("tcp flags", shares(results, CountFamily::TcpFlags, str::to_owned)),
        ("rocev2", shares(results, CountFamily::Rocev2, str::to_owned)),
        ("rocev2 ecn", shares(results, CountFamily::Rocev2Ecn, str::to_owned)),
    ];
    let mut text = String::new();
    for (label, shares) in lines.iter().filter(|(_, shares)| !shares.is_empty()) {
        let _ = writeln!(text, "{label:<10}  {shares}");
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// Few enough to say how many, too: a storm is a number.
fn cast(results: &Results) -> String {
    let seen = CountFamily::Cast.seen(results);
    let all = seen.iter().map(|(_, count)| count).sum();
    let parts = seen.iter().map(|(name, count)| format!("{name} {} ({})", thousands(*count), share(*count, all)));
    parts.collect::<Vec<_>>().join(", ")
}

/// The largest members of a family with their share of it, and the share of all others together.
fn shares(results: &Results, family: CountFamily, named: fn(&str) -> String) -> String {
    let mut seen = family.seen(results);
    seen.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let all = seen.iter().map(|(_, count)| count).sum();
    let (top, rest) = seen.split_at(TOP.min(seen.len()));
    let mut parts: Vec<String> =
        top.iter().map(|(name, count)| format!("{} {}", named(name), share(*count, all))).collect();
    if !rest.is_empty() {
        parts.push(format!("{} others {}", rest.len(), share(rest.iter().map(|(_, count)| count).sum(), all)));
    }
    parts.join(", ")
}

/// `46 (EF)`, by RFC 2474, 2597, 3246, 5865 and 8622.
fn dscp_name(dscp: &str) -> String {
    let name = match dscp.parse::<u8>() {
        Ok(0) => "default".to_owned(),
        Ok(1) => "LE".to_owned(),
        Ok(44) => "VA".to_owned(),
        Ok(46) => "EF".to_owned(),
        Ok(selector) if selector % 8 == 0 => format!("CS{}", selector / 8),
        Ok(assured @ 10..=38) if matches!(assured % 8, 2 | 4 | 6) => format!("AF{}{}", assured / 8, assured % 8 / 2),
        Ok(_) | Err(_) => return dscp.to_owned(),
    };
    format!("{dscp} ({name})")
}

/// What there is to say of tunnels besides their table: none were found, or some were that nobody looked into.
pub fn tunnels_line(job: &JobRow, results: &Results) -> String {
    if job.job_field(JobField::Inner) == Some("true") {
        let found = results.inner.as_ref().is_some_and(|inner| inner.tunnels.iter().any(|tunnel| tunnel.packets > 0));
        return if found || results.total.packets == 0 {
            String::new()
        } else {
            "\ntunnels: none that could be looked into (VXLAN, Geneve, GRE, IP-in-IP, MPLS)\n".to_owned()
        };
    }
    let services = [Service::Vxlan, Service::Geneve].map(|service| results.services[service as usize].packets);
    let ip = [IpClass::Gre, IpClass::Ipip, IpClass::Ipv6].map(|class| results.ip[class as usize].packets);
    let closed: u64 =
        services.iter().sum::<u64>() + ip.iter().sum::<u64>() + results.eth[EthClass::Mpls as usize].packets;
    match closed {
        0 => String::new(),
        _ => format!("\ntunnels: {} packets are in tunnels; --inner looks into them\n", thousands(closed)),
    }
}

#[cfg(test)]
mod tests {
    use super::dscp_name;

    #[test]
    fn code_points_are_named_as_engineers_call_them() {
        let names =
            ["0", "1", "8", "10", "14", "26", "38", "44", "46", "48", "56", "2", "40", "42", "63"].map(dscp_name);
        assert_eq!(
            names,
            [
                "0 (default)",
                "1 (LE)",
                "8 (CS1)",
                "10 (AF11)",
                "14 (AF13)",
                "26 (AF31)",
                "38 (AF43)",
                "44 (VA)",
                "46 (EF)",
                "48 (CS6)",
                "56 (CS7)",
                "2",
                "40 (CS5)",
                "42",
                "63"
            ]
        );
    }
}
