"""`sonic-clear telegen results [ID]`: forgets finished telemetry jobs.

A plugin of sonic-utilities: its loader calls register(). It deletes STATE_DB rows of jobs that are over; a job that is
not over keeps its rows, because they are the daemon's until then.
"""

import click
import utilities_common.cli as clicommon
import utilities_common.multi_asic as multi_asic_util
from natsort import natsorted
from utilities_common.db import Db
from utilities_common.general import load_db_config

JOB = "TELEGEN_JOB_TABLE"
FINAL = ("done", "stopped", "failed", "rejected", "expired")


class Asic:
    """STATE_DB of one ASIC's namespace; of the host where there is only one ASIC."""

    def __init__(self, db, namespace):
        self.namespace = namespace
        self.db = db.db_clients[namespace]


def asics(db, namespace):
    """What a command acts on: the ASIC that the user named, or all of them."""
    names = [namespace] if namespace else [name for name in natsorted(db.db_clients) if name]
    return [Asic(db, name) for name in names or [""]]


def state_key(asic, *parts):
    """A STATE_DB key: table and key parts behind each other, as the database separates them."""
    return asic.db.get_db_separator(asic.db.STATE_DB).join(parts)


def job_status(asic, job_id):
    """The job's status; None if the job is unknown."""
    row = asic.db.get_all(asic.db.STATE_DB, state_key(asic, JOB, job_id)) or {}
    return row.get("status")


def keys_behind(asic, *parts):
    """The STATE_DB keys that begin with `parts`.

    A refused job's key is whatever its user wrote, glob characters too: what the pattern finds is compared again, so
    that nothing of another job is deleted.
    """
    prefix = state_key(asic, *parts, "")
    return sorted(key for key in asic.db.keys(asic.db.STATE_DB, prefix + "*") or [] if key.startswith(prefix))


def known_jobs(asic):
    """The ids of all jobs in STATE_DB."""
    prefix = state_key(asic, JOB, "")
    return [key[len(prefix) :] for key in keys_behind(asic, JOB)]


def finished_jobs(asic):
    """The ids of jobs that are over."""
    return [job_id for job_id in known_jobs(asic) if job_status(asic, job_id) in FINAL]


def forget(asic, job_id):
    """Deletes the rows of a finished job, the one that names it last: if this is cut short, a second try finds it."""
    keys = [state_key(asic, "TELEGEN_RESULT_TABLE", job_id)]
    for table in ("TELEGEN_FLOW_TABLE", "TELEGEN_HISTOGRAM_TABLE"):
        keys.extend(keys_behind(asic, table, job_id))
    for key in [*keys, state_key(asic, JOB, job_id)]:
        asic.db.delete(asic.db.STATE_DB, key)


def complete_job(ctx, args_or_param, incomplete):
    """The ids of finished jobs; none if anything goes wrong: a traceback would land in the line being typed."""
    try:
        load_db_config()
        found = {job_id for asic in asics(Db(), None) for job_id in finished_jobs(asic)}
    except Exception:
        return []
    return natsorted(job_id for job_id in found if job_id.startswith(incomplete))


# click 7 (SONiC releases before 202511) calls it `autocompletion`.
COMPLETION = {"shell_complete" if hasattr(click.Parameter, "shell_complete") else "autocompletion": complete_job}


@click.group(name="telegen", cls=clicommon.AliasedGroup)
def TELEGEN():
    """Clear telemetry results"""


@TELEGEN.command(name="results")
@click.argument("job_id", metavar="[ID]", required=False, **COMPLETION)
@multi_asic_util.multi_asic_click_option_namespace
@clicommon.pass_db
@click.pass_context
def results(ctx, db, job_id, namespace):
    """Forget finished job ID, or all finished jobs"""
    places = asics(db, namespace)
    if job_id is None:
        finished = [(asic, known) for asic in places for known in finished_jobs(asic)]
        for asic, known in finished:
            forget(asic, known)
        click.echo("{} finished job{} cleared".format(len(finished), "" if len(finished) == 1 else "s"))
        return
    found = [(asic, job_status(asic, job_id)) for asic in places if job_status(asic, job_id) is not None]
    if not found:
        ctx.fail("Job {} is unknown; see 'show telegen jobs'".format(job_id))
    if len(found) > 1:
        ctx.fail("Job {} is on {}; say which with -n".format(job_id, ", ".join(asic.namespace for asic, _ in found)))
    ((asic, status),) = found
    if status not in FINAL:
        ctx.fail("Job {0} is {1}; stop it first with 'config telegen stop {0}'".format(job_id, status))
    forget(asic, job_id)
    click.echo("Job {} cleared".format(job_id))


def register(cli):
    """sonic-utilities calls this with the `clear` command."""
    if TELEGEN.name in cli.commands:
        raise Exception("{} already exists in CLI".format(TELEGEN.name))
    cli.add_command(TELEGEN)
