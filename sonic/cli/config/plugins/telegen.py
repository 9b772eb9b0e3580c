"""`config telegen ...`: starts and stops telemetry jobs, and sets how the telegen daemon behaves.

A plugin of sonic-utilities: its loader calls register(). It writes CONFIG_DB rows and shows what the daemon made of
them. The daemon is the judge of every value; here only integer ranges and choices are checked, so that a typing mistake
is caught before anything is written. It does not read results: that is `show telegen`.

On a multi-ASIC switch each ASIC has its own daemon and databases. Without `-n` a job goes where its port is, and
settings go to all.
"""

import functools
import os
import re
import secrets
import time
from datetime import datetime, timedelta, timezone

import click
import utilities_common.cli as clicommon
import utilities_common.multi_asic as multi_asic_util
from natsort import natsorted
from utilities_common.db import Db
from utilities_common.general import load_db_config

# What each field may hold, as the daemon has it (src/model/limits.rs; tests/agreement.rs compares the two).
#   kind      what a value looks like; "integer" has min and max, "word" has words (accepted) and reserved (understood,
#             and refused by the daemon until they are built), "text" has max_chars
#   default   the value of an absent field; "setting:<name>" is a field of TELEGEN|global; None: absence is a value
#   max_items the field is a list of at most so many; CONFIG_DB then says `name@`
DURATION = {"kind": "integer", "min": 1, "max": 86400}
SAMPLE_RATE = {"kind": "integer", "min": 1, "max": 1000000}
DSCP = {"kind": "integer", "min": 0, "max": 63}
SPAN_METHOD = {"kind": "word", "words": ["span", "erspan", "none"], "reserved": ["psample", "acl_copy"]}
FREE_TEXT = {"kind": "text", "max_chars": 128, "default": None}

JOB_FIELDS = {
    "kind": {
        "kind": "word",
        "words": ["traffic"],
        "reserved": ["drops", "congestion", "control-plane", "profile", "offcpu", "redis", "audit"],
        "default": "traffic",
    },
    "port": {"kind": "port-names", "default": None},
    "direction": {"kind": "word", "words": ["ingress", "egress", "both"], "reserved": [], "default": "ingress"},
    "span_method": {**SPAN_METHOD, "default": "setting:span_method"},
    "duration": {**DURATION, "default": "setting:default_duration"},
    "sample_rate": {**SAMPLE_RATE, "default": "setting:default_sample_rate"},
    "mirror_sample_rate": {"kind": "integer", "min": 2, "max": 8388608, "default": None},
    "mirror_truncate": {"kind": "integer", "min": 64, "max": 9216, "default": None},
    "vlan": {"kind": "integer", "min": 1, "max": 4094, "default": None},
    "ip_proto": {"kind": "ip-protocol", "max_items": 256, "default": None},
    "l4_sport": {"kind": "port-range", "max_items": 16, "default": None},
    "l4_dport": {"kind": "port-range", "max_items": 16, "default": None},
    "src_cidr": {"kind": "prefix", "default": None},
    "dst_cidr": {"kind": "prefix", "default": None},
    "dscp": {**DSCP, "max_items": 64, "default": None},
    "inner": {"kind": "boolean", "default": "false"},
    "result_detail": {
        "kind": "word",
        "words": ["summary", "flows"],
        "reserved": ["packets", "pcaplike"],
        "default": "flows",
    },
    "otlp_export": {"kind": "boolean", "default": "true"},
    "anonymize": {"kind": "boolean", "default": "false"},
    "expires_at": {"kind": "timestamp", "default": None},
    "description": FREE_TEXT,
    "owner": FREE_TEXT,
}

# Which kinds of job need which fields.
NEEDS = {"traffic": ["port"]}

