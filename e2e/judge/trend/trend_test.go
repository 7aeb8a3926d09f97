package trend

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// criteria of a made-up suite, by what they take in seconds.
var criteria = map[string]float64{
	"network-partition S1.1": 1.1, "network-partition S1.2": 1.9, "network-partition S1.4": 0.25, "network-partition S1.5": 1.2,
	"pqc-corrupt S2.3": 0.15, "pqc-corrupt S2.4": 1.2, "node-crash S3.1": 8, "node-crash-held S3.2": 1.4, "latency S4.3": 3.1, "resource-stress S5.1": 25,
}

// noise says how disturbed a run is: every value by its own, and all of a run together.
type noise struct{ own, run, build float64 }

// shared is a machine with neighbours, as real runs on one show it: single times of a run
// differ from those of another by a fifth, and one in twelve by a factor; the median of how
// they differ spreads by four per cent.
var shared = noise{own: 0.2, run: 0.03, build: 0.02}

// outlier is by what one time in twelve differs.
func outlier(r *rand.Rand) float64 {
	if r.IntN(12) > 0 {
		return 1
	}
	return 1 + 2*r.Float64()
}

// suite makes so many runs of each of some builds; slowed says by how much a build is slower.
func suite(r *rand.Rand, n noise, each int, builds int, slowed func(build int, series string) float64) []Run {
	var runs []Run
	for b := range builds {
		hour := math.Exp(n.build * r.NormFloat64())
		for range each {
			run := Run{Commit: fmt.Sprintf("c%d", b), Profile: "quick", Cores: 2, Speed: 400 * (1 + 0.05*(2*r.Float64()-1))}
			all := hour * math.Exp(n.run*r.NormFloat64())
			for _, name := range slices.Sorted(maps.Keys(criteria)) {
				scenario, id, _ := strings.Cut(name, " ")
				v := criteria[name] * all * math.Exp(n.own*r.NormFloat64()) * slowed(b, name)
				if n.own > 0.1 {
					v *= outlier(r)
				}
				run.Values = append(run.Values, Value{scenario, id, v, "s"})
			}
			runs = append(runs, run)
		}
	}
	return runs
}

func asFast(int, string) float64 { return 1 }

// Noise on a shared machine trips nothing: of a thousand histories in which nothing changed,
// hardly one says that something did.
func TestNoiseIsSilent(t *testing.T) {
	alarms := 0
	const histories = 100
	for seed := range uint64(histories) {
		runs := suite(rand.New(rand.NewPCG(seed, 1)), shared, 5, 5, asFast)
		if moves := Compare(runs); len(moves) > 0 {
			alarms++
		}
	}
	if alarms > histories/100 {
		t.Errorf("in %d of %d histories without a change something moved", alarms, histories)
	}
}

// Two runs of the same build say nothing, whatever they measured.
func TestTwoRunsAreSilent(t *testing.T) {
	runs := suite(rand.New(rand.NewPCG(1, 1)), shared, 2, 1, asFast)
	for i := range runs[1].Values {
		runs[1].Values[i].Value *= 3
	}
	if moves := Compare(runs); len(moves) > 0 {
		t.Errorf("%v", moves)
	}
}

// A node that is slower by a fifth is found, and its commit is named: mostly, for an hour
// that is worse by as much is no rare thing on a shared machine.
func TestAFifthSlowerIsFound(t *testing.T) {
	found, histories := 0, 30
	for seed := range uint64(histories) {
		runs := suite(rand.New(rand.NewPCG(seed, 2)), shared, 5, 6, func(build int, _ string) float64 {
			if build >= 4 {
				return 1.2
			}
			return 1
		})
		for _, m := range Compare(runs) {
			if m.Series == AllTimes && m.Commit == "c4" && m.After > m.Before {
				found++
			}
		}
	}
	if found < histories*2/3 {
		t.Errorf("found in %d of %d histories", found, histories)
	}
}

// One criterion that doubles is named, with its commit, before anything that chance moved.
func TestOneCriterionThatDoubles(t *testing.T) {
	runs := suite(rand.New(rand.NewPCG(1, 3)), shared, 10, 4, func(build int, series string) float64 {
		if build >= 2 && series == "latency S4.3" {
			return 2
		}
		return 1
	})
	moves := Compare(runs)
	if len(moves) == 0 {
		t.Fatal("nothing has moved")
	}
	first := slices.MinFunc(moves, func(a, b Move) int { return cmp.Compare(a.Chance, b.Chance) })
	if first.Series != "latency S4.3" || first.Commit != "c2" {
		t.Errorf("%v", moves)
	}
}

// A difference that is certain and small is none, and so is one within what builds before had.
func TestSmallAndKnownDifferences(t *testing.T) {
	still := noise{own: 0.001}
	small := suite(rand.New(rand.NewPCG(1, 4)), still, 10, 2, func(build int, _ string) float64 { return 1 + 0.08*float64(build) })
	if moves := Compare(small); len(moves) > 0 {
		t.Errorf("by 8 %%: %v", moves)
	}
	back := suite(rand.New(rand.NewPCG(1, 5)), still, 10, 3, func(build int, _ string) float64 { return []float64{1, 1.5, 1}[build] })
	for _, m := range Compare(back) {
		if m.Commit != "c1" {
			t.Errorf("as it was before: %v", m)
		}
	}
}

