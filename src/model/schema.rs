//! Every name that other programs see: tables, fields, statuses, reasons, warnings, protocol names. Each stands here
//! once; those of a job's results stand in `measure`.
//!
//! The YANG module, the CLI plugins and the REST shim say the same names in their own languages; `tests/agreement.rs`
//! holds them to this file. This file knows no values and no rules: those are in `job` and `settings`.

mod words;

pub(crate) use words::words;

/// The right to be the daemon of a switch, on the Redis of its CONFIG_DB (`sonic::hold`).
pub const DAEMON_HOLD: &str = "TELEGEN_DAEMON";

/// CONFIG_DB tables. The separator between table and key belongs to the database, see `sonic::database_config`.
pub mod config_db {
    /// One row per job that is not over.
    pub const JOB: &str = "TELEGEN_JOB";
    /// The settings table and its only key.
    pub const SETTINGS: &str = "TELEGEN";
    /// Key of the only row of [`SETTINGS`].
    pub const SETTINGS_KEY: &str = "global";
    /// The pool of SPAN destinations.
    pub const MIRROR_PORT: &str = "TELEGEN_MIRROR_PORT";
    /// The field of a [`MIRROR_PORT`] row: where copies come back to the CPU.
    pub const MIRROR_PORT_NETDEV: &str = "netdev";
    /// SONiC's mirror sessions; ours are named by `JobId::session_name`.
    pub const MIRROR_SESSION: &str = "MIRROR_SESSION";
    /// SONiC's policers.
    pub const POLICER: &str = "POLICER";
    /// SONiC's front-panel ports.
    pub const PORT: &str = "PORT";
    /// SONiC's link aggregation groups.
    pub const PORTCHANNEL: &str = "PORTCHANNEL";
    /// Members of link aggregation groups, `PORTCHANNEL_MEMBER|PortChannel1|Ethernet0`.
    pub const PORTCHANNEL_MEMBER: &str = "PORTCHANNEL_MEMBER";
    /// VLAN members, `VLAN_MEMBER|Vlan10|Ethernet0`.
    pub const VLAN_MEMBER: &str = "VLAN_MEMBER";
    /// Layer-3 interfaces, `INTERFACE|Ethernet0` and `INTERFACE|Ethernet0|10.0.0.1/31`.
    pub const INTERFACE: &str = "INTERFACE";
    /// How much each component logs, and where to: `LOGLEVEL`, `LOGOUTPUT`.
    pub const LOGGER: &str = "LOGGER";
    /// SONiC's features, [`super::FEATURE_NAME`] among them if it was installed as one.
    pub const FEATURE: &str = "FEATURE";
    /// Identity of the switch, key `localhost`.
    pub const DEVICE_METADATA: &str = "DEVICE_METADATA";
}

/// APPL_DB tables.
pub mod appl_db {
    /// Jobs of programs on the switch, by the ProducerStateTable protocol.
    pub const JOB: &str = "TELEGEN_JOB_TABLE";
    /// SONiC's port state: `oper_status`, `speed`, `alias`.
    pub const PORT: &str = "PORT_TABLE";
    /// The ports that sFlow samples, as sflowmgrd tells orchagent: `admin_state`, `sample_direction`.
    pub const SFLOW_SESSION: &str = "SFLOW_SESSION_TABLE";
}

/// STATE_DB tables.
pub mod state_db {
    /// Status of every known job.
    pub const JOB: &str = "TELEGEN_JOB_TABLE";
    /// Totals and protocol counters of a job.
    pub const RESULT: &str = "TELEGEN_RESULT_TABLE";
    /// The first `state_flows` flows of a job, `TELEGEN_FLOW_TABLE|<id>|<rank>`.
    pub const FLOW: &str = "TELEGEN_FLOW_TABLE";
    /// Histograms of a job, `TELEGEN_HISTOGRAM_TABLE|<id>|<name>`.
    pub const HISTOGRAM: &str = "TELEGEN_HISTOGRAM_TABLE";
    /// What the daemon says of itself.
    pub const DAEMON: &str = "TELEGEN_DAEMON_TABLE";
    /// Key of the only row of [`DAEMON`].
    pub const DAEMON_KEY: &str = "localhost";
    /// orchagent's word on mirror sessions: `status` is `active` or `inactive`.
    pub const MIRROR_SESSION: &str = "MIRROR_SESSION_TABLE";
    /// Whether features are up.
    pub const FEATURE: &str = "FEATURE";
    /// What the switch's SAI says it can do, key `switch`.
    pub const SWITCH_CAPABILITY: &str = "SWITCH_CAPABILITY";
}