SETTINGS = {
    "admin_state": {"kind": "word", "words": ["enabled", "disabled"], "reserved": [], "default": "enabled"},
    "max_jobs": {"kind": "integer", "min": 1, "max": 2, "default": "2"},
    "max_sessions": {"kind": "integer", "min": 1, "max": 9, "default": "2"},
    "max_queue": {"kind": "integer", "min": 0, "max": 16, "default": "0"},
    "queue_ttl": {"kind": "integer", "min": 1, "max": 3600, "default": "60"},
    "settle_ms": {"kind": "integer", "min": 0, "max": 10000, "default": "1000"},
    "run_saved_jobs": {"kind": "boolean", "default": "false"},
    "default_duration": {**DURATION, "default": "120"},
    "default_sample_rate": {**SAMPLE_RATE, "default": "100"},
    "span_method": {**SPAN_METHOD, "default": "span"},
    "topk_flows": {"kind": "integer", "min": 1, "max": 4096, "default": "1024"},
    "state_flows": {"kind": "integer", "min": 0, "max": 100, "default": "20"},
    "result_interval": {"kind": "integer", "min": 1, "max": 60, "default": "1"},
    "flow_interval": {"kind": "integer", "min": 1, "max": 600, "default": "5"},
    "result_retention": {"kind": "integer", "min": 0, "max": 604800, "default": "3600"},
    "cpu_limit": {"kind": "integer", "min": 1, "max": 100, "default": "20"},
    "memory_limit": {"kind": "integer", "min": 1, "max": 1024, "default": "64"},
    "allow_unprobed": {"kind": "boolean", "default": "false"},
    "probe_switch": {"kind": "boolean", "default": "true"},
    "erspan_src_ip": {"kind": "prefix", "max_items": 16, "default": None},
    "erspan_dst_ip": {"kind": "ip-address", "default": None},
    "erspan_netdev": {"kind": "netdev", "default": None},
    "erspan_gre_type": {"kind": "gre-type", "default": "0x88be"},
    "erspan_dscp": {**DSCP, "default": "8"},
    "erspan_ttl": {"kind": "integer", "min": 1, "max": 255, "default": "255"},
    "otlp_endpoint": {"kind": "endpoint", "default": "localhost:4317"},
    "otlp_protocol": {"kind": "word", "words": ["grpc", "http/protobuf"], "reserved": [], "default": "grpc"},
    "export_interval": {"kind": "integer", "min": 1, "max": 3600, "default": "10"},
    "rest_listen": {"kind": "listen", "default": "/var/run/telegen/rest.sock"},
    "rest_cert": {"kind": "path", "default": None},
    "rest_key": {"kind": "path", "default": None},
    "rest_client_ca": {"kind": "path", "default": None},
}

# What --help says of each setting. Live ones take effect at once, the others with the next job.
SETTING_TEXTS = {
    "admin_state": "Whether jobs are served at all; disabled ends those that run (live)",
    "max_jobs": "Jobs that may run at once",
    "max_sessions": "Mirror sessions of one job; one whose copies the ASIC samples or cuts takes one for each port",
    "max_queue": "Jobs that may wait for their turn; 0 refuses at once",
    "queue_ttl": "Seconds that a job may wait for its turn",
    "settle_ms": "Milliseconds of quiet before a row without expires_at is taken up",
    "run_saved_jobs": "Whether rows without expires_at that are found at start are run",
    "default_duration": "Seconds of a job that does not say",
    "default_sample_rate": "Sample rate of a job that does not say",
    "span_method": "How copies reach the CPU, for a job that does not say",
    "topk_flows": "Flows of a job that OTLP and REST get",
    "state_flows": "Flows of a job that STATE_DB gets",
    "result_interval": "Seconds between two writes of totals (live)",
    "flow_interval": "Seconds between two writes of flows (live)",
    "result_retention": "Seconds that results of finished jobs are kept (live)",
    "cpu_limit": "Percent of one core; not enforced yet",
    "memory_limit": "MiB that all jobs together may hold",
    "allow_unprobed": "Whether directions are tried that the switch does not say it can mirror",
    "probe_switch": "Whether the daemon finds out once after a boot what the tables do not say",
    "erspan_src_ip": "Outer source addresses or prefixes of copies, with commas between; each job takes one",
    "erspan_dst_ip": "Outer destination address of copies; needs a route and a neighbour",
    "erspan_netdev": "Network device on which copies arrive",
    "erspan_gre_type": "GRE protocol type of copies: 0x88be, 0x22eb, 0x6558 or 0x8949",
    "erspan_dscp": "Outer DSCP of copies",
    "erspan_ttl": "Outer TTL of copies",
    "otlp_endpoint": "Collector, host:port",
    "otlp_protocol": "How it is spoken to",
    "export_interval": "Seconds between two exports (live)",
    "rest_listen": "Unix socket, or loopback address with port, of the REST interface",
    "rest_cert": "Reserved: certificate of the REST interface, PEM",
    "rest_key": "Reserved: its private key, PEM",
    "rest_client_ca": "Reserved: who signs the certificates of REST clients, PEM",
}

