package mesh

import (
	"strings"
	"testing"
	"time"
)

// TestTailTellsEachEntryOnce: also where the journal is read from its beginning again, and
// where it is a successor's, whose entries count from one.
func TestTailTellsEachEntryOnce(t *testing.T) {
	since := time.Date(2030, 1, 1, 0, 0, 5, 0, time.UTC)
	r := tail{since: since}
	var got []string
	for _, step := range []struct {
		again bool
		pages map[string]string
	}{
		{pages: map[string]string{"/v1/events?after=0": "{\"seq\":1,\"time\":\"2030-01-01T00:00:04Z\",\"kind\":\"old\"}\n{\"seq\":2,\"time\":\"2030-01-01T00:00:06Z\",\"kind\":\"a\"}\n"}},
		{pages: map[string]string{"/v1/events?after=2": ""}},
		{pages: map[string]string{"/v1/events?after=2": "{\"seq\":3,\"time\":\"2030-01-01T00:00:07Z\",\"kind\":\"b\"}\n"}},
		{again: true, pages: map[string]string{"/v1/events?after=0": "{\"seq\":2,\"time\":\"2030-01-01T00:00:06Z\",\"kind\":\"a\"}\n{\"seq\":3,\"time\":\"2030-01-01T00:00:07Z\",\"kind\":\"b\"}\n"}},
		{again: true, pages: map[string]string{"/v1/events?after=0": "{\"seq\":1,\"time\":\"2030-01-01T00:00:08Z\",\"kind\":\"c\"}\n"}},
	} {
		if step.again {
			r.after = 0
		}
		entries, err := r.read(pages(t, step.pages))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, e.Kind)
		}
	}
	if strings.Join(got, " ") != "a b c" {
		t.Errorf("told %q, want a b c", got)
	}
}
