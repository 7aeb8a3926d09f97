package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// statusTimeout bounds the request.
const statusTimeout = 5 * time.Second

// maxStatus bounds the answer in bytes.
const maxStatus = 8 << 20

func runStatus(ctx context.Context, args []string, out io.Writer) error {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	f := command.NewFlags("meshnode status", "meshnode status --api-token-file /etc/mesh/api/token --trust-dir /etc/mesh/trust", out)
	url := f.String("url", "https://localhost:8443", "base `URL` of the node's client API")
	name := f.String("name", host, "the node's `name`, which its certificate must have")
	tokenFile := f.String("api-token-file", "", "`file` with the bearer token of the client API")
	trustDir := f.String("trust-dir", "", "`directory` of the mesh's trust bundle")
	asJSON := f.Bool("json", false, "print the answer as JSON")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := f.Need("url", "name", "api-token-file", "trust-dir"); err != nil {
		return err
	}
	trust, err := identity.LoadTrust(*trustDir)
	if err != nil {
		return err
	}
	token, err := readToken(*tokenFile)()
	if err != nil {
		return fmt.Errorf("API token: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	node := apiOf{url: strings.TrimSuffix(*url, "/"), token: token, tls: &tls.Config{RootCAs: trust.APICA, ServerName: *name, MinVersion: tls.VersionTLS13}}
	var s api.Status
	if err := node.get(ctx, api.StatusPath, &s); err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	var k api.Knowledge
	if err := node.get(ctx, api.KnowledgePath, &k); err != nil {
		return err
	}
	if err := printStatus(out, &s, time.Now()); err != nil {
		return err
	}
	return printKnowledge(out, &k)
}

// apiOf is how to reach the client API of a node.
type apiOf struct {
	url, token string
	tls        *tls.Config
}

// get decodes the answer at a path into v.
func (a apiOf) get(ctx context.Context, path string, v any) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		return fmt.Errorf("%w: --url: %w", command.ErrUsage, err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: a.tls}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return api.ReadProblem(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(v); err != nil {
		return fmt.Errorf("answer of %s: %w", a.url+path, err)
	}
	return nil
}

// printStatus prints s for a person.
func printStatus(out io.Writer, s *api.Status, now time.Time) error {
	var b strings.Builder
	ready := "ready"
	if !s.Ready {
		ready = "NOT READY: " + strings.Join(s.NotReady, "; ")
	}
	heals := "on"
	if !s.MAPEK {
		heals = "off (watching only)"
	}
	fmt.Fprintf(&b, "%s  %s  up %s  %s\nverifier %s  MAPE-K %s  records %d  version %s\n",
		s.Node, s.Zone, now.Sub(s.Started).Round(time.Second), ready, s.Verifier, heals, s.Records, s.Version)
	if i := s.Isolation; i != nil {
		fmt.Fprintf(&b, "ISOLATED for %s: %s: %s\n", now.Sub(i.Since).Round(time.Second), i.Cause, i.Detail)
	}
	total, homes := 0, []string{}
	for _, home := range slices.Sorted(maps.Keys(s.Sessions)) {
		total += s.Sessions[home]
		homes = append(homes, fmt.Sprintf("%s %d", home, s.Sessions[home]))
	}
	fmt.Fprintf(&b, "client sessions %d  %s\n", total, strings.Join(homes, "  "))
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	row("\nPEER", "STATUS", "SESSION", "RTT", "QUALITY", "ADDRESS")
	for _, p := range s.Peers {
		row(p.Name, p.Status, p.Session, duration(p.RTTSeconds), fmt.Sprint(p.Quality), p.Address)
	}
	row("\nDESTINATION", "NEXT HOP", "QUALITY", "STANDBY")
	for _, r := range s.Routes {
		row(r.Destination, r.NextHop, fmt.Sprint(r.Quality), r.Standby)
	}
	row("\nINCIDENT", "TYPE", "OPENED", "LASTED", "PEERS")
	for _, i := range s.Incidents {
		lasted := "open"
		if !i.Resolved.IsZero() {
			lasted = i.Resolved.Sub(i.Opened).Round(time.Millisecond).String()
		}
		row(i.ID, i.Type, i.Opened.Format(time.RFC3339), lasted, strings.Join(i.Peers, " "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printKnowledge prints what the node has learned, for a person. The incidents are in the
// status already.
func printKnowledge(out io.Writer, k *api.Knowledge) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	if len(k.Outcomes) > 0 {
		row("\nACTION", "DONE", "FAILED")
		for _, name := range slices.Sorted(maps.Keys(k.Outcomes)) {
			row(name, fmt.Sprint(k.Outcomes[name].Done), fmt.Sprint(k.Outcomes[name].Failed))
		}
	}
	if len(k.Weights) > 0 {
		row("\nLINK", "WEIGHT", "AVAILABLE")
		for _, peer := range slices.Sorted(maps.Keys(k.Weights)) {
			available := "-"
			if share, ok := k.Availability[peer]; ok {
				available = fmt.Sprintf("%.1f %%", 100*share)
			}
			row(peer, fmt.Sprintf("%.2f", k.Weights[peer]), available)
		}
	}
	if len(k.Latency) > 0 {
		row("\nSLOW LINK", "TYPICAL", "WHEN SLOW", "EPISODES", "LAST")
		for _, l := range k.Latency {
			row(l.Peer, duration(l.TypicalSeconds), duration(l.EpisodeSeconds), fmt.Sprint(l.Count), l.Last.Format(time.RFC3339))
		}
	}
	if len(k.Threats) > 0 {
		row("\nTHREAT", "TYPE", "BAD SIGNATURES", "LAST", "BLOCKED UNTIL")
		for _, t := range k.Threats {
			until := "-"
			if !t.BlockedUntil.IsZero() {
				until = t.BlockedUntil.Format(time.RFC3339)
			}
			row(t.Peer, t.Type, fmt.Sprint(t.Count), t.Last.Format(time.RFC3339), until)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r := k.Recommendation; r != nil {
		fmt.Fprintf(&b, "\nrecommended requests and limits: cpu %s  memory %s  (%d episodes: %s)\n",
			cmp.Or(r.CPU, "-"), cmp.Or(r.Memory, "-"), r.Incidents, r.Reason)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// duration is seconds in a form for people.
func duration(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(10 * time.Microsecond).String()
}
