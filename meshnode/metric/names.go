// Package metric names every metric of the mesh node and constructs them.
//
// The names and label values are a contract with dashboards, alert rules and
// verification criteria. Units are seconds and bytes. Some names break
// Prometheus naming rules because the design document fixes them; Exceptions
// lists these, so that the lint test knows them.
package metric

// Namespace is the prefix of every metric.
const Namespace = "x0tta6bl4"

// Full metric names.
const (
	VerificationsTotal       = Namespace + "_pqc_verifications_total"
	VerificationsFailed      = Namespace + "_pqc_verifications_failed"
	AnomaliesTotal           = Namespace + "_pqc_anomalies_total"
	VerificationLatency      = Namespace + "_pqc_verification_latency_seconds"
	VerificationTimeouts     = Namespace + "_pqc_verification_timeouts_total"
	VerificationsShed        = Namespace + "_pqc_verifications_shed_total"
	VerificationDeadline     = Namespace + "_pqc_verification_deadline_seconds"
	PeerVerificationsTotal   = Namespace + "_pqc_peer_verifications_total"
	Sessions                 = Namespace + "_pqc_sessions"
	SessionsEstablishedTotal = Namespace + "_pqc_sessions_established_total"
	SessionsInvalidatedTotal = Namespace + "_pqc_sessions_invalidated_total"
	KeyRotationsTotal        = Namespace + "_pqc_key_rotations_total"
	PacketsTotal             = Namespace + "_ebpf_packets_total"
	MalformedTotal           = Namespace + "_ebpf_malformed_packets_total"
	RingbufLostTotal         = Namespace + "_ebpf_ringbuf_lost_total"
	PeerUnreachable          = Namespace + "_mesh_peer_unreachable"
	PeerStatus               = Namespace + "_mesh_peer_status"
	PathMTU                  = Namespace + "_mesh_path_mtu_bytes"
	IsolatedNode             = Namespace + "_mesh_isolated"
	RoutesRecalculated       = Namespace + "_mesh_routes_recalculated"
	RouteMetric              = Namespace + "_mesh_route_metric"
	FramesRelayedTotal       = Namespace + "_mesh_frames_relayed_total"
	FramesByRelayTotal       = Namespace + "_mesh_frames_received_by_relay_total"
	RelayGapSeconds          = Namespace + "_mesh_relay_gap_seconds"
	RelayRefusedTotal        = Namespace + "_mesh_relay_refused_total"
	MessagesRefusedTotal     = Namespace + "_mesh_messages_refused_total"
	RTTSeconds               = Namespace + "_mesh_rtt_seconds"
	PeerAvailability         = Namespace + "_mesh_peer_availability_ratio"
	LinkWeight               = Namespace + "_mesh_link_weight"
	Records                  = Namespace + "_mesh_records"
	RecordsReplicatedTotal   = Namespace + "_mesh_records_replicated_total"
	RecordsRefusedTotal      = Namespace + "_mesh_records_refused_total"
	StoreBytes               = Namespace + "_mesh_store_bytes"
	StoreQuota               = Namespace + "_mesh_store_quota_bytes"
	StoreCommit              = Namespace + "_mesh_store_commit_seconds"
	StoreBusy                = Namespace + "_mesh_store_busy_seconds"
	StoreErrorsTotal         = Namespace + "_mesh_store_errors_total"
	StoreFault               = Namespace + "_mesh_store_fault"
	ClockOffset              = Namespace + "_mesh_clock_offset_seconds"
	ScaleRequestsTotal       = Namespace + "_mesh_scale_requests_total"
	SessionsHomed            = Namespace + "_mesh_sessions_homed"
	SessionsMigratedTotal    = Namespace + "_mesh_sessions_migrated_total"
	AnomaliesDetected        = Namespace + "_mapek_anomalies_detected"
	HealingActionsTotal      = Namespace + "_mapek_healing_actions_total"
	PhaseDuration            = Namespace + "_mapek_phase_duration_seconds"
	IncidentDetection        = Namespace + "_mapek_incident_detection_seconds"
	IncidentRecovery         = Namespace + "_mapek_incident_recovery_seconds"
	IncidentsOpen            = Namespace + "_mapek_incidents_open"
	NodeCPU                  = Namespace + "_node_cpu_ratio"
	NodeMemory               = Namespace + "_node_memory_ratio"
	NodeThrottled            = Namespace + "_node_throttled_ratio"
	NodeQueueSeconds         = Namespace + "_node_verification_queue_seconds"
	NodeLagSeconds           = Namespace + "_node_loop_lag_seconds"
)

// Full names of the recording client's metrics.
const (
	ClientOperationsTotal = Namespace + "_client_operations_total"
	ClientLastOK          = Namespace + "_client_last_ok_timestamp_seconds"
	ClientStall           = Namespace + "_client_stall_seconds"
)

