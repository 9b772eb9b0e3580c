"""What the rows of mirror sessions ask the ASIC for."""

OURS = "telegen_"
PLAIN = {"RX": "SAI_PORT_ATTR_INGRESS_MIRROR_SESSION", "TX": "SAI_PORT_ATTR_EGRESS_MIRROR_SESSION"}
SAMPLED = {"RX": "SAI_PORT_ATTR_INGRESS_SAMPLE_MIRROR_SESSION", "TX": "SAI_PORT_ATTR_EGRESS_SAMPLE_MIRROR_SESSION"}
SAMPLER = {"RX": "SAI_PORT_ATTR_INGRESS_SAMPLEPACKET_ENABLE", "TX": "SAI_PORT_ATTR_EGRESS_SAMPLEPACKET_ENABLE"}


class Claim:
    """What an active session asks the ASIC for."""

    def __init__(self, name, row, members, names):
        self.name, self.row, self.names = name, row, names
        oids = [names[port] for port in expand(row.get("src_port", ""), members) if port in names]
        sides = {"RX": ["RX"], "TX": ["TX"], "BOTH": ["RX", "TX"]}.get(row.get("direction", ""), [])
        sampled = int(row.get("sample_rate", 0)) > 0 or int(row.get("truncate_size", 0)) > 0
        kind = SAMPLED if sampled else PLAIN
        self.slots = {(oid, kind[side]) for oid in oids for side in sides}
        self.samplers = {(oid, SAMPLER[side]) for oid in oids for side in sides} if sampled else set()

    def does(self, mirror):
        """Whether this object of ASIC_DB sends where the row says."""

        def says(field):
            return mirror.get(f"SAI_MIRROR_SESSION_ATTR_{field}")

        if self.row.get("type") == "SPAN":
            return says("MONITOR_PORT") == self.names.get(self.row.get("dst_port"))
        return says("SRC_IP_ADDRESS") == self.row.get("src_ip") and says("DST_IP_ADDRESS") == self.row.get("dst_ip")


def expand(ports, members):
    """The ports of a list, port channels by their members: `members` are keys of PORTCHANNEL_MEMBER."""
    found = set()
    for port in ports.split(","):
        found.add(port)
        found.update(key.split("|")[1] for key in members if key.startswith(f"{port}|"))
    return found


def lies_under(row, theirs, members):
    """Whether somebody else's session copies a port of this one in the same direction: then ours is kept."""
    ports = expand(row.get("src_port", ""), members)
    for other in theirs.values():
        sides = {row.get("direction"), other.get("direction")}
        if ports & expand(other["src_port"], members) and sides != {"RX", "TX"}:
            return True
    return False


def job_of(session):
    """The id of the job that a session of ours is named for."""
    rest = session.removeprefix(OURS)
    return rest[1:].split("_", 1)[-1] if rest.startswith("_") else rest
