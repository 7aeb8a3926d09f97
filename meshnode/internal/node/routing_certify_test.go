package node

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/certify"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// inMemory keeps the nodes' disks in memory: a virtual second costs a tenth then.
func inMemory(t *testing.T) {
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err == nil {
		t.Setenv("TMPDIR", memory)
	}
}

// part is the cases of one kind, and what came of them.
type part struct {
	name  string
	size  int
	cases [][]cuts

	virtual, real time.Duration
	sent          int64
	ways, heal    verdict // the worst
	wrong         []string
}

// perMesh is how many cases one mesh goes through, one after the other.
const perMesh = 64

// run goes through the cases, each from a whole mesh, and adds the verdicts to a digest.
func (p *part) run(t *testing.T, digest hash.Hash) {
	inMemory(t)
	begun, done := time.Now(), 0
	for batch := range slices.Chunk(p.cases, perMesh) {
		if done += len(batch); done%(16*perMesh) == 0 {
			t.Logf("%s: at case %d of %d, %d wrong so far", p.name, done, len(p.cases), len(p.wrong))
		}
		bubble.Test(t, func(t *testing.T) {
			start := time.Now()
			m := newTestMeshOf(t, true, certifiedNames(p.size))
			m.up()
			defer m.down()
			c := newCertified(m)
			for _, sets := range batch {
				v := c.run(sets...)
				fmt.Fprintf(digest, "%s: %d wrong\n", v.name, len(v.wrong))
				if len(v.wrong) > 0 {
					p.wrong = append(p.wrong, v.name+":\n  "+strings.Join(v.wrong, "\n  "))
				}
				if v.ways > p.ways.ways {
					p.ways = v
				}
				if v.heal > p.heal.heal {
					p.heal = v
				}
			}
			p.virtual += time.Since(start)
			p.sent += c.sent.Load()
		})
	}
	p.real = time.Since(begun)
	t.Logf("%s: %d cases, %d wrong; ways at most %v after %s, whole at most %v after the heal of %s; %v virtual in %v, %.2f ms of a core per node and virtual second",
		p.name, len(p.cases), len(p.wrong), p.ways.ways, p.ways.name, p.heal.heal, p.heal.name, p.virtual, p.real,
		float64(p.real.Microseconds())/1000/p.virtual.Seconds()/float64(p.size))
	for _, w := range p.wrong { // here, for a bubble that fails ends the test
		t.Errorf("%s, %s", p.name, w)
	}
	if len(p.cases) > 0 && p.sent == 0 {
		t.Errorf("%s: nothing was sent, so that no loop could be seen", p.name)
	}
}

func single(sets []cuts) (cases [][]cuts) {
	for _, s := range sets {
		cases = append(cases, []cuts{s})
	}
	return cases
}

const symmetric = "Within 2 s every pair of nodes that a path of links connects can exchange frames, and goes on to; no way leads in a loop whenever anything is sent; " +
	"nobody calls a node crashed that a path leads to; each node has the right incident open, about the right peers; "

const inVirtualTime = "Whole nodes in virtual time over links of 0.5 to 0.7 ms, "

// TestEveryCut goes through the classes of sets of cut links of five nodes, and with
// MESH_CERTIFY through all that the certificate names.
func TestEveryCut(t *testing.T) {
	if !certify.Full() {
		p := &part{name: "classes of five nodes", size: 5, cases: single(classes(5, everySet(5)))}
		p.run(t, sha256.New())
		// Only one of four others hears node 0, and each that lost it must ask that one.
		p = &part{name: "six nodes, one link left", size: 6, cases: single([]cuts{cuts(0).both(6, 0, 1).both(6, 0, 2).both(6, 0, 3).both(6, 0, 4)})}
		p.run(t, sha256.New())
		return
	}
	certifyParts(t, certify.Certificate{
		Name:  "routing",
		Claim: symmetric + "within 3 s of the heal everything is as before.",
		Space: inVirtualTime + "each case from a whole mesh: cut, 2.5 s, heal.",
	},
		&part{name: "five nodes, every set", size: 5, cases: single(everySet(5))},
		&part{name: "four nodes, every set", size: 4, cases: single(everySet(4))},
		&part{name: "six nodes, every class", size: 6, cases: single(classes(6, everySet(6)))},
	)
}