// ClientStallLong is a bound of ClientStall's buckets: what is longer does not come but on
// a machine that has too little time for all.
const ClientStallLong = 0.2

// Exceptions are the names that the design document fixes although they break
// Prometheus naming (counters without the suffix _total).
func Exceptions() []string {
	return []string{VerificationsFailed, PeerUnreachable, RoutesRecalculated, AnomaliesDetected}
}

// Label names.
const (
	LabelResult      = "result"
	LabelPriority    = "priority"
	LabelType        = "type"
	LabelState       = "state"
	LabelReason      = "reason"
	LabelVerdict     = "verdict"
	LabelPeer        = "peer"
	LabelStatus      = "status"
	LabelDestination = "destination"
	LabelNextHop     = "next_hop"
	LabelAction      = "action"
	LabelOutcome     = "outcome"
	LabelPhase       = "phase"
	LabelRule        = "rule"
	LabelCause       = "cause"
	LabelKind        = "kind"
)

// Values of label "result" and of label "priority".
const (
	ResultSuccess    = "success"
	ResultFailed     = "failed"
	PriorityCritical = "critical"
	PriorityLow      = "low"
)

// Values of label "type" of AnomaliesTotal and, for the last two and the
// incident types, of AnomaliesDetected.
const (
	UnknownPubkey      = "unknown_pubkey"
	ReplayAttack       = "replay_attack"
	SessionExpired     = "session_expired"
	VerificationFailed = "verification_failed"
	HighFailureRate    = "high_failure_rate"

	NetworkPartition   = "network_partition"
	NodeCrash          = "node_crash"
	LinkFailure        = "link_failure"
	LatencySLO         = "latency_slo"
	ResourceExhaustion = "resource_exhaustion"
	// Misbehaviour is a member that sends what no sound node sends.
	Misbehaviour = "misbehaviour"
	// Isolated is a node that knows of members and reaches none, or a peer that is verified,
	// and neither heard nor on any way.
	Isolated = "isolated"
	// StorageFault is a store whose disk is at fault, or that takes no new records.
	StorageFault = "storage_fault"
	// ClockSkew is a node whose clock is not that of the mesh.
	ClockSkew = "clock_skew"
	// RepairStalled is a peer that names records and does not hand them over.
	RepairStalled = "repair_stalled"
)

// Values of label "state".
const (
	StateHandshaking = "handshaking"
	StateVerified    = "verified"
	StateUnverified  = "unverified"
	StateRevoked     = "revoked"
)

// Values of label "kind": of a storage_fault, what is wrong with the store.
const (
	FaultLatency = "latency" // commits take too long
	FaultError   = "error"   // a commit failed
	FaultFull    = "full"    // the disk has no room
	FaultLost    = "lost"    // what was acknowledged cannot be read any more
	FaultQuota   = "quota"   // the store holds as much as it may
)

// Kinds of a clock_skew.
const (
	ClockOwn  = "own"  // this node's clock is wrong
	ClockPeer = "peer" // its subject's clock is wrong, or nobody can tell whose
)

// ReasonCompromise is the value of label "reason" of rotations that answer
// failed attestations.
const ReasonCompromise = "compromise"

// Values of label "status".
const (
	StatusReachable   = "reachable"
	StatusSuspect     = "suspect"
	StatusUnreachable = "unreachable"
)

// Values of label "reason" of RelayRefusedTotal: why a relayed frame was
// dropped, in the words of the verifier where it judges alike.
const (
	RefusedMalformed   = "malformed"
	RefusedNoSession   = "no_session"
	RefusedExpired     = "expired" // the session is not verified
	RefusedBadTag      = "bad_tag"
	RefusedReplay      = "replay"
	RefusedRateLimited = "rate_limited"
	RefusedTampered    = "tampered" // the tag is good and the seal is not
	RefusedHops        = "hop_limit"
	RefusedNoRoute     = "no_route" // or only back to where it came from
)

// Values of label "type" of MessagesRefusedTotal: what a member sent that no sound node
// sends.
const (
	MessageControl = "control" // heartbeats and probes
	MessageRouting = "routing"
	MessageData    = "data"   // records and their acknowledgements, malformed
	MessageRecord  = "record" // records not as their origin signed them, and second ones under a number
	MessageClient  = "client"
	MessageRelay   = "relay"
)