/// COUNTERS_DB tables (SONiC's; COUNTERS_PORT_NAME_MAP is one hash without a key).
pub mod counters_db {
    /// `port name -> oid`; a whole hash, no row key.
    pub const PORT_NAME_MAP: &str = "COUNTERS_PORT_NAME_MAP";
    /// `COUNTERS:<oid>`.
    pub const COUNTERS: &str = "COUNTERS";
    /// Unicast packets received.
    pub const IN_UCAST: &str = "SAI_PORT_STAT_IF_IN_UCAST_PKTS";
    /// Multicast and broadcast packets received.
    pub const IN_NON_UCAST: &str = "SAI_PORT_STAT_IF_IN_NON_UCAST_PKTS";
    /// Unicast packets sent.
    pub const OUT_UCAST: &str = "SAI_PORT_STAT_IF_OUT_UCAST_PKTS";
    /// Multicast and broadcast packets sent.
    pub const OUT_NON_UCAST: &str = "SAI_PORT_STAT_IF_OUT_NON_UCAST_PKTS";
}

/// ASIC_DB: what orchagent has asked the SAI for, as sairedis writes it. A table here is an object type, a key an object's id (`oid:0x…`); the
/// fields of a port that were never set are absent.
pub mod asic_db {
    /// Front-panel ports; their ids are the values of [`super::counters_db::PORT_NAME_MAP`].
    pub const PORT: &str = "ASIC_STATE:SAI_OBJECT_TYPE_PORT";
    /// Mirror sessions, which have no names here.
    pub const MIRROR_SESSION: &str = "ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION";
    /// Samplers, of sFlow and of sampled mirrors.
    pub const SAMPLEPACKET: &str = "ASIC_STATE:SAI_OBJECT_TYPE_SAMPLEPACKET";
    /// A port's mirror session for what it receives: [`NO_OBJECTS`], or `1:oid:0x…`.
    pub const INGRESS_MIRROR_SESSION: &str = "SAI_PORT_ATTR_INGRESS_MIRROR_SESSION";
    /// For what it sends.
    pub const EGRESS_MIRROR_SESSION: &str = "SAI_PORT_ATTR_EGRESS_MIRROR_SESSION";
    /// For what its sampler chooses of what it receives.
    pub const INGRESS_SAMPLE_MIRROR_SESSION: &str = "SAI_PORT_ATTR_INGRESS_SAMPLE_MIRROR_SESSION";
    /// For what its sampler chooses of what it sends.
    pub const EGRESS_SAMPLE_MIRROR_SESSION: &str = "SAI_PORT_ATTR_EGRESS_SAMPLE_MIRROR_SESSION";
    /// The sampler of what a port receives: [`NO_OBJECT`], or its id.
    pub const INGRESS_SAMPLEPACKET_ENABLE: &str = "SAI_PORT_ATTR_INGRESS_SAMPLEPACKET_ENABLE";
    /// The sampler of what it sends.
    pub const EGRESS_SAMPLEPACKET_ENABLE: &str = "SAI_PORT_ATTR_EGRESS_SAMPLEPACKET_ENABLE";
    /// A list of objects without one.
    pub const NO_OBJECTS: &str = "0:null";
    /// No object.
    pub const NO_OBJECT: &str = "oid:0x0";
    /// [`MIRROR_LOCAL`] or [`MIRROR_ENHANCED_REMOTE`].
    pub const MIRROR_TYPE: &str = "SAI_MIRROR_SESSION_ATTR_TYPE";
    /// SPAN.
    pub const MIRROR_LOCAL: &str = "SAI_MIRROR_SESSION_TYPE_LOCAL";
    /// ERSPAN.
    pub const MIRROR_ENHANCED_REMOTE: &str = "SAI_MIRROR_SESSION_TYPE_ENHANCED_REMOTE";
    /// The id of the port by which the copies leave.
    pub const MIRROR_MONITOR_PORT: &str = "SAI_MIRROR_SESSION_ATTR_MONITOR_PORT";
    /// ERSPAN: the copies' outer source address.
    pub const MIRROR_SRC_IP: &str = "SAI_MIRROR_SESSION_ATTR_SRC_IP_ADDRESS";
    /// ERSPAN: their outer destination address.
    pub const MIRROR_DST_IP: &str = "SAI_MIRROR_SESSION_ATTR_DST_IP_ADDRESS";
}