JOB_ID_PATTERN = "[a-zA-Z0-9][-a-zA-Z0-9_]{0,20}"

# --filter takes these; lists may hold several items, separated by commas.
FILTER_FIELDS = ("vlan", "ip_proto", "l4_sport", "l4_dport", "src_cidr", "dst_cidr", "dscp")

JOB = "TELEGEN_JOB"
SETTINGS_TABLE = "TELEGEN"
SETTINGS_KEY = "global"
MIRROR_PORT = "TELEGEN_MIRROR_PORT"
CPU_PORT = "CPU"
STATE_JOB = "TELEGEN_JOB_TABLE"
STATE_DAEMON = "TELEGEN_DAEMON_TABLE"

ALL_JOBS = "all"
FINAL = ("done", "stopped", "failed", "rejected", "expired")
# The daemon's heartbeat comes every 5 s.
HEARTBEAT_FRESH_SEC = 15
START_WAIT_SEC = 2
# orchagent may take 5 s to confirm that the mirror session is gone.
STOP_WAIT_SEC = 10
POLL_SEC = 0.05


#
# The table's words as click's types ----------------------------------------------------------------------------------
#


def click_type(rule):
    """What click can check of a value; everything else is text, for the daemon to judge."""
    if rule["kind"] == "integer":
        return click.IntRange(rule["min"], rule["max"])
    if rule["kind"] == "word":
        return click.Choice(rule["words"] + rule["reserved"])
    if rule["kind"] == "boolean":
        return click.Choice(["true", "false"])
    return click.STRING


def help_text(text, rule):
    """`text` with what click does not show: the default and the words that are only reserved."""
    notes = []
    default = rule.get("default")
    if default is not None:
        notes.append("default: " + default.replace("setting:", "TELEGEN|global "))
    if rule.get("reserved"):
        notes.append("reserved: " + ", ".join(rule["reserved"]))
    return "{} [{}]".format(text, "; ".join(notes)) if notes else text


def job_option(*names, field, text):
    """An option of `start` that sets `field` of the job's row."""
    rule = JOB_FIELDS[field]
    return click.option(*names, field, type=click_type(rule), help=help_text(text, rule))


def setting_options(command):
    """One option for each field of TELEGEN|global."""
    for name, rule in reversed(list(SETTINGS.items())):
        flag = "--" + name.replace("_", "-")
        command = click.option(flag, name, type=click_type(rule), help=help_text(SETTING_TEXTS[name], rule))(command)
    return command


def list_items(text):
    """The items of a list: separated by commas, empty ones dropped."""
    return [item.strip() for item in text.split(",") if item.strip()]


def check_job_id(ctx, param, value):
    """A job's id is part of Redis keys and of the mirror session's name, so it is checked before it becomes one."""
    if value is None:
        return value
    if not re.fullmatch(JOB_ID_PATTERN, value):
        raise click.BadParameter(
            "'{}' is no job id: 1 to 21 letters, digits, '-' and '_', the first a letter or a digit".format(value)
        )
    if value == ALL_JOBS:
        raise click.BadParameter("'{}' means every job in 'config telegen stop'; take another id".format(value))
    return value


def parse_filters(ctx, param, pairs):
    """`key=value` pairs as row fields. A list may come in one pair or in several, anything else only once."""
    fields = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in FILTER_FIELDS:
            raise click.BadParameter("'{}' is no filter: give KEY=VALUE with {}".format(pair, ", ".join(FILTER_FIELDS)))
        rule = JOB_FIELDS[key]
        if "max_items" in rule:
            items = list_items(value)
            if rule["kind"] == "integer":
                items = [str(click_type(rule).convert(item, param, ctx)) for item in items]
            fields.setdefault(key, []).extend(items)
        elif key in fields:
            raise click.BadParameter("'{}' is given twice".format(key))
        else:
            fields[key] = click_type(rule).convert(value, param, ctx)
    return fields


