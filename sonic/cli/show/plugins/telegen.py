"""`show telegen ...`: telemetry jobs, their results, and what the telegen daemon says of itself.

A plugin of sonic-utilities: its loader calls register(). It reads STATE_DB (and, for settings, CONFIG_DB) and never
writes. Every command has --json for programs; there, counters are numbers and lists are lists.

Not here yet: the namespaces of a multi-ASIC switch (`-n`).
"""

import json
from datetime import datetime, timezone

import click
import utilities_common.cli as clicommon
from natsort import natsorted
from tabulate import tabulate

JOB = "TELEGEN_JOB_TABLE"
RESULT = "TELEGEN_RESULT_TABLE"
FLOW = "TELEGEN_FLOW_TABLE"
HISTOGRAM = "TELEGEN_HISTOGRAM_TABLE"
DAEMON = "TELEGEN_DAEMON_TABLE"
DAEMON_KEY = "localhost"

NA = "N/A"
HEARTBEAT_FRESH_SEC = 15
HISTOGRAM_BAR_CHARS = 40

# Fields that hold several items, joined with commas: of a job, and of a histogram.
JOB_LISTS = ("ip_proto", "l4_sport", "l4_dport", "dscp", "warning")
HISTOGRAM_LISTS = ("bounds", "counts")
# Fields of results, flows and histograms that are text although they may look like a number.
TEXT = ("src", "dst", "ip_proto", "unit", "updated_at", "first_seen", "last_seen")

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

JSON_OPTION = click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON")


#
# Redis ---------------------------------------------------------------------------------------------------------------
#


def state_key(db, *parts):
    """A STATE_DB key: table and key parts behind each other, as the database separates them."""
    return db.db.get_db_separator(db.db.STATE_DB).join(parts)


def state_row(db, *parts):
    """A STATE_DB row as a dictionary with SONiC's `@` removed from list fields; empty if there is none."""
    row = db.db.get_all(db.db.STATE_DB, state_key(db, *parts)) or {}
    return {name.rstrip("@"): value for name, value in row.items()}


def state_keys(db, *parts):
    """What follows `parts` in the keys of STATE_DB.

    A refused job's key is whatever its user wrote, glob characters too: what the pattern finds is compared again.
    """
    prefix = state_key(db, *parts, "")
    keys = db.db.keys(db.db.STATE_DB, prefix + "*") or []
    return natsorted(key[len(prefix) :] for key in keys if key.startswith(prefix))


def known_job(ctx, db, job_id):
    """The job's status row."""
    row = state_row(db, JOB, job_id)
    if not row:
        ctx.fail("Job {} is unknown; see 'show telegen jobs'".format(job_id))
    return row


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


def job_object(job_id, row):
    """A status row for JSON: text as in the table, lists as lists."""
    return {"job_id": job_id, **{name: split(value) if name in JOB_LISTS else value for name, value in row.items()}}


def echo_table(body, header, **options):
    """Text columns as they are in the tables: a port named 1e5 stays 1e5."""
    click.echo(tabulate(body, header, tablefmt="simple", disable_numparse=True, **options))


def echo_json(value):
    """As everywhere in sonic-utilities."""
    click.echo(json.dumps(value, indent=4))


def port_label(db, name):
    """The port's alias in alias mode, its name otherwise."""
    if clicommon.get_interface_naming_mode() == "alias":
        return clicommon.InterfaceAliasConverter(db).name_to_alias(name)
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


def results_object(db, job_id, row):
    """A result row with its protocols, errors and histograms in their own objects."""
    plain = {name: value for name, value in row.items() if not name.startswith(("eth_", "ip_", "error_"))}
    names = state_keys(db, HISTOGRAM, job_id)
    return {
        "job_id": job_id,
        **typed(plain),
        "protocols": {"ethernet": counters_of(row, "eth_"), "ip": counters_of(row, "ip_")},
        "errors": {name[len("error_") :]: number(value) for name, value in row.items() if name.startswith("error_")},
        "histograms": {name: typed(state_row(db, HISTOGRAM, job_id, name)) for name in names},
    }


def protocol_table(counters, total):
    """One line per class, the largest first."""
    rows = []
    for name, counts in sorted(counters.items(), key=lambda item: (-item[1].get("packets", 0), item[0])):
        packets = counts.get("packets", 0)
        share = "{:.1f}%".format(100 * packets / total) if total else NA
        rows.append([name, packets, counts.get("bytes", 0), share])
    return tabulate(rows, ["Protocol", "Packets", "Bytes", "Share"], tablefmt="simple")


