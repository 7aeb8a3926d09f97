package trend

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// The rule by which a value has moved, between the runs before a commit and those from it on:
//
//   - the two groups differ in rank with a chance of less than Chance among all that is
//     looked at (Bonferroni): half of it is for all times together, at every commit, and half
//     for every criterion, at every commit, and
//   - their medians differ by Least at least, and
//   - the later median lies beyond that of every single build before, by Beyond: the runs of
//     a build are made in one go, beside whatever else the machine does then.
//
// Runs count only if they are of the same profile, on as many cores, and if the machine was
// as fast by its calibration, within Alike. Two runs can prove nothing: LeastRuns are needed
// on each side.
const (
	Chance    = 0.01
	Least     = 0.15
	Beyond    = 0.05
	Alike     = 0.20
	LeastRuns = 3
)

// AllTimes names the series of all times of a run together: the median of how much longer, in
// proportion, each is than it mostly was. Single times of real runs differ by a half and
// more; this spreads by four per cent. What slows everything a little is seen there first.
const AllTimes = "all times"

// leastTimes is how many times a run must have measured for that.
const leastTimes = 5

// Move is a value that has moved.
type Move struct {
	Series        string // scenario and criterion, or AllTimes
	Unit          string
	Commit        string // the first whose runs have the new value
	Before, After float64
	Runs          [2]int // on either side
	Chance        float64
}

func (m Move) String() string {
	return fmt.Sprintf("%s: %.4g %s before %s, %.4g since (%+.0f %%, %d runs and %d, chance %.2g)",
		m.Series, m.Before, m.Unit, m.Commit, m.After, 100*(m.After/m.Before-1), m.Runs[0], m.Runs[1], m.Chance)
}

// Comparable returns the runs that can be compared with the last one, and how many cannot.
func Comparable(runs []Run) (alike []Run, others int) {
	if len(runs) == 0 {
		return nil, 0
	}
	last := runs[len(runs)-1]
	for _, r := range runs {
		if r.Profile == last.Profile && r.Cores == last.Cores && r.Speed > 0 && math.Abs(r.Speed/last.Speed-1) <= Alike {
			alike = append(alike, r)
		} else {
			others++
		}
	}
	return alike, others
}

// sample is one value of a series, and the build that it is of.
type sample struct {
	commit string
	value  float64
}

// series is what one criterion measured, run by run.
type series struct {
	name, unit string
	samples    []sample
}

// Compare returns what has moved among runs that can be compared, by the rule above.
func Compare(runs []Run) []Move {
	all := seriesOf(runs)
	looks := 0
	for _, s := range all {
		looks += len(s.splits())
	}
	together := together(all, runs)
	moves := together.moves(2 * len(together.splits()))
	for _, s := range all {
		moves = append(moves, s.moves(2*looks)...)
	}
	return moves
}

// moves returns the most certain split by which the series has moved, if there is one, of as
// many as are looked at.
func (s series) moves(looks int) []Move {
	var best []Move
	for _, at := range s.splits() {
		if m, ok := s.moved(at, looks); ok && (best == nil || m.Chance < best[0].Chance) {
			best = []Move{m}
		}
	}
	return best
}

// seriesOf sorts runs' values by criterion. Times and rates only: a count of defects has a bar
// of its own, and nothing to drift.
func seriesOf(runs []Run) []series {
	var all []series
	for _, r := range runs {
		for _, v := range r.Values {
			name := v.Scenario + " " + v.Criterion
			i := slices.IndexFunc(all, func(s series) bool { return s.name == name && s.unit == v.Unit })
			if i < 0 {
				i = len(all)
				all = append(all, series{name: name, unit: v.Unit})
			}
			all[i].samples = append(all[i].samples, sample{r.Commit, v.Value})
		}
	}
	slices.SortFunc(all, func(a, b series) int { return cmp.Compare(a.name+a.unit, b.name+b.unit) })
	return slices.DeleteFunc(all, func(s series) bool {
		return slices.ContainsFunc(s.samples, func(x sample) bool { return x.value <= 0 }) // no proportion
	})
}

// together is the series AllTimes.
func together(all []series, runs []Run) series {
	medians := map[string]float64{}
	for _, s := range all {
		if s.unit == "s" && len(s.samples) >= (len(runs)+1)/2 {
			medians[s.name] = median(values(s.samples))
		}
	}
	t := series{name: AllTimes, unit: "of what they mostly were"}
	for _, r := range runs {
		var ratios []float64
		for _, v := range r.Values {
			if m, ok := medians[v.Scenario+" "+v.Criterion]; ok && v.Unit == "s" {
				ratios = append(ratios, v.Value/m)
			}
		}
		if len(ratios) >= leastTimes {
			t.samples = append(t.samples, sample{r.Commit, median(ratios)})
		}
	}
	return t
}

func values(samples []sample) []float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = s.value
	}
	return all
}

// splits are the places between two builds with enough runs on either side.
func (s series) splits() []int {
	var at []int
	for i := LeastRuns; i <= len(s.samples)-LeastRuns; i++ {
		if s.samples[i].commit != s.samples[i-1].commit {
			at = append(at, i)
		}
	}
	return at
}

// moved applies the rule to one split, of as many as are looked at.
func (s series) moved(at, looks int) (Move, bool) {
	before, after := values(s.samples[:at]), values(s.samples[at:])
	m := Move{Series: s.name, Unit: s.unit, Commit: s.samples[at].commit, Before: median(before), After: median(after), Runs: [2]int{len(before), len(after)}}
	if math.Abs(m.After/m.Before-1) < Least || !s.beyond(at, m.After) {
		return m, false
	}
	m.Chance = chance(before, after)
	return m, m.Chance*float64(looks) < Chance
}

// beyond reports whether a median lies beyond that of every build before a split, on one side.
func (s series) beyond(at int, later float64) bool {
	builds := map[string][]float64{}
	for _, x := range s.samples[:at] {
		builds[x.commit] = append(builds[x.commit], x.value)
	}
	below, above := true, true
	for _, v := range builds {
		below = below && later < median(v)/(1+Beyond)
		above = above && later > median(v)*(1+Beyond)
	}
	return below || above
}