/// The daemon's component in `LOGGER`, and the tag of its lines in the system log.
pub const LOGGER_COMPONENT: &str = "telegen-sonic";

/// The name of the feature, of its container and of its service.
pub const FEATURE_NAME: &str = "telegen";

/// Names of our mirror sessions begin with this; others are never touched.
pub const SESSION_PREFIX: &str = "telegen_";

/// The session that unbinds a port from one that is stuck (`model::stuck`). No job's can have this name; if the daemon ends in between, the
/// next one sweeps it.
pub const UNBIND_SESSION: &str = "telegen__unbind";

words! {
    /// Fields of a job row, in the order in which they are shown.
    JobField {
        Kind = "kind", Port = "port", Direction = "direction", SpanMethod = "span_method", Duration = "duration",
        SampleRate = "sample_rate",
        MirrorSampleRate = "mirror_sample_rate", MirrorTruncate = "mirror_truncate", Vlan = "vlan", IpProto = "ip_proto",
        L4Sport = "l4_sport", L4Dport = "l4_dport", SrcCidr = "src_cidr", DstCidr = "dst_cidr", Dscp = "dscp",
        Inner = "inner", ResultDetail = "result_detail", OtlpExport = "otlp_export", Anonymize = "anonymize",
        ExpiresAt = "expires_at", Description = "description", Owner = "owner",
    }
}

impl JobField {
    /// Whether the field is a list: CONFIG_DB then says `name@`, its items separated by commas.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, JobField::IpProto | JobField::L4Sport | JobField::L4Dport | JobField::Dscp)
    }

    /// The field's name in a table, with SONiC's `@` behind the name of a list.
    #[must_use]
    pub fn table_name(self) -> String {
        if self.is_list() { format!("{self}@") } else { self.to_string() }
    }
}

words! {
    /// Fields that the daemon adds to a job's STATE_DB row.
    StatusField {
        Status = "status", Reason = "reason", Message = "message", Warning = "warning", Source = "source", Tap = "tap",
        MirrorSession = "mirror_session", CreatedAt = "created_at", StartedAt = "started_at", ExpiresAt = "expires_at", EndedAt = "ended_at",
    }
}

words! {
    /// Fields of `TELEGEN|global`.
    SettingField {
        AdminState = "admin_state", MaxJobs = "max_jobs", MaxSessions = "max_sessions", MaxQueue = "max_queue", QueueTtl = "queue_ttl", SettleMs = "settle_ms",
        RunSavedJobs = "run_saved_jobs", DefaultDuration = "default_duration", DefaultSampleRate = "default_sample_rate",
        SpanMethod = "span_method", TopkFlows = "topk_flows", StateFlows = "state_flows", ResultInterval = "result_interval",
        FlowInterval = "flow_interval", ResultRetention = "result_retention", CpuLimit = "cpu_limit", MemoryLimit = "memory_limit",
        AllowUnprobed = "allow_unprobed", ProbeSwitch = "probe_switch", ErspanSrcIp = "erspan_src_ip", ErspanDstIp = "erspan_dst_ip", ErspanNetdev = "erspan_netdev",
        ErspanGreType = "erspan_gre_type", ErspanDscp = "erspan_dscp", ErspanTtl = "erspan_ttl", OtlpEndpoint = "otlp_endpoint",
        OtlpProtocol = "otlp_protocol", ExportInterval = "export_interval", RestListen = "rest_listen", RestCert = "rest_cert",
        RestKey = "rest_key", RestClientCa = "rest_client_ca",
    }
}

