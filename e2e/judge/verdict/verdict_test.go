package verdict

import (
	"context"
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Only what was observed to fall short has failed. Everything else says nothing of the mesh.
func TestOf(t *testing.T) {
	short, unsupported := Shortf("3 of 4"), &NotSupported{Why: "no sch_netem"}
	for name, c := range map[string]struct {
		err  error
		want report.Verdict
	}{
		"nothing":                         {nil, report.Passed},
		"a shortfall":                     {short, report.Failed},
		"one with words around it":        {fmt.Errorf("a-0: %w", short), report.Failed},
		"one beside harness trouble":      {errors.Join(errors.New("broken pipe"), short), report.Failed},
		"one that proves nothing":         {Unproven(short), report.Invalid},
		"one of each":                     {errors.Join(short, Unproven(errors.New("late"))), report.Invalid},
		"what proves nothing, in words":   {fmt.Errorf("S1.1: %w", Unproven(short)), report.Invalid},
		"not supported":                   {unsupported, report.NotSupported},
		"not supported, in words":         {fmt.Errorf("scenario 4: %w", unsupported), report.NotSupported},
		"a shortfall on what cannot be":   {errors.Join(unsupported, short), report.Failed},
		"unproven on what cannot be":      {Unproven(unsupported), report.Invalid},
		"an error of the API server":      {apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "a-0"), report.Invalid},
		"a deadline":                      {context.DeadlineExceeded, report.Invalid},
		"an interrupt":                    {fmt.Errorf("journal of a-0: %w", context.Canceled), report.Invalid},
		"a broken port-forward":           {errors.New("lost connection to pod"), report.Invalid},
		"words that look like a failure":  {errors.New("failed: 3 of 4"), report.Invalid},
		"a shortfall that was only words": {errors.New(short.Error()), report.Invalid},
	} {
		if got := Of(c.err); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if err := Unproven(nil); err != nil {
		t.Errorf("no error was made one: %v", err)
	}
}
