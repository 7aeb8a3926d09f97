package scenario

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Replay is a recording of a node's sealed frames that is sent again once its peers have
// new sessions with it.
type Replay struct {
	*Episode
	// Node is whose frames they are.
	Node string
	// Before are the ids of its sessions when it was recorded, as both ends tell them.
	Before map[string]string

	container string // of the recorder
}

// replayed is a line of meshchaos replay.
type replayed struct {
	Time     time.Time
	Event    string
	Frames   int
	Sessions []string
	To       []string
}

// Replay begins to record a node's frames, by a fixture, and returns when it has them.
func (r *Run) Replay(ctx context.Context, fixture string) (*Replay, error) {
	o, err := fault.Load(r.env.Fixtures, fixture)
	if err != nil {
		return nil, err
	}
	fault.Retarget(o, r.Mesh.Namespace)
	p := &Replay{Node: o.GetName()}
	if p.container, err = fault.Unused(ctx, r.env.Client.Resources().GetControllerRuntimeClient(), o); err != nil {
		return nil, verdict.Unproven(err)
	}
	p.Before, err = (&Attack{Episode: &Episode{run: r}, Suspect: p.Node}).SessionIDs(ctx)
	if err != nil {
		return nil, err
	}
	// Nothing is judged by what it brings about: it needs no quiet moment.
	p.Episode, err = r.injectIn(ctx, r.env.Absent, nil, o, func(*Episode) proof {
		return proof{
			bites: func(ctx context.Context) error { _, err := p.told(ctx, r, "captured"); return err },
			over:  func(ctx context.Context) error { _, err := p.told(ctx, r, "replayed"); return err },
		}
	})
	if p.Episode != nil {
		p.aside = true
	}
	return note(r, p, err)
}

// told returns what was captured from, or sent again to, each peer, by its address.
func (p *Replay) told(ctx context.Context, r *Run, what string) (map[string]replayed, error) {
	log, err := r.Mesh.Log(ctx, p.Node, p.container)
	if err != nil {
		return nil, err
	}
	told := map[string]replayed{}
	for s := bufio.NewScanner(bytes.NewReader(log)); s.Scan(); {
		var l replayed
		if json.Unmarshal(s.Bytes(), &l) == nil && l.Event == what && len(l.To) == 1 {
			told[l.To[0]] = l
		}
	}
	if want := len(r.Nodes) - 1; len(told) != want {
		return nil, fmt.Errorf("frames of %s were %s for %d peers, not %d", p.Node, what, len(told), want)
	}
	return told, nil
}

// Dropped checks that each peer's verifier dropped at least as many frames of revoked or
// unknown sessions as were sent to it again, at the time they were, and that they were of the
// sessions that it had before.
func (p *Replay) Dropped(ctx context.Context) error {
	sent, err := p.told(ctx, p.run, "replayed")
	if err != nil {
		return err
	}
	for _, pod := range p.run.pods {
		if pod.Name == p.Node {
			continue
		}
		l, ok := sent[pod.Status.PodIP]
		switch {
		case !ok || l.Frames == 0:
			return verdict.Unproven(fmt.Errorf("nothing was sent to %s again", pod.Name))
		case !slices.Contains(l.Sessions, p.Before[pod.Name+"→"+p.Node]):
			return verdict.Unproven(fmt.Errorf("what was sent to %s again is not of its session before", pod.Name))
		}
		w := p.Window
		w.Pods, w.Start, w.End = []string{pod.Name}, l.Time.Add(-3*prom.ScrapeInterval), l.Time.Add(3*prom.ScrapeInterval)
		dropped := 0.0
		for _, v := range []string{metric.VerdictRevoked, metric.VerdictNoSession} {
			grown, err := p.run.Prom.Growth(metric.PacketsTotal, prom.Labels{metric.LabelVerdict: v}, w)(ctx)
			if err != nil {
				return err
			}
			dropped += grown[pod.Name]
		}
		if dropped < float64(l.Frames) {
			return verdict.Shortf("%s dropped %v frames of revoked or unknown sessions, %d were sent to it again", pod.Name, dropped, l.Frames)
		}
	}
	return nil
}