def histogram_table(histogram):
    """One line per bucket, with a bar. `counts` has one more item than `bounds`: what is above the last bound."""
    bounds = histogram.get("bounds", [])
    counts = histogram.get("counts", [])
    largest = max(counts, default=0)
    rows = []
    for index, count in enumerate(counts):
        label = "<= {}".format(bounds[index]) if index < len(bounds) else "> {}".format(bounds[-1]) if bounds else "all"
        bar = "#" * (-(-count * HISTOGRAM_BAR_CHARS // largest)) if largest else ""
        rows.append([label, count, bar])
    return tabulate(rows, [histogram.get("unit", ""), "Packets", ""], tablefmt="simple")


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
@clicommon.pass_db
def jobs(db, as_json):
    """Show all jobs that the daemon knows"""
    found = [(job_id, state_row(db, JOB, job_id)) for job_id in state_keys(db, JOB)]
    found = natsorted(found, key=lambda job: (job[1].get("created_at", ""), job[0]))
    if as_json:
        echo_json([job_object(job_id, row) for job_id, row in found])
        return
    header = ["Job", "Port", "Direction", "Method", "Status", "Reason", "Started", "Ends"]
    body = [
        [
            job_id,
            port_label(db, row.get("port", NA)),
            row.get("direction", NA),
            row.get("span_method", NA),
            row.get("status", NA),
            row.get("reason", NA),
            row.get("started_at", NA),
            row.get("ended_at", row.get("expires_at", NA)),
        ]
        for job_id, row in found
    ]
    echo_table(body, header)


@TELEGEN.command(name="job")
@click.argument("job_id", metavar="<ID>")
@JSON_OPTION
@clicommon.pass_db
@click.pass_context
def job(ctx, db, job_id, as_json):
    """Show everything that is known of one job"""
    row = known_job(ctx, db, job_id)
    if as_json:
        echo_json(job_object(job_id, row))
        return
    body = [["job_id", job_id]] + [[name, row[name]] for name in natsorted(row)]
    echo_table(body, ["Field", "Value"])


@TELEGEN.command(name="results")
@click.argument("job_id", metavar="<ID>")
@JSON_OPTION
@clicommon.pass_db
@click.pass_context
def results(ctx, db, job_id, as_json):
    """Show what a job has counted"""
    status = known_job(ctx, db, job_id)
    row = state_row(db, RESULT, job_id)
    if as_json:
        echo_json(results_object(db, job_id, row))
        return
    click.echo("Job {} on {}: {}".format(job_id, port_label(db, status.get("port", NA)), status.get("status", NA)))
    if status.get("warning"):
        click.echo("Warning: {}".format(status["warning"]))
    if not row:
        click.echo("No results yet")
        return
    result = results_object(db, job_id, row)
    summary = [[name, row[name]] for name in row if name in result and name != "updated_at"]
    echo_table(summary, ["Counter", "Value"], colalign=("left", "right"))
    for title, counters in result["protocols"].items():
        if counters:
            total = sum(counts.get("packets", 0) for counts in counters.values())
            click.echo("\n{}".format({"ethernet": "Ethernet", "ip": "IP"}[title]))
            click.echo(protocol_table(counters, total))
    if result["errors"]:
        click.echo("\nErrors")
        click.echo(tabulate(natsorted(result["errors"].items()), ["Error", "Packets"], tablefmt="simple"))
    for name, histogram in result["histograms"].items():
        click.echo("\nHistogram {}".format(name))
        click.echo(histogram_table(histogram))


@TELEGEN.command(name="flows")
@click.argument("job_id", metavar="<ID>")
@JSON_OPTION
@clicommon.pass_db
@click.pass_context
def flows(ctx, db, job_id, as_json):
    """Show a job's largest flows (estimates where packets were sampled)"""
    known_job(ctx, db, job_id)
    found = [(rank, state_row(db, FLOW, job_id, rank)) for rank in state_keys(db, FLOW, job_id)]
    if as_json:
        echo_json([{"rank": number(rank), **typed(row)} for rank, row in found])
        return
    body = [[rank] + [row.get(field, NA) for _, field in FLOW_COLUMNS] for rank, row in found]
    header = ["#"] + [title for title, _ in FLOW_COLUMNS]
    echo_table(body, header)


@TELEGEN.command(name="status")
@JSON_OPTION
@clicommon.pass_db
def status(db, as_json):
    """Show the daemon and its settings"""
    daemon = state_row(db, DAEMON, DAEMON_KEY)
    running = heartbeat_words(daemon)
    settings = db.cfgdb.get_entry("TELEGEN", "global")
    mirror_ports = {port: row.get("netdev", NA) for port, row in db.cfgdb.get_table("TELEGEN_MIRROR_PORT").items()}
    if as_json:
        echo_json({"daemon": {"state": running, **daemon}, "settings": settings, "mirror_ports": mirror_ports})
        return
    body = [["state", running]] + [[name, daemon[name]] for name in natsorted(daemon)]
    echo_table(body, ["Daemon", ""])
    click.echo()
    values = {name: ",".join(value) if isinstance(value, list) else value for name, value in settings.items()}
    echo_table(natsorted(values.items()), ["Setting", "Value"])
    rows = [[port_label(db, port), mirror_ports[port]] for port in natsorted(mirror_ports)]
    click.echo()
    echo_table(rows, ["Mirror port", "Netdev"])


def register(cli):
    """sonic-utilities calls this with the `show` command."""
    if TELEGEN.name in cli.commands:
        raise Exception("{} already exists in CLI".format(TELEGEN.name))
    cli.add_command(TELEGEN)