// Values of label "action".
const (
	ActivateBackupRoutes = "activate_backup_routes"
	ReverifySessions     = "reverify_sessions"
	InvalidateSession    = "invalidate_session"
	RotateKeys           = "rotate_keys"
	MigrateSessions      = "migrate_sessions"
	ExtendTimeouts       = "extend_timeouts"
	UpdateRouteWeights   = "update_route_weights"
	ShedLowPriority      = "shed_low_priority"
	YieldSessions        = "yield_sessions"
	RequestScaleUp       = "request_scale_up"
	BlockPeer            = "block_peer"
	StopWrites           = "stop_writes"
	RecoverStore         = "recover_store"
	RequestReplacement   = "request_replacement"
	CorrectClock         = "correct_clock"
)

// Values of label "outcome".
const (
	OutcomeDone   = "done"
	OutcomeFailed = "failed"
)

// Values of label "rule": what is wrong with a malformed packet.
const (
	RuleFragment = "fragment" // an IP fragment: the frame is larger than the path's MTU
	RuleLength   = "length"   // lengths that disagree
	RuleHeader   = "header"   // a frame header that no node writes
	RuleHidden   = "hidden"   // behind too many headers, or several datagrams in one packet
)

// Values of label "cause": why a node that knows of members reaches none, as the
// verifier's counters suggest.
const (
	CauseMTU         = "mtu"          // fragments arrive
	CauseNoSession   = "no_session"   // frames of sessions that this node does not have
	CauseRateLimited = "rate_limited" // handshakes over the limit
	CauseRefused     = "refused"      // frames that are dropped for other reasons
	CauseUnanswered  = "unanswered"   // frames pass, and no handshake is completed
	CauseSilence     = "silence"      // nothing arrives
	CauseUnknown     = "unknown"      // the counters cannot be read
)

// Values of label "verdict" of frames of a session that was invalidated, and of one that is
// not known.
const (
	VerdictRevoked   = "revoked"
	VerdictNoSession = "no_session"
)

// The other values of label "verdict" that are read.
const (
	VerdictPass        = "pass"
	VerdictNotMesh     = "not_mesh"
	VerdictMalformed   = "malformed"
	VerdictRateLimited = "rate_limited"
)

// AnomalyTypes are the types of anomalies that exist at 0 from start-up, as do the values of the lists below.
func AnomalyTypes() []string {
	return []string{VerificationFailed, HighFailureRate, UnknownPubkey, ReplayAttack, SessionExpired}
}

// IncidentTypes are the types of incidents.
func IncidentTypes() []string {
	return []string{NetworkPartition, NodeCrash, LinkFailure, LatencySLO, ResourceExhaustion, VerificationFailed, HighFailureRate, Misbehaviour, Isolated, StorageFault, ClockSkew, RepairStalled}
}

// States are those of sessions.
func States() []string {
	return []string{StateHandshaking, StateVerified, StateUnverified, StateRevoked}
}

// Statuses are those of peers.
func Statuses() []string {
	return []string{StatusReachable, StatusSuspect, StatusUnreachable}
}

// Verdicts are the verifier's.
func Verdicts() []string {
	return []string{VerdictPass, VerdictNotMesh, VerdictMalformed, VerdictNoSession, "expired", VerdictRevoked, "bad_tag", "replay", VerdictRateLimited}
}

// Rules are those that a malformed packet breaks.
func Rules() []string {
	return []string{RuleFragment, RuleLength, RuleHeader, RuleHidden}
}

// Causes are those of isolation.
func Causes() []string {
	return []string{CauseMTU, CauseNoSession, CauseRateLimited, CauseRefused, CauseUnanswered, CauseSilence, CauseUnknown}
}

// RefusedReasons are why relayed frames are dropped.
func RefusedReasons() []string {
	return []string{RefusedMalformed, RefusedNoSession, RefusedExpired, RefusedBadTag, RefusedReplay, RefusedRateLimited, RefusedTampered, RefusedHops, RefusedNoRoute}
}

// MessageTypes are the types of members' messages that are refused.
func MessageTypes() []string {
	return []string{MessageControl, MessageRouting, MessageData, MessageRecord, MessageClient, MessageRelay}
}

// Phases are those of the loop.
func Phases() []string {
	return []string{"monitor", "analyze", "plan", "execute", "knowledge"}
}

// Actions are what the loop does.
func Actions() []string {
	return []string{ActivateBackupRoutes, ReverifySessions, InvalidateSession, RotateKeys, MigrateSessions, ExtendTimeouts, UpdateRouteWeights, ShedLowPriority, YieldSessions, RequestScaleUp, BlockPeer, StopWrites, RecoverStore, RequestReplacement, CorrectClock}
}

// StorageFaults are what can be wrong with a store.
func StorageFaults() []string {
	return []string{FaultLatency, FaultError, FaultFull, FaultLost, FaultQuota}
}

// ClockKinds say whose clock is wrong.
func ClockKinds() []string {
	return []string{ClockOwn, ClockPeer}
}
