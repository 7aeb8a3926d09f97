package alert

import (
	"context"
	"fmt"
	"regexp"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// loaded is an alerting rule that Prometheus has, and how often it is evaluated.
type loaded struct {
	promv1.AlertingRule
	every time.Duration
}

// rules returns the alerting rules that Prometheus has, by alert.
func (r *Reader) rules(ctx context.Context) (map[string]loaded, error) {
	answer, err := r.prom.API().Rules(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	all := map[string]loaded{}
	for _, g := range answer.Groups {
		for _, rule := range g.Rules {
			if a, ok := rule.(promv1.AlertingRule); ok {
				all[a.Name] = loaded{a, time.Duration(g.Interval * float64(time.Second))}
			}
		}
	}
	return all, nil
}

// noRule is the error of an alert whose rule Prometheus does not have.
func noRule(name string) error {
	return fmt.Errorf("alert %s: Prometheus has no such rule: are the rules of manifests/prometheus loaded?", name)
}

// Rule is what the rule of an alert says of time.
type Rule struct {
	// Back is how far back it looks: an alert about what happened goes on for as long.
	Back time.Duration
	// Every is how often it is evaluated.
	Every time.Duration
}

// Rule returns a question: what does the rule of an alert say of time, as Prometheus has it? One
// that does not look back, or in more than one way, is an error.
func (r *Reader) Rule(name string) func(context.Context) (Rule, error) {
	return func(ctx context.Context) (Rule, error) {
		all, err := r.rules(ctx)
		if err != nil {
			return Rule{}, err
		}
		rule, ok := all[name]
		if !ok {
			return Rule{}, noRule(name)
		}
		back, err := looksBack(rule.Query)
		if err != nil {
			return Rule{}, fmt.Errorf("alert %s: %w", name, err)
		}
		return Rule{Back: back, Every: rule.every}, nil
	}
}

// ranges are those of the selectors in an expression.
var ranges = regexp.MustCompile(`\[([0-9a-z]+)\]`)

// looksBack returns the one range in an expression.
func looksBack(expr string) (time.Duration, error) {
	found := ranges.FindAllStringSubmatch(expr, -1)
	if len(found) != 1 {
		return 0, fmt.Errorf("%s has %d ranges, not one", expr, len(found))
	}
	back, err := model.ParseDuration(found[0][1])
	return time.Duration(back), err
}
