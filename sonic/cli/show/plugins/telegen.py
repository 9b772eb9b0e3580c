"""`show telegen ...`: telemetry jobs, their results, and what the telegen daemon says of itself.

A plugin of sonic-utilities: its loader calls register(). It reads STATE_DB (and, for settings, CONFIG_DB) and never
writes. Every command has --json for programs; there, counters are numbers and lists are lists.

On a multi-ASIC switch each ASIC has its own daemon and databases. Without `-n` all of them are shown, and a job is
looked for in all.
"""

import json
from datetime import datetime, timezone

import click
import utilities_common.cli as clicommon
import utilities_common.multi_asic as multi_asic_util
from natsort import natsorted
from tabulate import tabulate
from utilities_common.db import Db
from utilities_common.general import load_db_config

JOB = "TELEGEN_JOB_TABLE"
RESULT = "TELEGEN_RESULT_TABLE"
FLOW = "TELEGEN_FLOW_TABLE"
HISTOGRAM = "TELEGEN_HISTOGRAM_TABLE"
DAEMON = "TELEGEN_DAEMON_TABLE"
DAEMON_KEY = "localhost"
# Beside what the switch can do stands why, under the same name and this; the daemon's words for it, and a person's.
WHY = "_why"
CAN = {"true": "yes", "false": "no"}

FINAL = ("done", "stopped", "failed", "rejected", "expired")

NA = "N/A"
HEARTBEAT_FRESH_SEC = 15
HISTOGRAM_BAR_CHARS = 40

# Fields that hold several items, joined with commas: of a job, and of a histogram.
JOB_LISTS = ("ip_proto", "l4_sport", "l4_dport", "dscp", "warning")
HISTOGRAM_LISTS = ("bounds", "counts")
# Fields of results, flows and histograms that are text although they may look like a number.
TEXT = ("src", "dst", "ip_proto", "unit", "updated_at", "first_seen", "last_seen")

# The IP protocols that people know by name (IANA protocol-numbers); the tables have the number.
PROTOCOLS = {
    "1": "icmp",
    "2": "igmp",
    "6": "tcp",
    "17": "udp",
    "47": "gre",
    "50": "esp",
    "51": "ah",
    "58": "icmpv6",
    "89": "ospf",
    "103": "pim",
    "112": "vrrp",
    "132": "sctp",
}

FLOW_COLUMNS = (
    ("Source", "src"),
    ("Port", "l4_sport"),
    ("Destination", "dst"),
    ("Port", "l4_dport"),
    ("Proto", "ip_proto"),
    ("VLAN", "vlan"),
    ("Packets", "packets_est"),
    ("+/-", "packets_err95"),
    ("Bytes", "bytes_est"),
)

# Families of a result row: `<family>_<name>_packets` and `_bytes`, or `<family>_<name>` alone; zeros are left out.
COUNTERS = ("eth", "ip", "service", "tunnel", "inner")
COUNTS = ("error", "health", "cast", "ecn", "dscp", "tcp_flags", "rocev2", "rocev2_ecn")
# What stands in objects of its own. These are written at 0, too: what is absent was not measured.
SEGMENTS = ("tcp_tracked", "tcp_untracked", "tcp_retransmitted", "tcp_out_of_order")
COPIES = ("copies_lost", "copies_unreadable")
DISTINCT = ("flows_distinct_est", "flows_distinct_err95")

