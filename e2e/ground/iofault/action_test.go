package iofault

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

func TestActionsAreChaosMeshs(t *testing.T) {
	one, kind, perm := uint64(1), v1alpha1.Directory, uint16(0o700)
	theirs := []v1alpha1.IOChaosAction{
		{Type: v1alpha1.IoLatency, Latency: "500ms", Filter: v1alpha1.Filter{Path: "/v/*", Methods: []v1alpha1.IoMethod{"write", "fsync"}, Percent: 50}, Source: "ns/name"},
		{Type: v1alpha1.IoFaults, Faults: []v1alpha1.IoFault{{Errno: 5, Weight: 1}, {Errno: 28, Weight: 3}}, Filter: v1alpha1.Filter{Percent: 100}},
		{Type: v1alpha1.IoAttrOverride, AttrOverrideSpec: &v1alpha1.AttrOverrideSpec{Ino: &one, Kind: &kind, Perm: &perm, Ctime: &v1alpha1.Timespec{Sec: 1, Nsec: 2}}},
		{Type: v1alpha1.IoMistake, MistakeSpec: &v1alpha1.MistakeSpec{Filling: v1alpha1.Random, MaxOccurrences: 2, MaxLength: 3}, Filter: v1alpha1.Filter{Percent: 1}},
	}
	b, err := json.Marshal(theirs)
	if err != nil {
		t.Fatal(err)
	}
	var ours []Action
	if err := json.Unmarshal(b, &ours); err != nil {
		t.Fatal(err)
	}
	directory := "directory"
	want := []Action{
		{Type: "latency", Latency: "500ms", Path: "/v/*", Methods: []string{"write", "fsync"}, Percent: 50},
		{Type: "fault", Faults: []Fault{{5, 1}, {28, 3}}, Percent: 100},
		{Type: "attrOverride", Attr: Attr{Ino: &one, Kind: &directory, Perm: &perm, Ctime: &Timespec{1, 2}}},
		{Type: "mistake", Mistake: &Mistake{"random", 2, 3}, Percent: 1},
	}
	if !reflect.DeepEqual(ours, want) {
		t.Errorf("read %+v, want %+v", ours, want)
	}
	if _, err := newRules(ours); err != nil {
		t.Error(err)
	}
	fields := func(of reflect.Type) (names []string) {
		for i := range of.NumField() {
			names = append(names, of.Field(i).Tag.Get("json"))
		}
		return names
	}
	if a, b := fields(reflect.TypeFor[Attr]()), fields(reflect.TypeFor[v1alpha1.AttrOverrideSpec]()); !reflect.DeepEqual(a, b) {
		t.Errorf("attributes are %v, Chaos Mesh has %v", a, b)
	}
}

func TestBadActionsAreRefused(t *testing.T) {
	fault := []Fault{{Errno: 5, Weight: 1}}
	nowhere := "nowhere"
	for says, a := range map[string]Action{
		"no valid pattern":                    {Type: "fault", Faults: fault, Path: "/v/[a"},
		"percent is 0 to 100, not 101":        {Type: "fault", Faults: fault, Percent: 101},
		`method "wrote" is not known`:         {Type: "fault", Faults: fault, Methods: []string{"wrote"}},
		"nothing would happen":                {Type: "fault", Faults: fault, Methods: []string{"bmap", "getlk"}},
		"faults are missing":                  {Type: "fault"},
		"an errno of 1 to 511":                {Type: "fault", Faults: []Fault{{Errno: 0, Weight: 1}}},
		"a weight from 1":                     {Type: "fault", Faults: []Fault{{Errno: 5}}},
		`latency "soon" is no duration`:       {Type: "latency", Latency: "soon"},
		"the attributes to override are miss": {Type: "attrOverride"},
		`kind "nowhere" is not known`:         {Type: "attrOverride", Attr: Attr{Kind: &nowhere}},
		"a mistake has a filling":             {Type: "mistake", Mistake: &Mistake{Filling: "ones", MaxLength: 1, MaxOccurrences: 1}},
		"the type is not known":               {Type: "explode"},
	} {
		if _, err := newRules([]Action{a}); err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "action 1 (") {
			t.Errorf("%+v: error %v, want %q", a, err, says)
		}
	}
}

func TestPatternsAreTodas(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"", "/v/a", true}, {"/v/a", "/v/a", true}, {"/v/*", "/v/a", true}, {"/v/*", "/v/a/b", false},
		{"/v/**/*", "/v/a", true}, {"/v/**/*", "/v/a/b/c", true}, {"/v/**/*.db", "/v/a/b.db", true}, {"/v/**/*.db", "/v/b.txt", false},
		{"/v/?", "/v/a", true}, {"/v/?", "/v/ab", false}, {"/v/*", "/v/.a", true}, {"/v/[ab]", "/v/b", true}, {"/v/[!ab]", "/v/b", false},
		{"/v/{a,b}", "/v/a", false}, {"/v/{a,b}", "/v/{a,b}", true}, {`/v/a\b`, `/v/a\b`, true}, {"/v/A", "/v/a", false},
	} {
		rs, err := newRules([]Action{{Type: "latency", Latency: "1s", Path: c.pattern}})
		if err != nil {
			t.Fatal(err)
		}
		if got := rs.list[0].concerns(Read, c.path); got != c.want {
			t.Errorf("%q matches %q: %t", c.pattern, c.path, got)
		}
	}
}

// TestPercentAndWeights draws often: each count is within five standard deviations of what it should be.
func TestPercentAndWeights(t *testing.T) {
	rs, err := newRules([]Action{{Type: "fault", Percent: 30, Faults: []Fault{{uint32(syscall.EIO), 1}, {uint32(syscall.ENOSPC), 3}}}})
	if err != nil {
		t.Fatal(err)
	}
	const draws = 100_000
	got := map[syscall.Errno]int{}
	for range draws {
		got[rs.before(Write, "/v/a", 0)]++
	}
	for errno, p := range map[syscall.Errno]float64{0: 0.7, syscall.EIO: 0.075, syscall.ENOSPC: 0.225} {
		if off := math.Abs(float64(got[errno]) - draws*p); off > 5*math.Sqrt(draws*p*(1-p)) {
			t.Errorf("%v: %d of %d, want %g", errno, got[errno], draws, p)
		}
	}
	for percent, want := range map[int]int{0: 0, 100: draws} {
		rs, err := newRules([]Action{{Type: "fault", Percent: percent, Faults: []Fault{{5, 1}}}})
		if err != nil {
			t.Fatal(err)
		}
		hits := 0
		for range draws {
			if rs.before(Write, "/v/a", 0) != 0 {
				hits++
			}
		}
		if hits != want {
			t.Errorf("percent %d: %d of %d", percent, hits, draws)
		}
	}
}

func TestLatenciesAddUp(t *testing.T) {
	rs, err := newRules([]Action{
		{Type: "latency", Percent: 100, Latency: "30ms"}, {Type: "latency", Percent: 100, Latency: "20ms"},
		{Type: "latency", Percent: 100, Latency: "1h", Methods: []string{"read"}},
		{Type: "fault", Percent: 100, Faults: []Fault{{5, 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if errno := rs.before(Write, "/v/a", 0); errno != syscall.EIO {
		t.Error(errno)
	}
	if took := time.Since(begin); took < 50*time.Millisecond {
		t.Errorf("it took %v, want 50 ms at least", took)
	}
}
