package mutant

// Packages of the cheapest tests.
const (
	chaos   = "./meshnode"
	home    = "./meshnode/internal/home"
	journal = "./meshnode/internal/journal"
	mapek   = "./meshnode/internal/mapek"
	node    = "./meshnode/internal/node"
	route   = "./meshnode/internal/route"
	session = "./meshnode/internal/session"
	store   = "./meshnode/internal/store"
)

// Scenarios in which they must be caught.
const (
	partition = "network-partition"
	corrupt   = "pqc-corrupt"
	crash     = "node-crash"
	held      = "node-crash-held"
	latency   = "latency"
	stress    = "resource-stress"
)

// table are the seeded defects.
var table = []Mutant{
	// What clients were promised.
	{Name: "ack_before_fsync", Bug: "acknowledges a record and writes it behind",
		Scenario: crash, Criterion: "S3.3", Package: store, Test: "TestAcceptNeedsAHolder"},
	{Name: "double_on_merge", Bug: "lists a record twice that came from another node",
		Scenario: partition, Criterion: "S1.3", Package: store, Test: "TestRepairAfterPartitionAndLoss"},
	{Name: "replace_on_merge", Bug: "takes in a batch of records with one content for all",
		Scenario: partition, Criterion: "S1.3", Package: store, Test: "TestRepairAfterPartitionAndLoss"},
	{Name: "stale_page", Bug: "answers lists from a page that is a minute old",
		Scenario: partition, Criterion: "S1.3", Package: store, Test: "TestEntriesLeaveBodiesAlone"},
	{Name: "forget_journal", Bug: "begins a new journal when it restarts",
		Scenario: corrupt, Criterion: "S2.6", Package: journal, Test: "TestAppendReadAndContinue"},
	{Name: "migrate_all_but_one", Bug: "takes over all sessions of a lost home but one",
		Scenario: held, Criterion: "S3.2", Also: []string{"S3.3", "S3.E", "S3.4", "S3.K", "A3"}, Package: home, Test: "TestOneNoticesALostHome"},

	// What the loop does about a partition.
	{Name: "never_reverify", Bug: "does not challenge a peer that is back",
		Scenario: partition, Criterion: "S1.4", Also: []string{"S1.E"}, Package: node, Test: "TestPartitionIsDetectedAndHealed"},
	{Name: "reverify_one_peer", Bug: "challenges only the first peer of a partition that is back",
		Scenario: partition, Criterion: "S1.4", Package: node, Test: "TestPartitionIsDetectedAndHealed"},
	{Name: "reroute_to_dead_hop", Bug: "recalculates routes and keeps those over a lost neighbour",
		Scenario: partition, Criterion: "S1.2", Also: []string{"S1.E", "S1.5"}, Package: route, Test: "TestCutLinkIsRoutedAround"},
	{Name: "count_on_one_node", Bug: "counts an incident only on the node with the first name",
		Scenario: partition, Criterion: "S1.1", Also: []string{"D1"}, Package: node, Test: "TestPartitionIsDetectedAndHealed"},

	// The phases.
	{Name: "open_without_plan", Bug: "plans nothing when an incident opens",
		Scenario: held, Criterion: "S3.P", Also: []string{"S3.4", "S3.E", "S3.K", "S3.2", "S3.3", "A3"}, Package: mapek, Test: "TestPlan"},
	{Name: "plan_without_execute", Bug: "starts nothing of what it plans",
		Scenario: latency, Criterion: "S4.E", Also: []string{"S4.2", "S4.3", "S4.K"}, Package: mapek, Test: "TestExecuteBelievesEffectsOnly"},
	{Name: "done_without_effect", Bug: "calls every action done, without doing it",
		Scenario: held, Criterion: "S3.2", Also: []string{"S3.3"}, Package: mapek, Test: "TestExecuteBelievesEffectsOnly"},
	{Name: "incident_per_sample", Bug: "opens an incident for each sample of a high failure rate",
		Scenario: corrupt, Criterion: "S2.2", Also: []string{"S2.M", "S2.A", "S2.P", "S2.E", "S2.K"}, Package: mapek, Test: "TestAnalyze"},

	// Attacks on signatures.
	{Name: "invalidate_wrong_session", Bug: "invalidates the session of another peer than the suspect",
		Scenario: corrupt, Criterion: "S2.5", Also: []string{"S2.3", "S2.4", "S2.6", "S2.E", "S2.K", "S2.X"}, Package: node, Test: "TestCorruptedSignatures"},
	{Name: "rotate_to_same_key", Bug: "takes a revoked session up again instead of making new keys",
		Scenario: corrupt, Criterion: "S2.4", Also: []string{"S2.3", "S2.6", "S2.E", "S2.K"}, Package: session, Test: "TestRotationLosesNothing"},
	{Name: "keep_old_key_valid", Bug: "revokes a session, but not in the kernel",
		Scenario: corrupt, Criterion: "S2.3", Also: []string{"S2.4"}, Package: session, Test: "TestInvalidateRevokesUntilRotate"},
	{Name: "rotate_during_attack", Bug: "makes new keys while the attack lasts, and none after it",
		Scenario: corrupt, Criterion: "S2.4", Also: []string{"S2.E"}, Package: mapek, Test: "TestAnalyze"},
	{Name: "bad_signature_is_link_failure", Bug: "takes a peer with a bad signature for unreachable",
		Scenario: corrupt, Criterion: "S2.X", Also: []string{"S2.6"}, Package: node, Test: "TestBadSignaturesAreNoSilence"},
	{Name: "forget_attacker", Bug: "does not list a peer whose signatures fail",
		Scenario: corrupt, Criterion: "S2.K", Package: mapek, Test: "TestKnowledgeSurvives"},
	{Name: "leave_program", Bug: "says that its program is detached, and leaves it at the egress", Attacker: true,
		Scenario: corrupt, Criterion: "F1", Also: []string{"S2.4", "S2.6", "A1", "S2.X"}, Package: chaos, Test: "TestCorrupt"},

	// Latency.
	{Name: "extend_without_end", Bug: "extends deadlines without a limit, and waits for them",
		Scenario: latency, Criterion: "S4.2", Package: session, Test: "TestNoChallengeIsExtendedForEver"},
	{Name: "prefer_slow_links", Bug: "leaves a slow link its full weight",
		Scenario: latency, Criterion: "S4.3", Also: []string{"S4.E"}, Package: node, Test: "TestLatencyThatGrows"},

	// Stress.
	{Name: "never_shed", Bug: "does not shed work of low priority",
		Scenario: stress, Criterion: "S5.2", Also: []string{"S5.E", "S5.K"}, Package: session, Test: "TestSheddingRelieves"},
	{Name: "shed_critical", Bug: "sheds every other critical challenge beside those of low priority",
		Scenario: stress, Criterion: "S5.2", Package: session, Test: "TestSheddingRelieves"},
	{Name: "recover_by_restart", Bug: "restarts itself when it lacks resources",
		Scenario: stress, Criterion: "S5.3", Also: []string{"S5.1", "S5.2", "S5.M", "S5.A", "S5.P", "S5.E", "S5.K", "S5.X"}, Package: node, Test: "TestExhaustion"},
	{Name: "ask_for_nothing", Bug: "does not count its request for more nodes",
		Scenario: stress, Criterion: "S5.1", Package: node, Test: "TestExhaustion"},
}