# What is wrong, the most telling first: title, field, whose share it is (`bases`), what it means.
WRONG = (
    ("TCP resets", "health_tcp_reset", "TCP", "refused, or broken off"),
    ("TCP zero windows", "health_tcp_zero_window", "TCP", "a receiver cannot take more"),
    ("ICMP unreachable", "health_icmp_unreachable", "all", "no route, no listener, or a filter that says so"),
    ("ICMP too big", "health_icmp_too_big", "all", "packets exceed the MTU of their path"),
    ("ICMP time exceeded", "health_icmp_time_exceeded", "all", "a routing loop, or somebody traces routes"),
    ("TTL 0", "health_ttl_0", "IP", "must not be forwarded"),
    ("ECN congestion", "ecn_ce", "ECN-capable", "queues on the way were congested"),
    ("RoCEv2 CNP", "rocev2_cnp", "RoCEv2", "senders are told to slow down"),
    ("RoCEv2 congestion", "rocev2_ecn_ce", "RoCEv2", "marked ECN-CE: the lossless queues fill"),
    ("truncated Ethernet", "error_truncated_eth", "all", "end inside the Ethernet or VLAN header"),
    ("truncated IP", "error_truncated_ip", "all", "end inside the IP header"),
    ("truncated L4", "error_truncated_l4", "all", "end inside the TCP, UDP, ICMP or SCTP header"),
    ("malformed IP", "error_malformed_ip", "all", "an IP header that contradicts the frame"),
    ("malformed L4", "error_malformed_l4", "all", "an impossible TCP data offset or UDP length"),
    ("too deep", "error_too_deep", "all", "more VLAN tags or extension headers than are followed"),
    ("IPv4 checksum", "error_checksum_ip", "IPv4", "damaged on the way, or sent wrong"),
    ("runts", "health_runt", "all", "shorter than Ethernet allows"),
)
# What may be as it should be.
NOTES = (
    ("TTL 1", "health_ttl_1", "IP", "the next router drops it; normal between neighbours"),
    ("jumbo frames", "health_jumbo", "all", "above 1518 bytes"),
    ("IP fragments", "fragments", "IP", "parts of larger packets"),
    ("later fragments", "fragments_later", "IP", "without ports: in no service, and flows of their own"),
    ("IPv4 options", "ipv4_options", "IP", "routers tend to handle them in software, or to drop them"),
)
# Fields that the health section shows.
IN_HEALTH = ("fragments", "fragments_later", "ipv4_options")
# What a warning means and what to do.
WARNINGS = {
    "no_copies": "the port counts packets, but no copies arrive: the port in TELEGEN_MIRROR_PORT does not return them "
    "to the CPU, or orchagent does not answer; see 'show mirror_session'",
    "change_ignored": "a field other than duration was changed while the job ran, without effect; start another job "
    "for it",
    "session_unconfirmed": "orchagent did not confirm the removal of the mirror session within 5 s; see "
    "'show mirror_session', and whether swss runs",
    "port_down": "the port is down: there may be nothing to see",
    "oversubscribed": "the port is faster than the one that copies are sent to: some are lost when it is busy",
    "left_bound": "ASIC_DB shows a port that orchagent did not free when the job ended; the job's message says "
    "which, and what frees it",
}
# Distributions, one line each, the largest first.
MIX = (
    ("sent to", "cast"),
    ("dscp", "dscp"),
    ("ecn", "ecn"),
    ("tcp flags", "tcp_flags"),
    ("rocev2", "rocev2"),
    ("rocev2 ecn", "rocev2_ecn"),
)
MIX_TOP = 8

JSON_OPTION = click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON")


#
# ASICs ---------------------------------------------------------------------------------------------------------------
#


class Asic:
    """The databases of one ASIC's namespace; of the host where there is only one ASIC."""

    def __init__(self, db, namespace):
        self.namespace = namespace
        self.cfgdb = db.cfgdb_clients[namespace]
        self.db = db.db_clients[namespace]
        # What JSON objects of a multi-ASIC switch have in front.
        self.member = {"namespace": namespace} if namespace else {}


def asics(db, namespace):
    """What a command shows: the ASIC that the user named, or all of them."""
    names = [namespace] if namespace else [name for name in natsorted(db.cfgdb_clients) if name]
    return [Asic(db, name) for name in names or [""]]


def known_job(ctx, db, namespace, job_id):
    """The ASIC that has the job, and the job's status row."""
    rows = [(asic, state_row(asic, JOB, job_id)) for asic in asics(db, namespace)]
    found = [(asic, row) for asic, row in rows if row]
    if not found:
        ctx.fail("Job {} is unknown; see 'show telegen jobs'".format(job_id))
    if len(found) > 1:
        ctx.fail("Job {} is on {}; say which with -n".format(job_id, ", ".join(asic.namespace for asic, _ in found)))
    return found[0]


def complete_job(ctx, args_or_param, incomplete):
    """The ids of known jobs; none if anything goes wrong: a traceback would land in the line being typed."""
    try:
        load_db_config()
        found = {job_id for asic in asics(Db(), None) for job_id in state_keys(asic, JOB)}
    except Exception:
        return []
    return natsorted(job_id for job_id in found if job_id.startswith(incomplete))


