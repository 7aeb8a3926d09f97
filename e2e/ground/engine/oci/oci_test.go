package oci

import (
	"encoding/json"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFitProcess(t *testing.T) {
	without := func(missing int) func(int) bool { return func(c int) bool { return c != missing } }
	for name, tc := range map[string]struct {
		process map[string]any
		bounded func(int) bool
		want    map[string]any
	}{
		"privileged on a host without CAP_SYS_RESOURCE": {
			process: map[string]any{
				"capabilities": map[string]any{"bounding": []any{"CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_CHOWN"}},
				"oomScoreAdj":  json.Number("-999"),
			},
			bounded: without(unix.CAP_SYS_RESOURCE),
			want: map[string]any{
				"capabilities": map[string]any{"bounding": []any{"CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"}},
				"oomScoreAdj":  0,
			},
		},
		"unprivileged gets nothing that it did not ask for": {
			process: map[string]any{
				"capabilities": map[string]any{"effective": []any{"CAP_CHOWN"}},
				"oomScoreAdj":  json.Number("100"),
			},
			bounded: without(-1),
			want: map[string]any{
				"capabilities": map[string]any{"effective": []any{"CAP_CHOWN"}},
				"oomScoreAdj":  json.Number("100"),
			},
		},
		"a whole host keeps its scores": {
			process: map[string]any{"oomScoreAdj": json.Number("-999")},
			bounded: without(-1),
			want:    map[string]any{"oomScoreAdj": json.Number("-999")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			FitProcess(tc.process, tc.bounded)
			if !reflect.DeepEqual(tc.process, tc.want) {
				t.Errorf("got  %v\nwant %v", tc.process, tc.want)
			}
		})
	}
}
