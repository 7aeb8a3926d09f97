// Package dashboard reads the Grafana dashboard of the manifests, so that every
// query on it can be asked of a live Prometheus: a panel that shows nothing is
// found by a test, not by whoever is on call.
package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/x0tta6bl4/mesh/manifests"
)

// Query is one query of the dashboard, ready to be asked.
type Query struct {
	// Panel is the title of its panel, or "annotation" and its name.
	Panel string
	// Ref tells the queries of a panel apart: A, B, …
	Ref  string
	Expr string
	// Legend names its series by their labels, in double braces.
	Legend string
}

func (q Query) String() string { return fmt.Sprintf("%s/%s: %s", q.Panel, q.Ref, q.Expr) }

// Queries returns every query of the dashboard for a mesh in a namespace. Those
// of rates look back a quarter of a minute. A query that counts events may
// answer 0, but has an answer wherever a mesh runs; those of the last row and
// the annotations have one from when a fault was injected.
func Queries(namespace string) ([]Query, error) {
	if wrong := validation.IsDNS1123Label(namespace); len(wrong) > 0 {
		return nil, fmt.Errorf("dashboard: namespace %q: %s", namespace, strings.Join(wrong, ", "))
	}
	d, err := parse(manifests.Dashboard)
	if err != nil {
		return nil, err
	}
	return d.queries(map[string]string{"namespace": namespace, "__rate_interval": "15s"})
}

// parse reads a dashboard strictly: what it does not know is an error, as a
// misspelt field would be one that Grafana ignores.
func parse(text []byte) (*board, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var b board
	if err := d.Decode(&b); err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("dashboard: there is more than one document")
	}
	return &b, nil
}

// queries returns every query with its variables replaced.
func (b *board) queries(variables map[string]string) ([]Query, error) {
	var queries []Query
	add := func(panel, ref, expr, legend string) error {
		asked, err := replace(expr, variables)
		if err != nil {
			return fmt.Errorf("dashboard: %s/%s: %w", panel, ref, err)
		}
		queries = append(queries, Query{Panel: panel, Ref: ref, Expr: asked, Legend: legend})
		return nil
	}
	for _, a := range b.Annotations.List {
		if err := add("annotation "+a.Name, "A", a.Expr, a.TitleFormat); err != nil {
			return nil, err
		}
	}
	for _, p := range b.Panels {
		for _, t := range p.Targets {
			if err := add(p.Title, t.RefID, t.Expr, t.LegendFormat); err != nil {
				return nil, err
			}
		}
	}
	return queries, nil
}

// variable matches both ways in which Grafana writes a variable.
var variable = regexp.MustCompile(`\$(\w+)|\$\{(\w+)\}`)

// replace puts values in the place of a query's variables. One without a value
// is an error.
func replace(expr string, values map[string]string) (string, error) {
	var unknown []string
	replaced := variable.ReplaceAllStringFunc(expr, func(found string) string {
		name := strings.Trim(found, "${}")
		v, ok := values[name]
		if !ok {
			unknown = append(unknown, name)
		}
		return v
	})
	if len(unknown) > 0 {
		return "", fmt.Errorf("no value for variable %s, there are: %s",
			strings.Join(unknown, ", "), strings.Join(slices.Sorted(maps.Keys(values)), ", "))
	}
	return replaced, nil
}

// Blank says what a query lacks whose answers are numbers for these pods: nothing at all,
// or a pod that is expected. A query that adds pods up answers under the empty name. The
// result is empty if nothing is lacking.
func Blank(numbers map[string]bool, pods []string) string {
	if len(numbers) == 0 {
		return "no numbers"
	}
	if numbers[""] {
		return ""
	}
	var absent []string
	for _, p := range pods {
		if !numbers[p] {
			absent = append(absent, p)
		}
	}
	if len(absent) > 0 {
		return "no numbers of " + strings.Join(absent, ", ")
	}
	return ""
}
