"""`sonic-clear telegen results [ID]`: forgets finished telemetry jobs.

A plugin of sonic-utilities: its loader calls register(). It deletes STATE_DB rows of jobs that are over; a job that is
not over keeps its rows, because they are the daemon's until then.
"""

import click
import utilities_common.cli as clicommon

JOB = "TELEGEN_JOB_TABLE"
FINAL = ("done", "stopped", "failed", "rejected", "expired")


def state_key(db, *parts):
    """A STATE_DB key: table and key parts behind each other, as the database separates them."""
    return db.db.get_db_separator(db.db.STATE_DB).join(parts)


def job_status(db, job_id):
    """The job's status; None if the job is unknown."""
    row = db.db.get_all(db.db.STATE_DB, state_key(db, JOB, job_id)) or {}
    return row.get("status")


def keys_behind(db, *parts):
    """The STATE_DB keys that begin with `parts`.

    A refused job's key is whatever its user wrote, glob characters too: what the pattern finds is compared again, so
    that nothing of another job is deleted.
    """
    prefix = state_key(db, *parts, "")
    return sorted(key for key in db.db.keys(db.db.STATE_DB, prefix + "*") or [] if key.startswith(prefix))


def known_jobs(db):
    """The ids of all jobs in STATE_DB."""
    prefix = state_key(db, JOB, "")
    return [key[len(prefix) :] for key in keys_behind(db, JOB)]


def forget(db, job_id):
    """Deletes the rows of a finished job, the one that names it last: if this is cut short, a second try finds it."""
    keys = [state_key(db, "TELEGEN_RESULT_TABLE", job_id)]
    for table in ("TELEGEN_FLOW_TABLE", "TELEGEN_HISTOGRAM_TABLE"):
        keys.extend(keys_behind(db, table, job_id))
    for key in [*keys, state_key(db, JOB, job_id)]:
        db.db.delete(db.db.STATE_DB, key)


@click.group(name="telegen", cls=clicommon.AliasedGroup)
def TELEGEN():
    """Clear telemetry results"""


@TELEGEN.command(name="results")
@click.argument("job_id", metavar="[ID]", required=False)
@clicommon.pass_db
@click.pass_context
def results(ctx, db, job_id):
    """Forget finished job ID, or all finished jobs"""
    if job_id is None:
        finished = [known for known in known_jobs(db) if job_status(db, known) in FINAL]
        for known in finished:
            forget(db, known)
        click.echo("{} finished job{} cleared".format(len(finished), "" if len(finished) == 1 else "s"))
        return
    status = job_status(db, job_id)
    if status is None:
        ctx.fail("Job {} is unknown; see 'show telegen jobs'".format(job_id))
    if status not in FINAL:
        ctx.fail("Job {0} is {1}; stop it first with 'config telegen stop {0}'".format(job_id, status))
    forget(db, job_id)
    click.echo("Job {} cleared".format(job_id))


def register(cli):
    """sonic-utilities calls this with the `clear` command."""
    if TELEGEN.name in cli.commands:
        raise Exception("{} already exists in CLI".format(TELEGEN.name))
    cli.add_command(TELEGEN)