#
# ASICs ---------------------------------------------------------------------------------------------------------------
#


class Asic:
    """The databases of one ASIC's namespace; of the host where there is only one ASIC."""

    def __init__(self, db, namespace):
        self.namespace = namespace
        self.cfgdb = db.cfgdb_clients[namespace]
        self.db = db.db_clients[namespace]
        # Behind a job's id, where an id alone does not say which job is meant.
        self.suffix = " on {}".format(namespace) if namespace else ""


def asics(db, namespace):
    """What a command acts on: the ASIC that the user named, or all of them."""
    names = [namespace] if namespace else [name for name in natsorted(db.cfgdb_clients) if name]
    return [Asic(db, name) for name in names or [""]]


def asic_of_port(ctx, db, namespace, given):
    """The ASIC that has the ports, and their names there. Where there is only one, the daemon judges the names."""
    candidates = asics(db, namespace)
    if given is None:
        if len(candidates) > 1:
            ctx.fail("A job without a port is of one ASIC; say which with -n")
        return candidates[0], None
    for asic in candidates:
        name = port_name(asic, given)
        known = {*asic.cfgdb.get_keys("PORT"), *asic.cfgdb.get_keys("PORTCHANNEL")}
        if known.issuperset(name.split(",")):
            return asic, name
    if len(candidates) > 1:
        ctx.fail("Port {} is on none of {}".format(given, ", ".join(asic.namespace for asic in candidates)))
    return candidates[0], port_name(candidates[0], given)


#
# Completion ----------------------------------------------------------------------------------------------------------
#


def completing(candidates):
    """The argument of click.argument and click.option that completes words with what `candidates(asic)` gives.

    click 7 (SONiC releases before 202511) calls it `autocompletion`. Whatever goes wrong, there are no candidates: a
    traceback would land in the line that the user is typing.
    """

    def complete(ctx, args_or_param, incomplete):
        try:
            load_db_config()
            found = {word for asic in asics(Db(), None) for word in candidates(asic)}
        except Exception:
            return []
        return natsorted(word for word in found if word.startswith(incomplete))

    return {"shell_complete" if hasattr(click.Parameter, "shell_complete") else "autocompletion": complete}


def known_ports(asic):
    """Every name that a port may be given by."""
    ports = asic.cfgdb.get_table("PORT")
    if clicommon.get_interface_naming_mode() == "alias":
        ports = [row.get("alias", name) for name, row in ports.items()]
    return [*ports, *asic.cfgdb.get_keys("PORTCHANNEL")]


def known_mirror_ports(asic):
    """The ports that telegen may mirror to."""
    return [port_label(asic, name) for name in asic.cfgdb.get_keys(MIRROR_PORT)]


def stoppable_jobs(asic):
    """What `stop` takes."""
    return [*job_ids(asic), ALL_JOBS]


#
# Redis ---------------------------------------------------------------------------------------------------------------
#


def require_root(ctx):
    """`config` as a whole asks for root; a plugin must not rely on how it was reached."""
    if os.geteuid() != 0:
        ctx.fail("Root privileges are required for this operation")


def state_row(asic, table, key):
    """A STATE_DB row as a dictionary, empty if it is not there."""
    separator = asic.db.get_db_separator(asic.db.STATE_DB)
    return dict(asic.db.get_all(asic.db.STATE_DB, table + separator + key) or {})


def job_ids(asic):
    """The ids of all job rows in CONFIG_DB."""
    return [key if isinstance(key, str) else "|".join(key) for key in asic.cfgdb.get_keys(JOB)]


def rfc3339(moment):
    """UTC with milliseconds, as every time in the tables."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def heartbeat_age(asic):
    """Seconds since the daemon's last heartbeat; None if there is none."""
    text = state_row(asic, STATE_DAEMON, "localhost").get("heartbeat", "")
    try:
        beat = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (datetime.now(timezone.utc) - beat).total_seconds()
    except (TypeError, ValueError):
        return None