// TestEveryChange goes, with MESH_CERTIFY, from each set of cut links to each other one; and
// always through the changes of some links that are cut to their opposite.
func TestEveryChange(t *testing.T) {
	if !certify.Full() {
		whole := everySet(5)[1<<10-1]
		var opposite [][]cuts
		for _, c := range classes(5, everySet(5))[1:] {
			if c != whole && len(opposite) < 8 {
				opposite = append(opposite, []cuts{c, whole &^ c})
			}
		}
		p := &part{name: "changes to the opposite", size: 5, cases: opposite}
		p.run(t, sha256.New())
		return
	}
	var between [][]cuts
	for _, c := range changes(5) {
		between = append(between, c[:])
	}
	rng := rand.New(rand.NewPCG(1, 1))
	names := renamings(5)
	var other [][]cuts
	for range 256 {
		c, n := between[rng.IntN(len(between))], names[rng.IntN(len(names))]
		other = append(other, []cuts{c[0].renamed(5, n), c[1].renamed(5, n)})
	}
	certifyParts(t, certify.Certificate{
		Name:  "changes",
		Claim: symmetric + "within 3 s of the heal everything is as before.",
		Space: inVirtualTime + "each case from a whole mesh: a set is cut, 2.5 s, another one, 2.5 s, heal. " +
			"Of incidents only the peers are certified.",
	},
		&part{name: "five nodes, changes with other names, drawn at random", size: 5, cases: other},
		&part{name: "five nodes, every change from set to set, up to renaming", size: 5, cases: between},
	)
}

// TestEveryOneWayCut goes through one cut of one direction, and with MESH_CERTIFY through
// every one and two of them.
func TestEveryOneWayCut(t *testing.T) {
	if !certify.Full() {
		p := &part{name: "one direction", size: 5, cases: single([]cuts{cuts(0).with(5, 0, 1)})}
		p.run(t, sha256.New())
		return
	}
	certifyParts(t, certify.Certificate{
		Name:  "one-way",
		Claim: symmetric + "within 3 s of the heal everything is as before.",
		Space: "As in the routing certificate, with cuts of one direction. A link that works one way only is no link of a path; who does not hear the other end is to say so, and only who does not.",
	}, &part{name: "five nodes, every one or two one-way cuts", size: 5, cases: single(oneWay(5))})
}

