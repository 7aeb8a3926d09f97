package fault

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

const (
	delayFixture     = "latency.yaml"
	partitionFixture = "network-partition.yaml"
	stressFixture    = "resource-stress.yaml"
	crashFixture     = "node-crash.yaml"
	recurringFixture = "node-crash-schedule.yaml"
)

// edit is a change of a fixture: pairs of what stands there once and what it becomes.
func edit(t *testing.T, fixture string, pairs ...string) string {
	t.Helper()
	s := read(t, fixture)
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(s, pairs[i]) == 0 {
			t.Fatalf("%q is not in %s", pairs[i], fixture)
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

const target = "  target:\n    mode: all\n    selector:\n      labelSelectors:\n        zone: zone-b\n"

// What the server would refuse, and what could not be proven or judged, is refused with
// its file, its line and its field.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		fixture string
		edit    []string
		field   string
		at      string // what stands on the line
		reason  string
	}{
		// The server's own schema.
		"unknown action":         {delayFixture, []string{"action: delay", "action: delya"}, "spec.action", "action: delya", "supported values"},
		"unknown direction":      {delayFixture, []string{"  delay:", "  direction: in\n  delay:"}, "spec.direction", "direction: in", "supported values"},
		"latency of two units":   {delayFixture, []string{"200ms", "1m30s"}, "spec.delay.latency", "1m30s", "match"},
		"load over 100":          {stressFixture, []string{"load: 80", "load: 150"}, "spec.stressors.cpu.load", "load: 150", "less than or equal to 100"},
		"too many workers":       {stressFixture, []string{"workers: 4", "workers: 9000"}, "spec.stressors.cpu.workers", "workers: 9000", "less than or equal to 8192"},
		"no history":             {recurringFixture, []string{"historyLimit: 3", "historyLimit: 0"}, "spec.historyLimit", "historyLimit: 0", "greater than or equal to 1"},
		"no mode":                {crashFixture, []string{"  mode: one\n", ""}, "spec.mode", "spec:", "Required"},
		"unknown within a list":  {delayFixture, []string{"    labelSelectors:\n      app: mesh-node\n", "    expressionSelectors:\n      - {key: app, operator: In, value: [a]}\n"}, "spec.selector.expressionSelectors[0].value", "operator: In", "unknown field"},
		"deadline of 0":          {recurringFixture, []string{"  historyLimit", "  startingDeadlineSeconds: 0\n  historyLimit"}, "spec.startingDeadlineSeconds", "startingDeadlineSeconds: 0", "greater than 0"},
		"a name that is none":    {delayFixture, []string{"name: mesh-latency-injection", "name: Mesh_Latency"}, "metadata.name", "Mesh_Latency", "RFC 1123"},
		"a label that is none":   {delayFixture, []string{"  name: mesh", "  labels: {a: \"b c\"}\n  name: mesh"}, "metadata.labels", "labels:", "a valid label"},
		"action in a schedule":   {recurringFixture, []string{"action: pod-kill", "action: pod-kiss"}, "spec.podChaos.action", "pod-kiss", "supported values"},
		"policy of a schedule":   {recurringFixture, []string{"Policy: Forbid", "Policy: Replace"}, "spec.concurrencyPolicy", "Replace", "supported values"},
		"oom score out of range": {stressFixture, []string{`size: "512MB"`, "size: 512MB\n      oomScoreAdj: 2000"}, "spec.stressors.memory.oomScoreAdj", "2000", "less than or equal to 1000"},

		// Its webhooks.
		"size that is none":       {stressFixture, []string{"512MB", "much"}, "spec.stressors.memory.size", "much", "incorrect bytes"},
		"fixed without a number":  {crashFixture, []string{"mode: one", "mode: fixed"}, "spec.value", "spec:", "parse value"},
		"from without a target":   {delayFixture, []string{"  delay:", "  direction: from\n  delay:"}, "spec.direction", "direction: from", "targets is empty"},
		"no stressors":            {stressFixture, []string{"  stressors:\n    cpu:\n      workers: 4\n      load: 80\n    memory:\n      workers: 2\n      size: \"512MB\"\n", ""}, "spec", "spec:", "missing stressors"},
		"correlation of no kind":  {delayFixture, []string{`correlation: "50"`, `correlation: "half"`}, "spec.delay.correlation", "half", "parse correlation"},
		"container without names": {crashFixture, []string{"pod-kill\n", "container-kill\n"}, "spec.containerNames", "spec:", "name of container is required"},
		"schedule that is none":   {recurringFixture, []string{"@every 5m\"\n  con", "@every now\"\n  con"}, "spec.schedule", "@every now", "every"},

		// What cannot be proven, or judged.
		"no least delay":                    {delayFixture, []string{"200ms", "90ms", "50ms", "90ms", "mode: all", "mode: one"}, "spec.delay.latency", "90ms", "busy network"},
		"delay under the bar":               {delayFixture, []string{"200ms", "60ms", "50ms", "0ms"}, "spec.delay.latency", "60ms", "busy network"},
		"delay without a word of jitter":    {delayFixture, []string{"200ms", "60ms", "    jitter: \"50ms\"\n", ""}, "spec.delay.latency", "60ms", "busy network"},
		"latency of minutes":                {delayFixture, []string{"200ms", "5m"}, "spec.delay.latency", "5m", "like a cut"},
		"latency of half a second":          {delayFixture, []string{"200ms", "0.5s"}, "spec.delay.latency", "0.5s", "like a cut"},
		"correlation over 100":              {delayFixture, []string{`correlation: "50"`, `correlation: "150"`}, "spec.delay.correlation", "150", "percentage"},
		"an attack too short for its alert": {"pqc-corrupt.yaml", []string{"--duration=45s", "--duration=44s"}, "spec.ephemeralContainers[0].args", "args:", "no alert can fire"},
		"an attack that spares nodes":       {"pqc-corrupt.yaml", []string{"- --rate=1", "- --peers=mesh-node-b-0\n        - --rate=1"}, "spec.ephemeralContainers[0].args", "args:", "spares some"},
		"a value apart from its flag":       {"pqc-corrupt.yaml", []string{"- --rate=1", "- --rate\n        - \"0.5\""}, "spec.ephemeralContainers[0].args", "args:", "stands apart"},
		"an attack by half":                 {"pqc-corrupt.yaml", []string{"- --rate=1", "- --rate=0.5"}, "spec.ephemeralContainers[0].args", "args:", "all bad"},
		"too few bad signatures":            {"pqc-inject.yaml", []string{"--count=10", "--count=5"}, "spec.template.spec.containers[0].args", "args:", "more than five"},
		"loss beside the delay":             {delayFixture, []string{"  delay:", "  loss: {loss: \"50\"}\n  delay:"}, "spec.loss", "loss:", "take it away"},
		"reordering":                        {delayFixture, []string{"    jitter", "    reorder: {reorder: \"50\", gap: 2}\n    jitter"}, "spec.delay.reorder", "reorder:", "take it away"},
		"action without its delay":          {partitionFixture, []string{"action: partition", "action: delay"}, "spec.delay", "spec:", "missing"},
		"another action of the network":     {delayFixture, []string{"action: delay", "action: corrupt"}, "spec.action", "corrupt", "partition and delay"},
		"two disks":                         {"io-latency.yaml", []string{"mode: one", "mode: all"}, "spec.mode", "mode: all", "one victim"},
		"another volume":                    {"io-latency.yaml", []string{"volumePath: /data", "volumePath: /tmp"}, "spec.volumePath", "/tmp", "/data"},
		"some files only":                   {"io-latency.yaml", []string{"  methods:", "  path: /data/*.jsonl\n  methods:"}, "spec.path", "path:", "not true of"},
		"every method":                      {"io-latency.yaml", []string{"  methods:\n    - write\n    - fsync\n", ""}, "spec.methods", "spec:", "missing"},
		"reading":                           {"io-error.yaml", []string{"- write", "- read"}, "spec.methods", "methods:", "no scenario"},
		"a disk that is a little slow":      {"io-latency.yaml", []string{"500ms", "50ms"}, "spec.delay", "50ms", "busy disk"},
		"a disk that hangs":                 {"io-latency.yaml", []string{"500ms", "1m"}, "spec.delay", "1m", "outlasts"},
		"a disk that is slow at times":      {"io-latency.yaml", []string{"percent: 100", "percent: 50"}, "spec.percent", "50", "busy disk"},
		"another error":                     {"io-error.yaml", []string{"errno: 5", "errno: 13"}, "spec.errno", "13", "permission denied"},
		"an error once in a while":          {"io-error.yaml", []string{"percent: 50", "percent: 1"}, "spec.percent", "percent: 1", "miss every commit"},
		"wrong attributes":                  {"io-error.yaml", []string{"action: fault", "action: attrOverride"}, "spec.action", "attrOverride", "no scenario"},
		"a clock that is a little off":      {"clock-skew.yaml", []string{"-50m", "-1s"}, "spec.timeOffset", "-1s", "no wrong clock"},
		"a clock that is a day off":         {"clock-skew.yaml", []string{"-50m", "24h"}, "spec.timeOffset", "24h", "rightly refused"},
		"a clock that nobody reads":         {"clock-skew.yaml", []string{"CLOCK_REALTIME\n  dur", "CLOCK_BOOTTIME\n  dur"}, "spec.clockIds", "clockIds:", "no scenario"},
		"another device":                    {delayFixture, []string{"  delay:", "  device: eth1\n  delay:"}, "spec.device", "eth1", "eth0"},
		"outside the cluster only":          {partitionFixture, []string{partitionTarget, "  externalTargets: [\"192.0.2.1\"]\n"}, "spec.externalTargets", "192.0.2.1", "no pair"},
		"outside the cluster, too":          {partitionFixture, []string{"  target:\n", "  externalTargets: [\"192.0.2.1\"]\n  target:\n"}, "spec.externalTargets", "192.0.2.1", "no pair"},
		"partition without a target":        {partitionFixture, []string{partitionTarget, ""}, "spec.target", "spec:", "missing"},
		"partition of one":                  {partitionFixture, []string{"mode: all", "mode: one"}, "spec.mode", "mode: one", "foreseen"},
		"partition from one":                {partitionFixture, []string{"zone-b\n    mode: all", "zone-b\n    mode: one"}, "spec.target.mode", "    mode: one", "foreseen"},
		"partition shorter than alerts":     {partitionFixture, []string{`"60s"`, `"10s"`}, "spec.duration", "10s", "15s"},
		"stress shorter than scaling":       {stressFixture, []string{`"1m"`, `"30s"`}, "spec.duration", "30s", "1m0s"},
		"negative duration":                 {delayFixture, []string{`"2m"`, `"-5s"`}, "spec.duration", "-5s", "positive"},
		"negative duration of a kill":       {crashFixture, []string{`"1m"`, `"-5s"`}, "spec.duration", "-5s", "positive"},
		"no duration of 0":                  {delayFixture, []string{`"2m"`, `"0s"`}, "spec.duration", "0s", "positive"},
		"empty duration":                    {delayFixture, []string{`"2m"`, `""`}, "spec.duration", `duration: ""`, "no duration"},
		"empty duration in a schedule":      {recurringFixture, []string{`"1m"`, `""`}, "spec.podChaos.duration", `duration: ""`, "no duration"},
		"every pod":                         {delayFixture, []string{"    labelSelectors:\n      app: mesh-node\n", ""}, "spec.selector", "selector:", "every pod"},
		"pods by their node":                {delayFixture, []string{"    labelSelectors:\n      app: mesh-node\n", "    nodes: [kind-worker]\n"}, "spec.selector.nodes", "nodes:", "foreseen"},
		"labels that are none":              {delayFixture, []string{"app: mesh-node", `app: "mesh node"`}, "spec.selector", "selector:", "valid label"},
		"all pods crash":                    {crashFixture, []string{"mode: one", "mode: all"}, "spec.mode", "mode: all", "one victim"},
		"two pods crash":                    {crashFixture, []string{"mode: one", "mode: fixed\n  value: \"2\""}, "spec.mode", "mode: fixed", "one victim"},
		"all pods are stressed":             {stressFixture, []string{"mode: one", "mode: all"}, "spec.mode", "mode: all", "one victim"},
		"a container's end":                 {crashFixture, []string{"pod-kill\n", "container-kill\n  containerNames: [node]\n"}, "spec.action", "container-kill", "no scenario"},
		"another cluster":                   {crashFixture, []string{"  mode: one", "  remoteCluster: far\n  mode: one"}, "spec.remoteCluster", "far", "another cluster"},
		"memory over the limit":             {stressFixture, []string{"512MB", "8GB"}, "spec.stressors.memory.size", "8GB", "killed"},
		"memory that the node needs":        {stressFixture, []string{"512MB", "1GB"}, "spec.stressors.memory.size", "1GB", "killed"},
		"memory of the machine":             {stressFixture, []string{"512MB", "50%"}, "spec.stressors.memory.size", "50%", "machine"},
		"no amount of memory":               {stressFixture, []string{"      size: \"512MB\"\n", ""}, "spec.stressors.memory.size", "memory:", "machine"},
		"no CPU":                            {stressFixture, []string{"    cpu:\n      workers: 4\n      load: 80\n", ""}, "spec.stressors.cpu", "stressors:", "exhausted"},
		"too little CPU":                    {stressFixture, []string{"workers: 4", "workers: 1"}, "spec.stressors.cpu.load", "load: 80", "exhausted"},
		"stressors of stress-ng":            {stressFixture, []string{"  stressors:", "  stressngStressors: --vm 2\n  stressors:"}, "spec.stressngStressors", "--vm 2", "foreseen"},
		"strikes once a day":                {recurringFixture, []string{"@every 5m\"\n  con", "CRON_TZ=Asia/Tokyo 0 9 * * *\"\n  con"}, "spec.schedule", "Asia/Tokyo", "24h"},
		"strikes twice a day":               {recurringFixture, []string{"@every 5m\"\n  con", "0,1 9 * * *\"\n  con"}, "spec.schedule", "0,1 9", "23h59m"},
		"strikes on Sundays":                {recurringFixture, []string{"@every 5m\"\n  con", "*/5 * * * 0\"\n  con"}, "spec.schedule", "* 0", "144h"},
		"never strikes":                     {recurringFixture, []string{"@every 5m\"\n  con", "0 0 30 2 *\"\n  con"}, "spec.schedule", "30 2", "away"},
		"strikes at once again":             {recurringFixture, []string{"@every 5m\"\n  con", "@every 5s\"\n  con"}, "spec.schedule", "every 5s", "again"},
		"no history at all":                 {recurringFixture, []string{"  historyLimit: 3\n", ""}, "spec.historyLimit", "spec:", "missing"},
		"deadline that keeps it away":       {recurringFixture, []string{"  historyLimit", "  startingDeadlineSeconds: 60\n  historyLimit"}, "spec.startingDeadlineSeconds", "Seconds: 60", "never strikes"},
		"paused":                            {delayFixture, []string{"  name: mesh", "  annotations:\n    experiment.chaos-mesh.org/pause: \"true\"\n  name: mesh"}, "metadata.annotations[experiment.chaos-mesh.org/pause]", "/pause", "never injected"},
		"paused schedule":                   {recurringFixture, []string{"  name: mesh", "  annotations: {experiment.chaos-mesh.org/pause: \"true\"}\n  name: mesh"}, "metadata.annotations[experiment.chaos-mesh.org/pause]", "/pause", "never injected"},
		"a kind that is not proven":         {delayFixture, []string{"NetworkChaos", "HTTPChaos"}, "kind", "HTTPChaos", "can be injected"},
		"a Job without an end":              {"pqc-inject.yaml", []string{"  activeDeadlineSeconds: 120\n", ""}, "spec.activeDeadlineSeconds", "spec:", "nothing else ends"},
	} {
		t.Run(name, func(t *testing.T) {
			data := edit(t, c.fixture, c.edit...)
			_, err := Check(fstest.MapFS{"bad.yaml": {Data: []byte(data)}})
			var f *FixtureError
			if !errors.As(err, &f) {
				t.Fatalf("got %v", err)
			}
			if f.File != "bad.yaml" || f.Field != c.field || !strings.Contains(f.Reason, c.reason) {
				t.Errorf("got %v; want field %s and %q", err, c.field, c.reason)
			}
			if lines := strings.Split(data, "\n"); f.Line < 1 || !strings.Contains(lines[f.Line-1], c.at) {
				t.Errorf("%v: line %d is not that of %q", err, f.Line, c.at)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

const partitionTarget = "  target:\n    selector:\n      namespaces:\n        - x0tta6bl4\n      labelSelectors:\n        zone: zone-b\n    mode: all\n"

// What is unusual and can be proven and judged is taken, and read as Chaos Mesh reads it.
func TestAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		fixture string
		edit    []string
		is      func(Object) error
	}{
		"delay of one, to a zone": {delayFixture, []string{"mode: all", "mode: one", "  delay:", target + "  delay:"}, func(o Object) error {
			ways, err := Directions(o, []string{"mesh-node-a-1"}, []string{"mesh-node-b-0"}, nil)
			return same(arrows(ways), "mesh-node-a-1>mesh-node-b-0", err)
		}},
		"delay without jitter": {delayFixture, []string{"    jitter: \"50ms\"\n", ""}, nil},
		"pods beside a label": {delayFixture, []string{"    labelSelectors:\n      app: mesh-node\n",
			"    labelSelectors:\n      zone: zone-a\n    pods: {x0tta6bl4: [mesh-node-a-0, mesh-node-b-0]}\n"}, func(o Object) error {
			Retarget(o, "s1")
			source, _, err := Sides(o, []corev1.Pod{
				pod("s1", "mesh-node-a-0", "zone", "zone-a"), pod("s1", "mesh-node-a-1", "zone", "zone-a"), pod("s1", "mesh-node-b-0", "zone", "zone-b"),
			})
			return same(strings.Join(source, " "), "mesh-node-a-0 mesh-node-b-0", err)
		}},
		"no duration": {delayFixture, []string{"  duration: \"2m\"\n", ""}, func(o Object) error {
			d, err := Duration(o)
			return same(fmt.Sprint(d, Ends(o)), "0s false", err)
		}},
		"kill without a duration": {crashFixture, []string{"  duration: \"1m\"\n", ""}, func(o Object) error { return same(fmt.Sprint(Ends(o)), "true", nil) }},
		"no policy": {recurringFixture, []string{"  concurrencyPolicy: Forbid\n", ""}, func(o Object) error {
			return same(string(o.(*v1alpha1.Schedule).Spec.ConcurrencyPolicy), "Forbid", nil)
		}},
		"no direction": {partitionFixture, []string{"  direction: both\n", ""}, func(o Object) error {
			return same(string(o.(*v1alpha1.NetworkChaos).Spec.Direction), "to", nil)
		}},
		"deadline longer than the period": {recurringFixture, []string{"  historyLimit", "  startingDeadlineSeconds: 400\n  historyLimit"}, nil},
		"cron with a short deadline":      {recurringFixture, []string{"@every 5m\"\n  con", "*/5 * * * *\"\n  startingDeadlineSeconds: 60\n  con"}, nil},
		"the shortest partition":          {partitionFixture, []string{`"60s"`, `"15s"`}, nil},
		"memory as 512 MB":                {stressFixture, []string{"512MB", "512 MB"}, memory("512MB", 512_000_000)},
		"memory as 0.5GB":                 {stressFixture, []string{"512MB", "0.5GB"}, memory("0.5GB", 500_000_000)},
		"memory as 512M":                  {stressFixture, []string{"512MB", "512M"}, memory("512M", 512_000_000)},
		"memory as 512MiB":                {stressFixture, []string{"512MB", "512MiB"}, memory("512MiB", 512<<20)},
		"a selector that matches nothing": {delayFixture, []string{"app: mesh-node", "app: nobody"}, nil}, // known in the cluster only
	} {
		t.Run(name, func(t *testing.T) {
			data := edit(t, c.fixture, c.edit...)
			o, err := Decode("good.yaml", []byte(data))
			if err != nil {
				t.Fatal(err)
			}
			if c.is == nil {
				return
			}
			if err := c.is(o); err != nil {
				t.Error(err)
			}
		})
	}
}

func same(got, want string, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("got %s, want %s", got, want)
	}
	return err
}

// memory wants a size to be written so that any injector keeps so many bytes.
func memory(written string, bytes uint64) func(Object) error {
	return func(o Object) error {
		size := o.(*v1alpha1.StressChaos).Spec.Stressors.MemoryStressor.Size
		kept, err := stressSize(size)
		return same(fmt.Sprint(size, " ", kept), fmt.Sprint(written, " ", bytes), err)
	}
}

// What a server has written is no error, but none of it reaches another server.
func TestWhatAServerWroteIsDroppedWithANote(t *testing.T) {
	data := edit(t, delayFixture, "  name: mesh", `  creationTimestamp: "2026-01-01T00:00:00Z"
  generation: 3
  resourceVersion: "42"
  uid: 2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d
  managedFields:
    - {manager: kubectl, operation: Update}
  name: mesh`) + "status:\n  experiment: {desiredPhase: Run}\n  conditions:\n    - {type: AllInjected, status: \"True\", later: 1}\n"
	fsys := fstest.MapFS{"seen.yaml": {Data: []byte(data)}}
	notes, err := Check(fsys)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(data, "\n")
	if len(notes) != 6 {
		t.Errorf("%d notes: %v", len(notes), notes)
	}
	for _, field := range []string{"status", "metadata.creationTimestamp", "metadata.generation", "metadata.resourceVersion", "metadata.uid", "metadata.managedFields"} {
		found := false
		for _, n := range notes {
			var line int
			if strings.Contains(n, ": "+field+": ") {
				_, err := fmt.Sscanf(n, "seen.yaml:%d:", &line)
				found = err == nil && strings.Contains(lines[line-1], field[strings.LastIndexByte(field, '.')+1:])
			}
		}
		if !found {
			t.Errorf("no note on %s in its line: %v", field, notes)
		}
	}
	o, err := Load(fsys, "seen.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := o.(*v1alpha1.NetworkChaos)
	if s.ResourceVersion+string(s.UID) != "" || s.Generation != 0 || !s.CreationTimestamp.Equal(nil) && !s.CreationTimestamp.IsZero() ||
		len(s.ManagedFields)+len(s.Status.Conditions) > 0 || s.Status.Experiment.DesiredPhase != "" {
		t.Errorf("kept %+v, %+v", s.ObjectMeta, s.Status)
	}
}

func TestEnds(t *testing.T) {
	for fixture, ends := range map[string]bool{
		delayFixture: true, crashFixture: true, recurringFixture: true, stressFixture: true, "pqc-inject.yaml": true, "pqc-corrupt.yaml": true,
	} {
		if got := Ends(load(t, fixture)); got != ends {
			t.Errorf("%s ends: %v", fixture, got)
		}
	}
}

func TestStrikes(t *testing.T) {
	from := time.Date(2026, 3, 2, 8, 59, 30, 0, time.UTC) // a Monday
	for spec, want := range map[string][2]time.Duration{
		"@every 90s":     {90 * time.Second, 90 * time.Second},
		"*/5 * * * *":    {5 * time.Minute, 5 * time.Minute},
		"0,1 9 * * *":    {time.Minute, 24*time.Hour - time.Minute},
		"0 9 * * *":      {24 * time.Hour, 24 * time.Hour},
		"* * 2 * *":      {time.Minute, 31*24*time.Hour - 24*time.Hour + time.Minute},
		"0 0 30 2 *":     {foreseen, foreseen},
		"0 0 1 1 *":      {foreseen, 304*24*time.Hour + 15*time.Hour},
		"*/20 * * * * *": {20 * time.Second, 20 * time.Second},
	} {
		times, err := v1alpha1.StandardCronParser.Parse("CRON_TZ=UTC " + spec)
		if strings.HasPrefix(spec, "@") {
			times, err = v1alpha1.StandardCronParser.Parse(spec)
		}
		if err != nil {
			t.Fatal(err)
		}
		shortest, longest := strikes(times, from)
		if shortest != want[0] || longest.Round(time.Hour) != want[1].Round(time.Hour) {
			t.Errorf("%s: %v to %v, want %v", spec, shortest, longest, want)
		}
	}
}