def daemon_absence(asic):
    """Why no daemon can be expected to act; None if its heartbeat is fresh."""
    age = heartbeat_age(asic)
    if age is None:
        return "the telegen daemon does not run (no heartbeat in STATE_DB)"
    if age > HEARTBEAT_FRESH_SEC:
        return "the telegen daemon does not run (last heartbeat {} s ago)".format(int(age))
    return None


def setting(asic, name):
    """An integer of TELEGEN|global. What the daemon would not take counts as absent there, so it does here."""
    rule = SETTINGS[name]
    text = asic.cfgdb.get_entry(SETTINGS_TABLE, SETTINGS_KEY).get(name, rule["default"])
    try:
        value = int(text)
    except (TypeError, ValueError):
        value = None
    return value if value is not None and rule["min"] <= value <= rule["max"] else int(rule["default"])


def wait_for(seconds, condition):
    """Asks `condition` until its answer is true or the time is over; returns the last answer."""
    deadline = time.monotonic() + seconds
    answer = condition()
    while not answer and time.monotonic() < deadline:
        time.sleep(POLL_SEC)
        answer = condition()
    return answer


def write_validated(ctx, asic, table, key, row, merge=False):
    """Makes `row` the row of `key`, or with `merge` sets its fields and keeps the others; None removes the row.

    Through SONiC's own validation, where the switch asks for it (DEVICE_METADATA yang_config_validation). Only for
    TELEGEN and TELEGEN_MIRROR_PORT: validation compares all of CONFIG_DB before and after, and would trip over job
    rows, which the daemon removes when a job ends. Only for the host's CONFIG_DB, too: a validated write always goes
    there, whichever namespace's connector is wrapped (validated_config_db_connector.py makes a GenericUpdater without
    a scope).
    """
    # Imported here: they are `config`'s own modules, and `config telegen start` must not wait for them.
    from config.validated_config_db_connector import ValidatedConfigDBConnector  # noqa: PLC0415
    from generic_config_updater.gu_common import GenericConfigUpdaterError  # noqa: PLC0415
    from jsonpatch import JsonPatch, JsonPatchConflict  # noqa: PLC0415
    from jsonpointer import JsonPointerException  # noqa: PLC0415

    connector = asic.cfgdb if asic.namespace else ValidatedConfigDBConnector(asic.cfgdb)
    try:
        if getattr(connector, "yang_enabled", False):
            connector.apply_patch(JsonPatch(patch_of(asic, table, key, row, merge)), table)
        elif merge:
            connector.mod_entry(table, key, row)
        else:
            connector.set_entry(table, key, row)
    except (ValueError, JsonPatchConflict, JsonPointerException) as error:
        ctx.fail("Invalid ConfigDB. Error: {}".format(error))
    except GenericConfigUpdaterError as error:
        # It compares all of CONFIG_DB after the change, and a job that started or ended meanwhile changed it, too.
        ctx.fail("Written, but SONiC's validation is not sure of it; see 'show telegen status'. {}".format(error))


def patch_of(asic, table, key, row, merge):
    """The change as one operation of a JSON patch (RFC 6902).

    The connector's own set_entry and mod_entry make lists to text, and their patch for the first row of a table begins
    with an empty table, which is dropped again before the row comes (change_applier.py prune_empty_table).
    """
    if merge:
        row = {**asic.cfgdb.get_entry(table, key), **row}
    rows = set(asic.cfgdb.get_keys(table))
    path = "/{}/{}".format(table, key)
    if row:
        return [
            {"op": "add", "path": path, "value": row}
            if rows
            else {"op": "add", "path": "/" + table, "value": {key: row}}
        ]
    return [{"op": "remove", "path": "/" + table if rows == {key} else path}]


#
# Ports ---------------------------------------------------------------------------------------------------------------
#


def port_name(asic, given):
    """The names of the ports behind what the user typed, aliases in alias mode."""
    if clicommon.get_interface_naming_mode() == "alias":
        return ",".join(clicommon.InterfaceAliasConverter(asic).alias_to_name(port) for port in given.split(","))
    return given


