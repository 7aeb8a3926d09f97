package main

import (
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
	s, err := fetchStatus(ctx, *url, token, &tls.Config{RootCAs: trust.APICA, ServerName: *name, MinVersion: tls.VersionTLS13})
	if err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	return printStatus(out, s, time.Now())
}

func fetchStatus(ctx context.Context, url, token string, t *tls.Config) (s *api.Status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+api.StatusPath, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: --url: %w", command.ErrUsage, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: t}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, api.ReadProblem(resp)
	}
	s = new(api.Status)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(s); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", url, err)
	}
	return s, nil
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
		rtt := time.Duration(p.RTTSeconds * float64(time.Second)).Round(10 * time.Microsecond).String()
		row(p.Name, p.Status, p.Session, rtt, fmt.Sprint(p.Quality), p.Address)
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
