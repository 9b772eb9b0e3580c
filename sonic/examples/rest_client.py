#!/usr/bin/env python3
"""Observes a port by REST, through a client that is generated from the OpenAPI document the switch serves.

rest_client.py PORT SECONDS [SOCKET]

curl -s --unix-socket /var/run/telegen/rest.sock http://localhost/openapi.json >telegen.json
openapi-python-client generate --path telegen.json --output-path telegen_client --meta none
PYTHONPATH=. rest_client.py Ethernet16 60
"""

import sys
import time

import httpx
from telegen_client import Client
from telegen_client.api.default import (
    get_v1_monitor_jobs_id,
    get_v1_monitor_jobs_id_results,
    post_v1_monitor_jobs,
)
from telegen_client.models import Error, Job, JobFilters, Status

OVER = (Status.DONE, Status.STOPPED, Status.FAILED, Status.REJECTED, Status.EXPIRED)


def observe(client, port, seconds):
    """Starts a job that looks at TCP and UDP only, waits for its end, and returns it with its results."""
    body = Job(port=port, duration_sec=seconds, sample_rate=1, filters=JobFilters(ip_proto=["tcp", "udp"]))
    started = post_v1_monitor_jobs.sync(client=client, body=body)
    if isinstance(started, Error):
        sys.exit("refused: {}: {}".format(started.error, started.message))
    print("job {} is {}".format(started.job_id, started.status), flush=True)
    while True:
        job = get_v1_monitor_jobs_id.sync(started.job_id, client=client)
        if job.status in OVER:
            return job, get_v1_monitor_jobs_id_results.sync(job.job_id, client=client)
        time.sleep(0.5)


def main(port, seconds, socket="/var/run/telegen/rest.sock"):
    """Prints what the job found."""
    transport = httpx.HTTPTransport(uds=socket)
    with Client(base_url="http://localhost", httpx_args={"transport": transport}) as client:
        job, results = observe(client, port, int(seconds))
    total = "job {} is {}: {} packets, {} bytes"
    print(total.format(job.job_id, job.status, results.packets_total, results.bytes_total))
    for name, counts in sorted(results.protocols.ip.to_dict().items()):
        print("{:8} {:8} packets {:10} bytes".format(name, counts["packets"], counts["bytes"]))
    for flow in results.top_flows[:3]:
        print("{} {}".format(flow["5tuple"], flow["pkts"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