def port_label(asic, name):
    """The names by which the user knows the ports."""
    if clicommon.get_interface_naming_mode() == "alias":
        return ",".join(clicommon.InterfaceAliasConverter(asic).name_to_alias(port) for port in name.split(","))
    return name


#
# config telegen ------------------------------------------------------------------------------------------------------
#


@click.group(name="telegen", cls=clicommon.AbbreviationGroup)
def TELEGEN():
    """On-demand telemetry of traffic that the ASIC forwards"""


@TELEGEN.command(name="start", short_help="Start a job on PORT, or on several")
@click.argument("port", metavar="PORT", required=False, **completing(known_ports))
@click.argument("seconds", metavar="[DURATION]", required=False, type=click_type(DURATION))
@job_option("--kind", field="kind", text="What the job is")
@job_option("--direction", field="direction", text="Which traffic of the port")
@job_option("--span-method", field="span_method", text="How copies reach the CPU")
@job_option("--duration", field="duration", text="Seconds; the same as DURATION")
@job_option("--sample-rate", field="sample_rate", text="Analyse 1 packet of N; totals are always exact")
@job_option(
    "--mirror-sample-rate",
    field="mirror_sample_rate",
    text="Let the ASIC copy 1 packet of N; totals are then of copies",
)
@job_option("--mirror-truncate", field="mirror_truncate", text="Let the ASIC cut copies to this many bytes")
@job_option("--vlan", field="vlan", text="Only this VLAN")
@click.option(
    "--filter",
    "filters",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_filters,
    help="Only matching packets; may be repeated. Keys: {}".format(", ".join(FILTER_FIELDS)),
)
@job_option("--detail", field="result_detail", text="What is kept")
@click.option("--id", "job_id", callback=check_job_id, help="Id of the job [default: 12 random hex digits]")
@job_option("--description", field="description", text="Shown with the job, never interpreted")
@click.option("--no-otlp", is_flag=True, help="Do not export this job by OTLP")
@click.option("--inner", is_flag=True, help="Look into tunnels: filters and flows then speak of what is inside")
@click.option("--anonymize", is_flag=True, help="Addresses leave the daemon only as keyed hashes")
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
@click.pass_context
def start(ctx, db, port, seconds, filters, job_id, no_otlp, inner, anonymize, namespace, **options):
    """Observe PORT, or several with commas between, for DURATION seconds"""
    require_root(ctx)
    if seconds is not None and options["duration"] is not None:
        ctx.fail("DURATION and --duration say the same; give one of them")
    if options["vlan"] is not None and "vlan" in filters:
        ctx.fail("--vlan and --filter vlan=… say the same; give one of them")
    if port is None and "port" in NEEDS.get(options["kind"] or JOB_FIELDS["kind"]["default"], ()):
        raise click.MissingParameter(ctx=ctx, param=next(param for param in ctx.command.params if param.name == "port"))

    asic, name = asic_of_port(ctx, db, namespace, port)
    row = {} if name is None else {"port": name}
    row.update({name: str(value) for name, value in options.items() if value is not None})
    row.update({name: value if isinstance(value, list) else str(value) for name, value in filters.items()})
    if seconds is not None:
        row["duration"] = str(seconds)
    if no_otlp:
        row["otlp_export"] = "false"
    if inner:
        row["inner"] = "true"
    if anonymize:
        row["anonymize"] = "true"
    if os.environ.get("SUDO_USER"):
        row["owner"] = os.environ["SUDO_USER"][: FREE_TEXT["max_chars"]]

    submit(ctx, asic, job_id or secrets.token_hex(6), row)