// certifyParts goes through the parts and writes the certificate if all were gone through
// and nothing was wrong.
func certifyParts(t *testing.T, cert certify.Certificate, parts ...*part) {
	cert.Packages = []string{"github.com/x0tta6bl4/mesh/meshnode/internal/node"}
	cert.Tests = []string{"*_certify_test.go", "harness_test.go"}
	cert, err := cert.Begin()
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.New()
	for _, p := range parts {
		if !t.Run(p.name, func(t *testing.T) { p.run(t, digest) }) || p.sent == 0 { // sent: or it was not asked for
			continue
		}
		cert.Parts = append(cert.Parts, certify.Part{Name: p.name, Counts: map[string]int{"cases": len(p.cases), "virtual seconds": int(p.virtual.Seconds())}})
		cert.Worst = append(cert.Worst,
			certify.Worst{What: p.name + ": every pair has a way", Value: p.ways.ways.String(), Bar: barWays.String(), Case: p.ways.name},
			certify.Worst{What: p.name + ": everything as before", Value: p.heal.heal.String(), Bar: barWhole.String(), Case: "heal of " + p.heal.name})
	}
	if cert.Digest = hex.EncodeToString(digest.Sum(nil)); !t.Failed() && len(cert.Parts) == len(parts) {
		if err := cert.Write("../../certificates"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpaceOfCuts: the numbers are those of graphs: 1,024 on five nodes, 34 of them up
// to renaming, 11 and 156 on four and six (OEIS A000088).
func TestSpaceOfCuts(t *testing.T) {
	for size, want := range map[int][2]int{4: {64, 11}, 5: {1024, 34}, 6: {32768, 156}} {
		sets := everySet(size)
		slices.Sort(sets)
		if got := [2]int{len(slices.Compact(sets)), len(classes(size, sets))}; got != want {
			t.Errorf("%d nodes: %v sets and classes, want %v", size, got, want)
		}
	}
	if n := len(oneWay(5)); n != 20+20*19/2 {
		t.Errorf("%d sets of one-way cuts", n)
	}
	// Every change is one of those, renamed: their orbits fill the space.
	orbits := 0
	for _, c := range changes(4) {
		seen := map[[2]cuts]bool{}
		for _, n := range renamings(4) {
			seen[[2]cuts{c[0].renamed(4, n), c[1].renamed(4, n)}] = true
		}
		orbits += len(seen)
	}
	if orbits != 63*62 {
		t.Errorf("the changes of four nodes stand for %d, want %d", orbits, 63*62)
	}
}

func TestDiagnosis(t *testing.T) {
	const size = 5
	for _, c := range []struct {
		links [][2]int
		at    int
		want  string
	}{
		{nil, 0, ""},
		{[][2]int{{0, 1}}, 0, metric.LinkFailure},
		{[][2]int{{0, 1}}, 2, ""},
		{[][2]int{{0, 1}, {0, 2}}, 0, metric.NetworkPartition},
		{[][2]int{{0, 1}, {0, 2}, {0, 3}, {0, 4}}, 1, metric.NodeCrash},
		{[][2]int{{0, 1}, {0, 2}, {0, 3}, {0, 4}}, 0, metric.NetworkPartition},
	} {
		var s cuts
		for _, l := range c.links {
			s = s.both(size, l[0], l[1])
		}
		if got, _ := s.diagnosis(size, c.at); got != c.want {
			t.Errorf("%s at %d: %q, want %q", s.of(size), c.at, got, c.want)
		}
	}
}

// TestCutsAreNoticed: the checks of every cut see a mesh that does not heal, a way in a
// loop, and a wrong diagnosis.
func TestCutsAreNoticed(t *testing.T) {
	inMemory(t)
	link := cuts(0).both(4, 0, 1)
	bubble.Test(t, func(t *testing.T) {
		m := newTestMeshOf(t, false, certifiedNames(4))
		m.up()
		defer m.down()
		v := newCertified(m).run(link)
		if !strings.Contains(strings.Join(v.wrong, "\n"), "not within "+barWays.String()) {
			t.Errorf("without healing: %q", v.wrong)
		}
	})
	bubble.Test(t, func(t *testing.T) {
		m := newTestMeshOf(t, true, certifiedNames(4))
		m.up()
		defer m.down()
		c := newCertified(m)
		if l := c.loop(); l != "" {
			t.Errorf("a loop of a whole mesh: %s", l)
		}
		kept := [2]*ways{c.at[0].relays.next.Load(), c.at[1].relays.next.Load()}
		for i, n := range c.at[:2] {
			n.relays.next.Store(&ways{session.Peer(c.names[3]): session.Peer(c.names[1-i])})
		}
		time.Sleep(time.Second)
		if l := c.loops.Load(); l == nil || *l != "from 0 to 3" {
			t.Errorf("of a loop was seen %v", l)
		}
		for i, n := range c.at[:2] {
			n.relays.next.Store(kept[i])
		}
		c.cut = link // it is not
		if wrong := c.diagnosed(); len(wrong) != 2 {
			t.Errorf("no incident of a link that counts as cut: %q", wrong)
		}
		c.cut = 0
		c.set(cuts(0).both(4, 0, 1).both(4, 0, 2).both(4, 0, 3))
		time.Sleep(settled)
		synctest.Wait()
		if wrong := c.diagnosed(); len(wrong) > 0 {
			t.Errorf("a lost node: %q", wrong)
		}
		if wrong := c.slandered(link); len(wrong) != 3 {
			t.Errorf("three call a node crashed: %q", wrong)
		}
	})
}