impl SettingField {
    /// Whether the field is a list: CONFIG_DB then says `name@`, its items separated by commas.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, SettingField::ErspanSrcIp)
    }
}

words! {
    /// Where a job is in its life.
    Status {
        Queued = "queued", Starting = "starting", Running = "running", Stopping = "stopping",
        Done = "done", Stopped = "stopped", Failed = "failed", Rejected = "rejected", Expired = "expired",
    }
}

impl Status {
    /// Whether the job is over: nothing follows a final status, and the job holds nothing.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Status::Queued | Status::Starting | Status::Running | Status::Stopping => false,
            Status::Done | Status::Stopped | Status::Failed | Status::Rejected | Status::Expired => true,
        }
    }
}

words! {
    /// Why a job ended or was refused.
    Reason {
        InvalidField = "invalid_field", MissingField = "missing_field", KindUnavailable = "kind_unavailable",
        UnknownPort = "unknown_port", ConcurrencyLimit = "concurrency_limit", QueueTimeout = "queue_timeout",
        AdminDisabled = "admin_disabled", NoMirrorPort = "no_mirror_port", MirrorConflict = "mirror_conflict",
        MirrorUnsupported = "mirror_unsupported", MirrorRejected = "mirror_rejected", MirrorInactive = "mirror_inactive", MirrorLost = "mirror_lost",
        TapMissing = "tap_missing", AttachFailed = "attach_failed", CpuLimit = "cpu_limit", MemoryLimit = "memory_limit",
        DaemonRestarted = "daemon_restarted", DaemonStopped = "daemon_stopped", Internal = "internal",
    }
}

words! {
    /// What a job's user should know although the job goes on.
    Warning {
        NoCopies = "no_copies", ChangeIgnored = "change_ignored", SessionUnconfirmed = "session_unconfirmed", PortDown = "port_down",
        Oversubscribed = "oversubscribed",
        /// ASIC_DB still shows a port bound to the job's session after its end.
        LeftBound = "left_bound",
    }
}

words! {
    /// The door through which a job came.
    Source { Config = "config", Appl = "appl" }
}

words! {
    /// Fields of the `TELEGEN_DAEMON_TABLE` row, besides what the switch can do ([`super::ability::Ability`]).
    DaemonField {
        Version = "version", Commit = "commit", BuiltAt = "built_at", Pid = "pid", StartedAt = "started_at",
        Heartbeat = "heartbeat", ActiveJobs = "active_jobs", RefusedTotal = "refused_total",
        RefusedNotKept = "refused_not_kept", SettingsErrors = "settings_errors", Kernel = "kernel",
        MirrorPorts = "mirror_ports", TapBytesSummary = "tap_bytes_summary",
        TapBytesFlows = "tap_bytes_flows", SessionsHeld = "sessions_held",
    }
}

words! {
    /// Families of `TELEGEN_RESULT_TABLE` that count packets and bytes, `<family>_<name>_packets` and `<family>_<name>_bytes`. Zeros are left
    /// out. `families` says which names each has.
    CounterFamily { Eth = "eth", Ip = "ip", Service = "service", Tunnel = "tunnel", Inner = "inner" }
}

words! {
    /// Families of `TELEGEN_RESULT_TABLE` that count packets only, `<family>_<name>`. Zeros are left out.
    CountFamily {
        Error = "error", Health = "health", Cast = "cast", Ecn = "ecn", Dscp = "dscp", TcpFlags = "tcp_flags", Rocev2 = "rocev2",
        Rocev2Ecn = "rocev2_ecn",
    }
}

