package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// mostIncidents is how many incidents are shown, the newest first; those that are open come
// before all others.
const mostIncidents = 8

// picture is what the nodes have said last.
type picture struct {
	mu     sync.Mutex
	said   map[string]*api.Status
	silent map[string]error // why a node does not answer now
}

func newPicture() *picture {
	return &picture{said: map[string]*api.Status{}, silent: map[string]error{}}
}

// see takes what a node has answered, or why it has not.
func (p *picture) see(node string, s *api.Status, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent[node] = err
	if err == nil {
		p.said[node] = s
	}
}

// write writes one screen about the nodes.
func (p *picture) write(out io.Writer, names []string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b bytes.Buffer
	fmt.Fprintf(&b, "mesh in namespace %s, %d nodes, at %s\n\n", mesh.Documented, len(names), now.UTC().Format(time.TimeOnly))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	p.nodes(w, names, now)
	p.routes(w, names)
	p.incidents(w, names)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := out.Write(b.Bytes())
	return err
}

func (p *picture) nodes(w io.Writer, names []string, now time.Time) {
	fmt.Fprintln(w, "NODE\tZONE\tSTATE\tUP\tSESSIONS\tCLIENTS\tRECORDS\tMAPE-K")
	for _, n := range names {
		s, silent := p.said[n], p.silent[n]
		switch {
		case silent != nil:
			fmt.Fprintf(w, "%s\t\tdoes not answer\n", n)
			continue
		case s == nil:
			fmt.Fprintf(w, "%s\t\tis asked\n", n)
			continue
		}
		state, loop := "ready", "on"
		if !s.Ready {
			state = "not ready: " + strings.Join(s.NotReady, ", ")
		}
		if !s.MAPEK {
			loop = "off"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", n, s.Zone, state, now.Sub(s.Started).Round(time.Second), sessions(s, names), s.Sessions[n], s.Records, loop)
	}
}

// sessions says with how many of the other nodes a node has a verified session, and with
// whom it has none.
func sessions(s *api.Status, names []string) string {
	verified, wanting := 0, []string{}
	for _, n := range names {
		if n == s.Node {
			continue
		}
		i := slices.IndexFunc(s.Peers, func(p api.Peer) bool { return p.Name == n })
		switch {
		case i < 0:
			wanting = append(wanting, brief(n)+" unknown")
		case s.Peers[i].Session != metric.StateVerified:
			wanting = append(wanting, brief(n)+" "+s.Peers[i].Session)
		default:
			verified++
		}
	}
	said := fmt.Sprintf("%d of %d verified", verified, len(names)-1)
	if len(wanting) > 0 {
		said += " (" + strings.Join(wanting, ", ") + ")"
	}
	return said
}

// routes writes how each node reaches each other one: straight, by whom, or not at all.
func (p *picture) routes(w io.Writer, names []string) {
	fmt.Fprint(w, "\nROUTE FROM")
	for _, to := range names {
		fmt.Fprint(w, "\tto ", brief(to))
	}
	fmt.Fprintln(w)
	for _, from := range names {
		fmt.Fprint(w, from)
		for _, to := range names {
			fmt.Fprint(w, "\t", p.way(from, to))
		}
		fmt.Fprintln(w)
	}
}

func (p *picture) way(from, to string) string {
	s := p.said[from]
	switch {
	case from == to:
		return ""
	case s == nil || p.silent[from] != nil:
		return "?"
	}
	i := slices.IndexFunc(s.Routes, func(r api.Route) bool { return r.Destination == to })
	switch {
	case i < 0:
		return "none"
	case s.Routes[i].NextHop == to:
		return "direct"
	}
	return "by " + brief(s.Routes[i].NextHop)
}

// incidents writes those that are open, and the last that were.
func (p *picture) incidents(w io.Writer, names []string) {
	type seen struct {
		node string
		api.Incident
	}
	var all []seen
	for _, n := range names {
		if s := p.said[n]; s != nil && p.silent[n] == nil {
			for _, i := range s.Incidents {
				all = append(all, seen{n, i})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b seen) int {
		if a.Resolved.IsZero() != b.Resolved.IsZero() {
			if a.Resolved.IsZero() {
				return -1
			}
			return 1
		}
		return cmp.Or(b.Opened.Compare(a.Opened), cmp.Compare(a.node, b.node))
	})
	if len(all) == 0 {
		fmt.Fprintln(w, "\nno incident so far")
		return
	}
	fmt.Fprintln(w, "\nINCIDENT\tNODE\tOPENED\tLASTED\tABOUT")
	for _, i := range all[:min(len(all), mostIncidents)] {
		lasted := "open"
		if !i.Resolved.IsZero() {
			lasted = i.Resolved.Sub(i.Opened).Round(10 * time.Millisecond).String()
		}
		var about []string
		for _, peer := range i.Peers {
			about = append(about, brief(peer))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", i.Type, brief(i.node), i.Opened.UTC().Format(time.TimeOnly), lasted, strings.Join(about, " "))
	}
	if more := len(all) - mostIncidents; more > 0 {
		fmt.Fprintf(w, "and %d earlier ones\n", more)
	}
}

// brief is a node's name without what all have in common.
func brief(node string) string { return strings.TrimPrefix(node, mesh.NodeApp+"-") }
