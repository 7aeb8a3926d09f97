package progress

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

func TestPlainLines(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var out strings.Builder
		r := newReporter(&out, false, func() int { return 80 })
		build := r.Step("build")
		fmt.Fprint(build, "first\nsecond\r\nunfinished")
		time.Sleep(plainEvery + time.Second)
		_ = build.End("3 binaries", nil)
		failure := errors.New("no disk")
		if err := r.Step("load").End("", failure); err != failure {
			t.Errorf("End returned %v", err)
		}
		r.Close()
		want := " 0:00  build ...\n 0:30  build  0:30: second\n 0:31  build: 3 binaries ( 0:31)\n 0:31  load ...\n 0:31  load: failed after  0:00\n"
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
		if p := r.Phases(); len(p) != 2 || p[0] != (Phase{"build", 31}) {
			t.Errorf("phases %v", p)
		}
	})
}

func TestLiveLineFitsTheTerminal(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var out strings.Builder
		r := newReporter(&out, true, func() int { return 20 })
		r.Step("a step with a long name").Detail("and a long detail")
		time.Sleep(2 * liveEvery)
		r.Close()
		for text := range strings.SplitSeq(out.String(), "\r\x1b[K") {
			if len(text) > 19 || strings.Contains(text, "\n") {
				t.Errorf("live line %q does not fit 20 columns", text)
			}
		}
	})
}