def submit(ctx, asic, job_id, row):
    """Writes the row in one command, waits for the daemon's word and says it."""
    before = state_row(asic, STATE_JOB, job_id)
    if asic.cfgdb.get_entry(JOB, job_id) or (before and before.get("status") not in FINAL):
        ctx.fail("Job {0} exists; stop it with 'config telegen stop {0}' or take another id".format(job_id))

    def status():
        """The new job's STATE_DB row: an earlier job of this id has another created_at."""
        found = state_row(asic, STATE_JOB, job_id)
        return found if found.get("created_at") != before.get("created_at") else {}

    def settled():
        found = status()
        return found if found.get("status") not in (None, "starting") else None

    duration = int(row.get("duration") or setting(asic, "default_duration"))
    lifetime = timedelta(seconds=setting(asic, "queue_ttl") + duration)
    row["expires_at"] = rfc3339(datetime.now(timezone.utc) + lifetime)
    # One HMSET, hence one keyspace event with the whole row (set_entry would add HDELs, and GCU may split it).
    asic.cfgdb.mod_entry(JOB, job_id, row)
    state = wait_for(START_WAIT_SEC, settled) or status()
    if not state:
        absence = daemon_absence(asic)
        if absence:
            asic.cfgdb.set_entry(JOB, job_id, None)
            ctx.fail("Job {} was not started and its row is withdrawn: {}".format(job_id, absence))
        click.echo("Job {0} is written; no status yet, see 'show telegen job {0}'".format(job_id))
        return
    where = " on " + port_label(asic, row["port"]) if "port" in row else ""
    tell_start(ctx, job_id, where, state)


def tell_start(ctx, job_id, where, state):
    """Says what became of a job, or fails with the reason; `where` is " on " and its ports, if it has any."""
    status = state["status"]
    if status in FINAL and status != "done":
        why = ": ".join(state[field] for field in ("reason", "message") if state.get(field))
        ctx.fail("Job {} is {}{}".format(job_id, status, where) + (": " + why if why else ""))
    # Before it runs, expires_at is only the row's limit.
    until = ", until {}".format(state["expires_at"]) if state.get("expires_at") and status == "running" else ""
    click.echo("Job {} is {}{}{}".format(job_id, status, where, until))
    if state.get("warning"):
        click.echo("Warning: {}; 'show telegen results {}' says what it means".format(state["warning"], job_id))
    if status == "running":
        click.echo("See 'show telegen results {}'".format(job_id))


@TELEGEN.command(name="stop")
@click.argument("job_id", metavar="<ID|all>", **completing(stoppable_jobs))
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
@click.pass_context
def stop(ctx, db, job_id, namespace):
    """Stop job ID, or every job in CONFIG_DB"""
    require_root(ctx)
    places = asics(db, namespace)
    jobs = [(asic, key) for asic in places for key in natsorted(job_ids(asic)) if job_id in (key, ALL_JOBS)]
    if job_id == ALL_JOBS and not jobs:
        click.echo("No jobs")
    elif not jobs:
        refuse_stop(ctx, places, job_id)
    elif job_id != ALL_JOBS and len(jobs) > 1:
        ctx.fail("Job {} is on {}; say which with -n".format(job_id, ", ".join(asic.namespace for asic, _ in jobs)))
    # A row that the daemon has not taken up yet leaves no status: nothing to wait for.
    taken_up = [bool(state_row(asic, STATE_JOB, key)) for asic, key in jobs]
    for asic, key in jobs:
        asic.cfgdb.set_entry(JOB, key, None)
    for (asic, key), waits in zip(jobs, taken_up):
        tell_stop(asic, key, STOP_WAIT_SEC if waits else 0)


def tell_stop(asic, job_id, seconds):
    """Waits for the end of a job whose row is removed, and says what became of it."""
    absence = daemon_absence(asic)
    if absence:
        click.echo("The row of job {}{} is removed; {}".format(job_id, asic.suffix, absence))
        return
    ended = functools.partial(over, asic, job_id)
    state = wait_for(seconds, ended) or state_row(asic, STATE_JOB, job_id)
    status = state.get("status", "removed before it was taken up")
    click.echo("Job {}{} is {}".format(job_id, asic.suffix, status))


def over(asic, job_id):
    """The job's STATE_DB row once nothing more will happen to it."""
    state = state_row(asic, STATE_JOB, job_id)
    return state if state.get("status") in FINAL else None


