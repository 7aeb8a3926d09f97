package prom

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// restore is put beside the samples, so that whoever finds them knows what to
// do with them.
const restore = `The samples of this run as the server held them, in OpenMetrics text, compressed.

A queryable copy:

	gunzip --keep samples.om.gz
	promtool tsdb create-blocks-from openmetrics samples.om data
	prometheus --storage.tsdb.path=data --storage.tsdb.retention.time=100y --config.file=/dev/null

then ask at the time of the run. Native histogram buckets are not in it; the
classic ones are. alerts.json, rules.json and targets.json are what the server
answered at the end of the run.
`

// Dump writes what the server knows about the run since start into a directory:
// all series of the mesh, the alerts, the faults, and whether pods were scraped, as
// OpenMetrics text that promtool turns into a queryable database again. Compressed, the
// text has about a fiftieth of its size: each line repeats its series' labels.
func (c *Client) Dump(ctx context.Context, dir string, start time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	series, err := c.all(ctx, start.Add(-time.Millisecond), c.now())
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "samples.om.gz"), func(w io.Writer) error {
		z := gzip.NewWriter(w)
		return errors.Join(OpenMetrics(z, series), z.Close())
	}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "README"), []byte(restore), 0o644); err != nil {
		return err
	}
	for name, ask := range map[string]func() (any, error){
		"alerts.json":  func() (any, error) { return c.api.Alerts(ctx) },
		"rules.json":   func() (any, error) { return c.api.Rules(ctx, nil) },
		"targets.json": func() (any, error) { return c.api.Targets(ctx) },
	} {
		answer, err := ask()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := writeFile(filepath.Join(dir, name), func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(answer)
		}); err != nil {
			return err
		}
	}
	return nil
}

// dumpStep is how much the server is asked for at once: all of a run, of a quarter of an hour with three meshes, takes it more
// memory than it has.
const dumpStep = time.Minute

// all returns every series of the mesh, the alerts and the faults after one time and up to another. A server that is late with a
// part, or does not answer, makes the whole an error.
func (c *Client) all(ctx context.Context, after, until time.Time) (model.Matrix, error) {
	const selector = `{__name__=~"x0tta6bl4_.+|ALERTS|ALERTS_FOR_STATE|chaos_.+|up"}`
	known := map[model.Fingerprint]*model.SampleStream{}
	var series model.Matrix
	after, until = after.Truncate(time.Millisecond), until.Truncate(time.Millisecond) // finer, a query cannot say it
	for from := after; from.Before(until); from = from.Add(dumpStep) {
		to := from.Add(dumpStep)
		if to.After(until) {
			to = until
		}
		query := fmt.Sprintf("%s[%dms]", selector, to.Sub(from).Milliseconds())
		value, _, _, err := c.api.API.Query(ctx, query, to) // no criterion asks this
		if err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
		}
		part, ok := value.(model.Matrix)
		if !ok {
			return nil, fmt.Errorf("%s: got a %s, want a matrix", query, value.Type())
		}
		for _, s := range part {
			id := s.Metric.Fingerprint()
			k := known[id]
			if k == nil {
				known[id], series = s, append(series, s)
				continue
			}
			for _, v := range s.Values { // a server before version 3 tells what is at the border twice
				if n := len(k.Values); n == 0 || v.Timestamp.After(k.Values[n-1].Timestamp) {
					k.Values = append(k.Values, v)
				}
			}
		}
	}
	return series, nil
}

func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriter(f)
	if err := write(w); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return w.Flush()
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// OpenMetrics writes series as OpenMetrics text with timestamps. No type is
// declared: the document's own names of counters lack the suffix _total that
// the format would insist on.
func OpenMetrics(w io.Writer, series model.Matrix) error {
	byID := map[string][]model.SamplePair{}
	for _, s := range series {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(s.Metric)) {
			if name != model.MetricNameLabel {
				labels = append(labels, string(name)+`="`+escape.Replace(string(s.Metric[name]))+`"`)
			}
		}
		byID[string(s.Metric[model.MetricNameLabel])+"{"+strings.Join(labels, ",")+"}"] = s.Values
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		for _, v := range byID[id] {
			ms := int64(v.Timestamp)
			if _, err := fmt.Fprintf(w, "%s %s %d.%03d\n", id, strconv.FormatFloat(float64(v.Value), 'g', -1, 64), ms/1000, ms%1000); err != nil {
				return err
			}
		}
	}
	_, err := io.WriteString(w, "# EOF\n")
	return err
}