# click 7 (SONiC releases before 202511) calls it `autocompletion`.
COMPLETION = {"shell_complete" if hasattr(click.Parameter, "shell_complete") else "autocompletion": complete_job}
JOB_ARGUMENT = click.argument("job_id", metavar="<ID>", **COMPLETION)


#
# Redis ---------------------------------------------------------------------------------------------------------------
#


def state_key(asic, *parts):
    """A STATE_DB key: table and key parts behind each other, as the database separates them."""
    return asic.db.get_db_separator(asic.db.STATE_DB).join(parts)


def state_row(asic, *parts):
    """A STATE_DB row as a dictionary with SONiC's `@` removed from list fields; empty if there is none."""
    row = asic.db.get_all(asic.db.STATE_DB, state_key(asic, *parts)) or {}
    return {name.rstrip("@"): value for name, value in row.items()}


def state_keys(asic, *parts):
    """What follows `parts` in the keys of STATE_DB.

    A refused job's key is whatever its user wrote, glob characters too: what the pattern finds is compared again.
    """
    prefix = state_key(asic, *parts, "")
    keys = asic.db.keys(asic.db.STATE_DB, prefix + "*") or []
    return natsorted(key[len(prefix) :] for key in keys if key.startswith(prefix))


def split(value):
    """The items of a list field."""
    return [item for item in value.split(",") if item]


def number(text):
    """`text` as a number if it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def typed(row):
    """A row of counters for JSON: numbers as numbers, lists as lists."""
    out = {}
    for name, value in row.items():
        if name in HISTOGRAM_LISTS:
            out[name] = [number(item) for item in split(value)]
        else:
            out[name] = value if name in TEXT else number(value)
    return out


def job_object(asic, job_id, row):
    """A status row for JSON: text as in the table, lists as lists."""
    fields = {name: split(value) if name in JOB_LISTS else value for name, value in row.items()}
    return {**asic.member, "job_id": job_id, **fields}


def echo_table(body, header, **options):
    """Text columns as they are in the tables: a port named 1e5 stays 1e5."""
    click.echo(tabulate(body, header, tablefmt="simple", disable_numparse=True, **options))


def echo_part(text):
    """A part of a longer answer, behind a blank line; nothing if it is empty."""
    if text:
        click.echo("\n" + text)


def echo_json(value):
    """As everywhere in sonic-utilities."""
    click.echo(json.dumps(value, indent=4))


def port_label(asic, name):
    """The ports' aliases in alias mode, their names otherwise."""
    if clicommon.get_interface_naming_mode() == "alias":
        return ",".join(clicommon.InterfaceAliasConverter(asic).name_to_alias(port) for port in name.split(","))
    return name


#
# Results, taken apart ------------------------------------------------------------------------------------------------
#


def counters_of(row, prefix):
    """`eth_ipv4_packets`, `eth_ipv4_bytes` … as {"ipv4": {"packets": 1, "bytes": 64}}."""
    out = {}
    for name, value in row.items():
        for unit in ("packets", "bytes"):
            if name.startswith(prefix) and name.endswith("_" + unit):
                out.setdefault(name[len(prefix) : -len(unit) - 1], {})[unit] = number(value)
    return out


def counts_of(row, family):
    """`cast_unicast` … as {"unicast": 1}. A family whose name begins like another's is told apart."""
    inside = tuple(other + "_" for other in COUNTS if other.startswith(family + "_"))
    prefix = family + "_"
    found = [name for name in row if name.startswith(prefix) and not (inside and name.startswith(inside))]
    return {name[len(prefix) :]: number(row[name]) for name in found}


def measured(row, fields, prefix, needs):
    """What was measured, in an object; None if the field that stands for all of it is absent."""
    numbers = typed({field: row[field] for field in fields if field in row})
    return {field[len(prefix) :]: numbers.get(field) for field in fields} if needs in row else None


def is_counter(name):
    """Whether a field of a result row belongs to one of the objects."""
    families = tuple(family + "_" for family in COUNTERS + COUNTS)
    return name.startswith(families) or name in SEGMENTS + COPIES + DISTINCT


def health_object(row):
    """How the traffic is, as in the REST interface."""
    return {
        "events": counts_of(row, "health"),
        "cast": counts_of(row, "cast"),
        "ecn": counts_of(row, "ecn"),
        "dscp": counts_of(row, "dscp"),
        "tcp_flags": counts_of(row, "tcp_flags"),
        "segments": measured(row, SEGMENTS, "tcp_", "tcp_tracked"),
        "rocev2": {"ops": counts_of(row, "rocev2"), "ecn": counts_of(row, "rocev2_ecn")},
    }