func TestComparable(t *testing.T) {
	runs := []Run{
		{Run: "slow", Profile: "quick", Cores: 2, Speed: 300}, {Run: "full", Profile: "full", Cores: 2, Speed: 400},
		{Run: "large", Profile: "quick", Cores: 8, Speed: 400}, {Run: "unknown", Profile: "quick", Cores: 2},
		{Run: "alike", Profile: "quick", Cores: 2, Speed: 350}, {Run: "last", Profile: "quick", Cores: 2, Speed: 400},
	}
	alike, others := Comparable(runs)
	if others != 4 || len(alike) != 2 || alike[0].Run != "alike" || alike[1].Run != "last" {
		t.Errorf("%v and %d others", alike, others)
	}
	if alike, others := Comparable(nil); alike != nil || others != 0 {
		t.Errorf("of none: %v, %d", alike, others)
	}
}

func TestChance(t *testing.T) {
	for _, c := range []struct {
		before, after []float64
		want          float64
	}{
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 2.0 / 20},
		{[]float64{4, 5, 6}, []float64{1, 2, 3}, 2.0 / 20},
		{[]float64{1, 2, 4}, []float64{3, 5, 6}, 4.0 / 20},
		{[]float64{1, 4}, []float64{2, 3}, 1},
		{[]float64{1, 1, 1}, []float64{1, 1, 1}, 1},
		{[]float64{1, 1, 2}, []float64{2, 3, 3}, 2.0 * 2 / 20}, // either 2 could be the one on the left
		{nil, []float64{1}, 1},
	} {
		if got := chance(c.before, c.after); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v, %v: %v, want %v", c.before, c.after, got, c.want)
		}
	}
	if got := chance([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, []float64{11, 12, 13, 14, 15, 16, 17, 18, 19, 20}); math.Abs(got-2.0/184756) > 1e-12 {
		t.Errorf("ten and ten: %v", got)
	}
}

// realRuns are runs of one day on one shared machine. How fast it was is not kept of them.
func realRuns(t *testing.T) []Run {
	t.Helper()
	runs, err := Read("testdata/results.jsonl")
	if err != nil || len(runs) < 9 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	for i := range runs {
		runs[i].Speed = 1
	}
	return runs
}

// Nothing moved among real runs, though some were beside more than others.
func TestRealRuns(t *testing.T) {
	runs, others := Comparable(realRuns(t))
	if moves := Compare(runs); len(moves) > 0 || others > 0 {
		t.Errorf("%v, %d others", moves, others)
	}
}

// The same runs, slower by a fifth as if by a later build, are found, and that build is named.
func TestRealRunsSlowed(t *testing.T) {
	runs := realRuns(t)
	for _, r := range realRuns(t) {
		r.Commit, r.Values = "slow", slices.Clone(r.Values)
		for i := range r.Values {
			if r.Values[i].Unit == "s" {
				r.Values[i].Value *= 1.2
			}
		}
		runs = append(runs, r)
	}
	moves := Compare(runs)
	if len(moves) != 1 || moves[0].Series != AllTimes || moves[0].Commit != "slow" {
		t.Errorf("%v", moves)
	}
}

func TestResultsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "results.jsonl")
	if runs, err := Read(path); err != nil || runs != nil {
		t.Errorf("none yet: %v, %v", runs, err)
	}
	one, half := 1.25, 0.5
	s := &report.Summary{Profile: "quick", Started: time.Unix(1, 0).UTC(), Machine: report.Machine{Cores: 2, Kernel: "6"}, Scenarios: []report.Scenario{{Name: "a", Criteria: []report.Criterion{
		{ID: "S1.1", Verdict: report.Passed, Measured: &one, Unit: "s"}, {ID: "S1.2", Verdict: report.Failed, Measured: &half, Unit: "s"},
		{ID: "S1.3", Verdict: report.Invalid, Measured: &one, Unit: "s"}, {ID: "S1.4", Verdict: report.Passed, Unit: "s"}, {ID: "S1.M", Verdict: report.Passed, Measured: &one},
	}}}}
	want := []Value{{"a", "S1.1", one, "s"}, {"a", "S1.2", half, "s"}}
	for range 2 {
		if err := Append(path, Of("r", "c", 400, s)); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := Read(path)
	if err != nil || len(runs) != 2 || !slices.Equal(runs[1].Values, want) || runs[1].Commit != "c" || runs[1].Speed != 400 || !runs[1].Started.Equal(s.Started) {
		t.Errorf("%+v, %v", runs, err)
	}
	if err := os.WriteFile(path, []byte("{\"run\":\"r\"}\n\n{\"run\":"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path+":3") {
		t.Errorf("a torn line: %v", err)
	}
}

// Nothing is held against how fast this machine is, but that it is measured.
func TestCalibrate(t *testing.T) {
	if a := Calibrate(); a <= 0 || math.IsInf(a, 0) {
		t.Errorf("%v", a)
	}
}
