package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// asMemberlist makes this test binary a node of memberlist with its LAN defaults,
// at the address that it holds; the arguments are its name and the addresses of
// the others.
const asMemberlist = "MESHNODE_TEST_AS_MEMBERLIST"

func runMemberlist(address string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := memberlist.DefaultLANConfig()
	c.Name, c.BindAddr, c.LogOutput, c.Events = os.Args[1], address, io.Discard, announcer{}
	m, err := memberlist.Create(c)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	// Those that do not run yet will join this one.
	_, _ = m.Join(os.Args[2:])
	<-ctx.Done()
	if err := m.Shutdown(); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// announcer prints who comes and who is declared dead, and when.
type announcer struct{}

func (announcer) NotifyJoin(n *memberlist.Node)  { fmt.Println("join", n.Name, time.Now().UnixNano()) }
func (announcer) NotifyLeave(n *memberlist.Node) { fmt.Println("leave", n.Name, time.Now().UnixNano()) }
func (announcer) NotifyUpdate(*memberlist.Node)  {}

// rival is the name of the memberlist node beside a node.
func rival(name string) string { return "memberlist-" + name }

// startRivals starts a memberlist node in every namespace.
func (c *cluster) startRivals() {
	c.t.Helper()
	var all []string
	for _, n := range c.names {
		all = append(all, c.procs[n].ip)
	}
	for _, n := range c.names {
		c.procs[rival(n)] = &process{ip: c.procs[n].ip, ns: c.procs[n].ns}
		c.launch(rival(n), []string{asMemberlist + "=" + c.procs[n].ip}, append([]string{rival(n)}, all...)...)
	}
	c.within(20*time.Second, "memberlist is whole", func() error {
		return c.each(func(n string) error {
			if joined := c.announced(n, "join"); len(joined) != len(c.names) {
				return fmt.Errorf("%d members", len(joined))
			}
			return nil
		})
	})
}

// announced returns when the memberlist node beside a node first said something
// of each other one.
func (c *cluster) announced(name, what string) map[string]time.Time {
	c.t.Helper()
	f, err := os.Open(c.procs[rival(name)].log.Name())
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	times := map[string]time.Time{}
	for s := bufio.NewScanner(f); s.Scan(); {
		word := strings.Fields(s.Text())
		if len(word) != 3 || word[0] != what {
			continue
		}
		ns, err := strconv.ParseInt(word[2], 10, 64)
		if err != nil {
			c.t.Fatal(err)
		}
		if _, known := times[word[1]]; !known {
			times[word[1]] = time.Unix(0, ns)
		}
	}
	return times
}

// BenchmarkPartition measures, with real nodes in network namespaces, the time
// from a cut until a node opens the incident, and beside it the time until
// memberlist with its LAN defaults in the same namespaces declares the first of
// the nodes dead that are gone; and the memory of the nodes at rest.
func BenchmarkPartition(b *testing.B) {
	c := newCluster(b, "a-0", "a-1", "a-2", "b-0", "b-1")
	for _, n := range c.names {
		c.start(n)
	}
	c.within(30*time.Second, "every pair verified", c.whole)
	const calm = 20 * time.Second // until the caution of the start has gone
	<-time.After(calm)
	most := 0.0
	for _, n := range c.names {
		rss, err := c.metric(n, "process_resident_memory_bytes", nil)
		if err != nil {
			b.Fatal(err)
		}
		most = max(most, rss/(1<<20))
	}
	var ours, theirs []time.Duration
	const rounds = 3
	for b.Loop() {
		for range rounds {
			x, y := c.partition()
			ours, theirs = append(ours, x...), append(theirs, y...)
		}
	}
	b.ReportMetric(middle(ours).Seconds(), "s-to-incident")
	b.ReportMetric(middle(theirs).Seconds(), "s-memberlist")
	b.ReportMetric(100*middle(ours).Seconds()/middle(theirs).Seconds(), "%-of-memberlist")
	b.ReportMetric(most, "MiB-at-rest")
}

func middle(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// partition cuts zone b off and joins it again. It returns how long each node of
// zone a, and the memberlist beside it, took to notice.
func (c *cluster) partition() (ours, theirs []time.Duration) {
	c.t.Helper()
	c.startRivals()
	<-time.After(3 * time.Second) // several of its probes
	cut := time.Now()
	c.link("down", "b-0", "b-1")
	c.within(time.Minute, "everyone notices", func() error {
		ours, theirs = nil, nil
		for _, n := range c.names[:3] {
			e, err := c.journal(n, cut, func(e event.Entry) bool {
				return e.Phase == event.Analyze && e.Kind == metric.NetworkPartition
			})
			if err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
			first := time.Time{}
			for _, at := range c.announced(n, "leave") {
				if first.IsZero() || at.Before(first) {
					first = at
				}
			}
			if first.IsZero() {
				return fmt.Errorf("memberlist at %s misses no one", n)
			}
			ours, theirs = append(ours, e.Time.Sub(cut)), append(theirs, first.Sub(cut))
		}
		return nil
	})
	c.link("up", "b-0", "b-1")
	for _, n := range c.names {
		c.stop(rival(n))
	}
	c.within(30*time.Second, "every pair verified again", c.whole)
	<-time.After(5 * time.Second) // for the incident to end
	return ours, theirs
}