def refuse_stop(ctx, places, job_id):
    """The id has no row in CONFIG_DB: says why there is nothing to stop."""
    found = [row for row in (state_row(asic, STATE_JOB, job_id) for asic in places) if row]
    if not found:
        ctx.fail("Job {} is unknown; see 'show telegen jobs'".format(job_id))
    for state in found:
        if state.get("status") in FINAL:
            click.echo("Job {} is over already: {}".format(job_id, state["status"]))
        elif state.get("source") == "appl":
            ctx.fail("Job {} was started by a program through APPL_DB; only that program can stop it".format(job_id))
        else:
            click.echo("Job {} is {}; its row is removed already".format(job_id, state.get("status", "unknown")))


@TELEGEN.command(name="global")
@setting_options
@click.option(
    "--reset",
    multiple=True,
    type=click.Choice(list(SETTINGS)),
    metavar="FIELD",
    help="Remove FIELD, so that its default applies; may be repeated",
)
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
@click.pass_context
def set_global(ctx, db, reset, namespace, **options):
    """Set how the daemon behaves (TELEGEN|global)"""
    require_root(ctx)
    given = {
        name: list_items(value) if "max_items" in SETTINGS[name] else str(value)
        for name, value in options.items()
        if value is not None
    }
    if not given and not reset:
        ctx.fail("Give at least one option; 'show telegen status' shows what is set")
    both = sorted(set(given) & set(reset))
    if both:
        ctx.fail("{} is both set and reset".format(", ".join(both)))
    for asic in asics(db, namespace):
        change_settings(ctx, asic, given, reset)


def change_settings(ctx, asic, given, reset):
    """Sets the fields in `given` and removes those in `reset`; the others stay as they are."""
    if not reset:
        write_validated(ctx, asic, SETTINGS_TABLE, SETTINGS_KEY, given, merge=True)
        return
    row = asic.cfgdb.get_entry(SETTINGS_TABLE, SETTINGS_KEY)
    row = {name: value for name, value in {**row, **given}.items() if name not in reset}
    write_validated(ctx, asic, SETTINGS_TABLE, SETTINGS_KEY, row or None)


@TELEGEN.group(name="mirror-port", cls=clicommon.AbbreviationGroup)
def MIRROR_PORTS():
    """Ports that telegen may use as SPAN destinations"""


@MIRROR_PORTS.command(name="add")
@click.argument("port", **completing(known_ports))
@click.option("--netdev", required=True, help="Linux network device on which copies sent to PORT come back to the CPU")
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
@click.pass_context
def add_mirror_port(ctx, db, port, netdev, namespace):
    """Lend PORT to telegen, or change its network device"""
    require_root(ctx)
    if port == CPU_PORT and not namespace and len(asics(db, None)) > 1:
        ctx.fail("Every ASIC has a {} port; say which with -n".format(CPU_PORT))
    asic, name = (asics(db, namespace)[0], port) if port == CPU_PORT else asic_of_port(ctx, db, namespace, port)
    if name != CPU_PORT and not clicommon.is_valid_port(asic.cfgdb, name):
        ctx.fail("Port {} does not exist".format(port))
    write_validated(ctx, asic, MIRROR_PORT, name, {"netdev": netdev})


@MIRROR_PORTS.command(name="del")
@click.argument("port", **completing(known_mirror_ports))
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
@click.pass_context
def del_mirror_port(ctx, db, port, namespace):
    """Take PORT back; a job that uses it goes on to its end"""
    require_root(ctx)
    found = [(asic, port_name(asic, port)) for asic in asics(db, namespace)]
    found = [(asic, name) for asic, name in found if name in asic.cfgdb.get_keys(MIRROR_PORT)]
    if not found:
        ctx.fail("Port {} is no mirror port of telegen".format(port))
    if len(found) > 1:
        ctx.fail("Port {} is on {}; say which with -n".format(port, ", ".join(asic.namespace for asic, _ in found)))
    ((asic, name),) = found
    write_validated(ctx, asic, MIRROR_PORT, name, None)


def register(cli):
    """sonic-utilities calls this with the `config` command."""
    if TELEGEN.name in cli.commands:
        raise Exception("{} already exists in CLI".format(TELEGEN.name))
    cli.add_command(TELEGEN)