words! {
    /// Fields of a `TELEGEN_FLOW_TABLE` row.
    FlowField {
        Src = "src", Dst = "dst", L4Sport = "l4_sport", L4Dport = "l4_dport", IpProto = "ip_proto", Vlan = "vlan", Packets = "packets",
        Bytes = "bytes", PacketsEst = "packets_est", BytesEst = "bytes_est", PacketsErr95 = "packets_err95", FirstSeen = "first_seen", LastSeen = "last_seen",
    }
}

words! {
    /// Fields of a `TELEGEN_HISTOGRAM_TABLE` row.
    HistogramField {
        Unit = "unit", Bounds = "bounds@", Counts = "counts@", Sum = "sum", Count = "count",
        /// One of this many values is in it.
        SampleRate = "sample_rate",
    }
}

words! {
    /// The histograms that a job keeps.
    HistogramName {
        /// Frame lengths of all packets, bytes.
        PacketSize = "packet_size",
        /// Time between two packets, nanoseconds; of pairs chosen at random.
        Interarrival = "interarrival",
    }
}

impl HistogramName {
    /// The unit of its values, in UCUM as OpenTelemetry writes it.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            HistogramName::PacketSize => "By",
            HistogramName::Interarrival => "ns",
        }
    }
}

words! {
    /// Ethernet classes: each packet is in exactly one, by the EtherType behind all VLAN tags (IEEE 802.3 §3.2.6, IANA ieee-802-numbers).
    EthClass {
        Ipv4 = "ipv4", Ipv6 = "ipv6", Arp = "arp", Mpls = "mpls", Lldp = "lldp",
        /// Slow protocols, 0x8809: LACP and its relatives.
        Slow = "slow",
        /// 802.3 frames: a length, not an EtherType, and LLC behind it (STP, CDP and others).
        Llc = "llc",
        Ptp = "ptp", Macsec = "macsec", Eapol = "eapol",
        /// PPPoE discovery and session.
        Pppoe = "pppoe",
        /// 802.1ag and Y.1731, 0x8902.
        Cfm = "cfm",
        /// An EtherType that no other class names.
        Other = "other",
        /// The frame ends before its EtherType.
        Truncated = "truncated",
    }
}

words! {
    /// IP protocol classes: each IPv4 or IPv6 packet is in exactly one, by the protocol behind all IPv6 extension headers.
    IpClass {
        Tcp = "tcp", Udp = "udp", Icmp = "icmp", Icmpv6 = "icmpv6", Igmp = "igmp", Sctp = "sctp", Gre = "gre", Esp = "esp", Ah = "ah",
        Ospf = "ospf", Pim = "pim", Vrrp = "vrrp", Ipip = "ipip", Ipv6 = "ipv6", Eigrp = "eigrp", Rsvp = "rsvp", Dccp = "dccp", L2tp = "l2tp",
        /// IPv6 next header 59: nothing follows.
        NoNext = "no_next",
        /// A protocol that no other class names.
        Other = "other",
        /// The packet ends, or is malformed, before its protocol is known.
        Truncated = "truncated",
    }
}

words! {
    /// What was wrong with a packet. A packet can have more than one; all are also in their protocol's class.
    ErrorKind {
        /// The frame ends inside the Ethernet or VLAN header.
        TruncatedEth = "truncated_eth",
        /// The frame ends inside the IP header, its options or its extension headers.
        TruncatedIp = "truncated_ip",
        /// The frame ends inside the TCP, UDP, ICMP or SCTP header.
        TruncatedL4 = "truncated_l4",
        /// IP version, header length or total length contradict the frame.
        MalformedIp = "malformed_ip",
        /// A TCP data offset below 5, or a UDP length below 8.
        MalformedL4 = "malformed_l4",
        /// More VLAN tags or extension headers than the tap follows.
        TooDeep = "too_deep",
        /// The checksum of the IPv4 header is wrong.
        ChecksumIp = "checksum_ip",
    }
}