def results_object(asic, job_id, row):
    """A result row with its protocols, health and histograms in their own objects."""
    plain = {name: value for name, value in row.items() if not is_counter(name)}
    distinct = measured(row, DISTINCT, "flows_distinct_", "flows_distinct_est")
    names = state_keys(asic, HISTOGRAM, job_id)
    return {
        **asic.member,
        "job_id": job_id,
        **typed(plain),
        "protocols": {"ethernet": counters_of(row, "eth_"), "ip": counters_of(row, "ip_")},
        "services": counters_of(row, "service_"),
        "tunnels": counters_of(row, "tunnel_"),
        "inner": counters_of(row, "inner_"),
        "errors": counts_of(row, "error"),
        "health": health_object(row),
        "copies": measured(row, COPIES, "copies_", "copies_unreadable"),
        "distinct_flows": distinct and {"estimate": distinct["est"], "err95": distinct["err95"]},
        "histograms": {name: typed(state_row(asic, HISTOGRAM, job_id, name)) for name in names},
    }


def share(part, whole):
    """A percentage; what is there at all is never 0.0%."""
    if not whole:
        return NA
    percent = 100 * part / whole
    return "<0.1%" if part and percent < 0.05 else "{:.1f}%".format(percent)


def count(row, field):
    """A counter of a result row; 0 if it is left out."""
    value = number(row.get(field, "0"))
    return value if isinstance(value, int) else 0


def bases(row):
    """What the shares of the findings are of."""
    return {
        "all": count(row, "packets_total"),
        "TCP": count(row, "ip_tcp_packets"),
        "tracked TCP": count(row, "tcp_tracked"),
        "IP": count(row, "eth_ipv4_packets") + count(row, "eth_ipv6_packets"),
        "IPv4": count(row, "eth_ipv4_packets"),
        "ECN-capable": sum(count(row, field) for field in ("ecn_ect0", "ecn_ect1", "ecn_ce")),
        "RoCEv2": sum(counts_of(row, "rocev2").values()),
    }


def findings(row, table):
    """The lines of WRONG or NOTES that have packets."""
    of = bases(row)
    found = [(title, count(row, field), base, means) for title, field, base, means in table]
    return [(title, packets, share(packets, of[base]), base, means) for title, packets, base, means in found if packets]


def lost_or_late(row):
    """Retransmissions and reordering, both or none: where there is one, the zero of the other is an answer."""
    again, late, of = (count(row, field) for field in ("tcp_retransmitted", "tcp_out_of_order", "tcp_tracked"))
    if again + late == 0:
        return []
    return [
        ("TCP retransmissions", again, share(again, of), "tracked TCP", "lost or late on the way"),
        ("TCP out of order", late, share(late, of), "tracked TCP", "paths of different delay"),
    ]


def segment_lines(status, row):
    """What is known of retransmissions where the table does not say it, and what was not measured and why."""
    if "tcp_tracked" not in row:
        needs = []
        if count(row, "sample_rate") > 1:
            needs.append("--sample-rate 1")
        if status.get("result_detail") == "summary":
            needs.append("--detail flows")
        why = "; needs {}".format(" and ".join(needs)) if needs else ""
        return ["retransmissions: not measured{}".format(why)] if count(row, "ip_tcp_packets") else []
    lines = []
    tracked, untracked = count(row, "tcp_tracked"), count(row, "tcp_untracked")
    if tracked and not lost_or_late(row):
        lines.append("retransmissions: none, and nothing out of order, among {} tracked TCP packets".format(tracked))
    if untracked:
        part = share(untracked, tracked + untracked)
        lines.append(
            "retransmissions: not known of {} TCP packets ({}) whose flows were not tracked".format(untracked, part)
        )
    return lines


def copies_lines(row):
    """What is known of the copies themselves, where they come encapsulated."""
    if "copies_unreadable" not in row:
        return []
    lost, unreadable = count(row, "copies_lost"), count(row, "copies_unreadable")
    if "copies_lost" not in row:
        line = "copies: whether some were lost on the way is not known, they have no sequence numbers"
    elif lost == 0:
        line = "copies: none was lost on the way"
    else:
        sent = count(row, "packets_delivered") + unreadable + lost
        line = "copies: {} were lost on the way ({} of those sent)".format(lost, share(lost, sent))
    return [line + ("; {} held no frame that could be read".format(unreadable) if unreadable else "")]


def health_text(status, row):
    """What is wrong first, then what is worth knowing, then what was not measured."""
    if not count(row, "packets_total"):
        return ""
    wrong = lost_or_late(row) + findings(row, WRONG)
    parts = []
    # Every frame that is not cut inside of its destination is unicast, multicast or broadcast.
    if not counts_of(row, "cast") and not count(row, "eth_truncated_packets"):
        parts.append("health: not measured by the version that ran this job, but for broken packets")
    elif not wrong:
        parts.append("health: nothing wrong was seen")
    rows = wrong + findings(row, NOTES)
    if rows:
        parts.append(tabulate(rows, ["Health", "Packets", "Share", "Of", "Means"], tablefmt="simple"))
    return "\n".join(parts + segment_lines(status, row))


def mix_lines(row):
    """What the traffic is made of beyond its protocols: the largest shares of each distribution."""
    lines = []
    for title, family in MIX:
        seen = sorted(counts_of(row, family).items(), key=lambda item: -item[1])
        whole = sum(packets for _, packets in seen)
        form = "{0} {1} ({2})" if family == "cast" else "{0} {2}"
        parts = [form.format(name, packets, share(packets, whole)) for name, packets in seen[:MIX_TOP]]
        rest = seen[MIX_TOP:]
        if rest:
            parts.append("{} others {}".format(len(rest), share(sum(packets for _, packets in rest), whole)))
        if parts:
            lines.append("{:<10}  {}".format(title, ", ".join(parts)))
    return lines


def thinning_lines(row):
    """A sampled or cut mirror makes the numbers those of copies: that comes before any of them is read."""
    lines = []
    if "packets_est" in row:
        form = (
            "Copies: the ASIC copied 1 of {} packets, and all counts are of copies: about {} +/- {} packets of the port"
        )
        lines.append(
            form.format(*(count(row, field) for field in ("mirror_sample_rate", "packets_est", "packets_err95")))
        )
    if "mirror_truncate" in row:
        lines.append("Copies: cut to {} bytes: bytes and lengths are of what is left".format(row["mirror_truncate"]))
    return lines


def coverage_line(status, row):
    """How much of the port's traffic the numbers speak of."""
    if status.get("span_method") == "none":
        return "Coverage unknown: without a mirror session only traffic to and from the CPU is seen"
    ratio = number(row.get("coverage", ""))
    if not isinstance(ratio, (int, float)):
        over = status.get("status") in FINAL
        return "Coverage " + (
            "unknown: the port's counters were not read twice during the job" if over else "not known yet"
        )
    if not count(row, "packets_delivered"):
        means = "no copies arrived; nothing is known of the traffic"
    elif ratio < 0.9:
        means = "copies are rate-limited on the way to the CPU; totals are of what arrived"
    elif ratio < 0.995:
        means = "some copies were lost on the way; totals are of what arrived"
    elif ratio <= 1.05:
        means = "what the port counted has arrived"
    else:
        means = "more arrived than the port counted; its counters and the tap are not read at the same moment"
    return "Coverage {:.1f}%: {}".format(100 * ratio, means)


def tunnels_line(status, row):
    """What there is to say of tunnels besides their tables; empty if nothing."""
    if status.get("inner") == "true":
        found = counters_of(row, "tunnel_") or not count(row, "packets_total")
        return "" if found else "tunnels: none that could be looked into (VXLAN, Geneve, GRE, IP-in-IP, MPLS)"
    fields = ("service_vxlan", "service_geneve", "ip_gre", "ip_ipip", "ip_ipv6", "eth_mpls")
    closed = sum(count(row, field + "_packets") for field in fields)
    return "tunnels: {} packets are in tunnels; --inner looks into them".format(closed) if closed else ""


def protocol_table(counters, total):
    """One line per class, the largest first."""
    rows = []
    for name, counts in sorted(counters.items(), key=lambda item: (-item[1].get("packets", 0), item[0])):
        packets = counts.get("packets", 0)
        rows.append([name, packets, counts.get("bytes", 0), share(packets, total)])
    return tabulate(rows, ["Protocol", "Packets", "Bytes", "Share"], tablefmt="simple")


def histogram_table(histogram):
    """One line per bucket, with a bar, from the first to the last that is not empty.

    `counts` has one more item than `bounds`: what is above the last bound.
    """
    bounds = histogram.get("bounds", [])
    counts = histogram.get("counts", [])
    filled = [index for index, count in enumerate(counts) if count]
    largest = max(counts, default=0)
    rows = []
    for index in range(filled[0], filled[-1] + 1) if filled else range(0):
        count = counts[index]
        label = "<= {}".format(bounds[index]) if index < len(bounds) else "> {}".format(bounds[-1]) if bounds else "all"
        bar = "#" * (-(-count * HISTOGRAM_BAR_CHARS // largest)) if largest else ""
        rows.append([label, count, bar])
    return tabulate(rows, [histogram.get("unit", ""), "Packets", ""], tablefmt="simple")


def histogram_title(name, histogram):
    """Its name, and which part of the values is in it."""
    rate = histogram.get("sample_rate", 1)
    return "Histogram {}".format(name) + (" (1 of {})".format(rate) if rate > 1 else "")


def heartbeat_words(daemon):
    """Whether the daemon runs, by its heartbeat."""
    try:
        beat = datetime.fromisoformat(daemon.get("heartbeat", "").replace("Z", "+00:00"))
        age = (datetime.now(timezone.utc) - beat).total_seconds()
    except (TypeError, ValueError):
        return "not running (no heartbeat)"
    return "running" if age <= HEARTBEAT_FRESH_SEC else "not running (last heartbeat {} s ago)".format(int(age))


#
# show telegen --------------------------------------------------------------------------------------------------------
#


@click.group(name="telegen", cls=clicommon.AliasedGroup)
def TELEGEN():
    """Show on-demand telemetry of traffic that the ASIC forwards"""


@TELEGEN.command(name="jobs")
@JSON_OPTION
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
def jobs(db, as_json, namespace):
    """Show all jobs that the daemon knows"""
    places = asics(db, namespace)
    found = [(asic, job_id, state_row(asic, JOB, job_id)) for asic in places for job_id in state_keys(asic, JOB)]
    found = natsorted(found, key=lambda job: (job[2].get("created_at", ""), job[1]))
    if as_json:
        echo_json([job_object(asic, job_id, row) for asic, job_id, row in found])
        return
    header = ["Job", "Port", "Direction", "Method", "Status", "Reason", "Started", "Ends"]
    body = [
        [
            job_id,
            port_label(asic, row.get("port", NA)),
            row.get("direction", NA),
            row.get("span_method", NA),
            row.get("status", NA),
            row.get("reason", NA),
            row.get("started_at", NA),
            row.get("ended_at", row.get("expires_at", NA)),
        ]
        for asic, job_id, row in found
    ]
    if any(asic.namespace for asic in places):
        header.insert(0, "Namespace")
        body = [[asic.namespace, *row] for (asic, _, _), row in zip(found, body)]
    echo_table(body, header)


@TELEGEN.command(name="job")
@JOB_ARGUMENT
@JSON_OPTION
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
@click.pass_context
def job(ctx, db, job_id, as_json, namespace):
    """Show everything that is known of one job"""
    asic, row = known_job(ctx, db, namespace, job_id)
    if as_json:
        echo_json(job_object(asic, job_id, row))
        return
    body = [*asic.member.items(), ("job_id", job_id), *((name, row[name]) for name in natsorted(row))]
    echo_table(body, ["Field", "Value"])


@TELEGEN.command(name="results")
@JOB_ARGUMENT
@JSON_OPTION
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
@click.pass_context
def results(ctx, db, job_id, as_json, namespace):
    """Show what a job has counted"""
    asic, status = known_job(ctx, db, namespace, job_id)
    row = state_row(asic, RESULT, job_id)
    if as_json:
        echo_json(results_object(asic, job_id, row))
        return
    click.echo("Job {} on {}: {}".format(job_id, port_label(asic, status.get("port", NA)), status.get("status", NA)))
    for warning in split(status.get("warning", "")):
        means = WARNINGS.get(warning)
        click.echo("Warning: {}".format("{}: {}".format(warning, means) if means else warning))
    if not row:
        click.echo("No results yet")
        return
    result = results_object(asic, job_id, row)
    for line in [*thinning_lines(row), *copies_lines(row), coverage_line(status, row)]:
        click.echo(line)
    echo_part(health_text(status, row))
    summary = [[name, row[name]] for name in row if name in result and name not in ("updated_at", *IN_HEALTH)]
    if result["distinct_flows"]:
        summary.append(["distinct_flows", "{estimate} +/- {err95}".format(**result["distinct_flows"])])
    click.echo()
    echo_table(summary, ["Counter", "Value"], colalign=("left", "right"))
    total = count(row, "packets_total")
    sections = {
        "Ethernet": result["protocols"]["ethernet"],
        "IP": result["protocols"]["ip"],
        "Services": result["services"],
        "Tunnels": result["tunnels"],
        "In tunnels": result["inner"],
    }
    for title, counters in sections.items():
        if counters:
            echo_part("{}\n{}".format(title, protocol_table(counters, total)))
    echo_part(tunnels_line(status, row))
    echo_part("\n".join(mix_lines(row)))
    for name, histogram in result["histograms"].items():
        if any(histogram.get("counts", [])):
            echo_part("{}\n{}".format(histogram_title(name, histogram), histogram_table(histogram)))


@TELEGEN.command(name="flows")
@JOB_ARGUMENT
@JSON_OPTION
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
@click.pass_context
def flows(ctx, db, job_id, as_json, namespace):
    """Show a job's largest flows (estimates where packets were sampled)"""
    asic, _ = known_job(ctx, db, namespace, job_id)
    found = [(rank, state_row(asic, FLOW, job_id, rank)) for rank in state_keys(asic, FLOW, job_id)]
    if as_json:
        echo_json([{"rank": number(rank), **typed(row)} for rank, row in found])
        return
    for _, row in found:
        row["ip_proto"] = PROTOCOLS.get(row.get("ip_proto"), row.get("ip_proto", NA))
    body = [[rank] + [row.get(field, NA) for _, field in FLOW_COLUMNS] for rank, row in found]
    header = ["#"] + [title for title, _ in FLOW_COLUMNS]
    echo_table(body, header)


@TELEGEN.command(name="status")
@JSON_OPTION
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
def status(db, as_json, namespace):
    """Show the daemon and its settings"""
    places = asics(db, namespace)
    found = [status_object(asic) for asic in places]
    if as_json:
        # One object where there is one ASIC, as ever; a list of them on a multi-ASIC switch.
        echo_json(found if any(asic.namespace for asic in places) else found[0])
        return
    for asic, shown in zip(places, found):
        if asic.namespace:
            click.echo("{}Namespace {}\n".format("" if asic is places[0] else "\n", asic.namespace))
        daemon, settings, mirror_ports = shown["daemon"], shown["settings"], shown["mirror_ports"]
        judged = [name for name in natsorted(daemon) if name + WHY in daemon]
        plain = set(daemon) - {"state", *judged, *(name + WHY for name in judged)}
        echo_table([(name, daemon[name]) for name in ("state", *natsorted(plain))], ["Daemon", ""])
        click.echo()
        if judged:
            rows = [(name, CAN.get(daemon[name], daemon[name]), daemon[name + WHY]) for name in judged]
            echo_table(rows, ["This switch can", "", "Why"])
            click.echo()
        if settings:
            values = {name: ",".join(value) if isinstance(value, list) else value for name, value in settings.items()}
            echo_table(natsorted(values.items()), ["Setting", "Value"])
        else:
            click.echo("Every setting has its default; see 'config telegen global --help'")
        click.echo()
        if mirror_ports:
            rows = [[port_label(asic, port), mirror_ports[port]] for port in natsorted(mirror_ports)]
            echo_table(rows, ["Mirror port", "Netdev"])
        else:
            click.echo("No mirror ports; see 'config telegen mirror-port add --help'")


def status_object(asic):
    """What the daemon says of itself, what is set, and where copies may go."""
    daemon = state_row(asic, DAEMON, DAEMON_KEY)
    ports = asic.cfgdb.get_table("TELEGEN_MIRROR_PORT")
    return {
        **asic.member,
        "daemon": {"state": heartbeat_words(daemon), **daemon},
        "settings": asic.cfgdb.get_entry("TELEGEN", "global"),
        "mirror_ports": {port: row.get("netdev", NA) for port, row in ports.items()},
    }


def register(cli):
    """sonic-utilities calls this with the `show` command."""
    if TELEGEN.name in cli.commands:
        raise Exception("{} already exists in CLI".format(TELEGEN.name))
    cli.add_command(TELEGEN)
