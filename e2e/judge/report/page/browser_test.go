//go:build browser

package page

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// axe is axe-core 4.14.1, which finds what keeps people out of a page. It is no part of
// the report.
//
//go:embed testdata/axe-core/axe.min.js
var axe string

// browserWithin bounds a test in a browser, on a busy machine.
const browserWithin = 3 * time.Minute

// browser returns a context of headless Chromium, and what it complained of, or fetched beside the file that is
// shown: a report needs nothing else, not even of the same disk.
func browser(t *testing.T, shown string) (context.Context, func() []string) {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("there is no Chromium here: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WSURLReadTimeout(browserWithin))
	if os.Geteuid() == 0 { // Chromium's sandbox is not for root; the page is ours
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(t.Context(), browserWithin)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var said []string
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{})
		_, err2 := cdp.Call(ctx, t, log.Enable, cdp.Empty{})
		_, err3 := cdp.Call(ctx, t, runtime.Enable, cdp.Empty{})
		return errors.Join(err, err2, err3)
	})); err != nil {
		t.Fatal(err)
	}
	err := chromedp.Listen(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			said = append(said, "exception: "+e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			said = append(said, fmt.Sprintf("console: %s %v", e.Type, e.Args))
		case *log.EventEntryAdded:
			said = append(said, "log: "+e.Entry.Text)
		case *network.EventRequestWillBeSent:
			if e.Request.URL != "file://"+shown && !strings.HasPrefix(e.Request.URL, "data:") {
				said = append(said, "fetched: "+e.Request.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

// screen is what a page is shown on.
type screen struct {
	name          string
	width, height int64
	scheme        string
}

func (s screen) set() chromedp.Action[chromedp.Void] {
	return chromedp.Steps(chromedp.EmulateViewport(s.width, s.height), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}},
		})
		return err
	}))
}

// value is what an expression has in the page.
func value[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%.80s: %v", expression, err)
	}
	return v
}

const openAll = `document.querySelectorAll("details").forEach(d => d.open = true)`

// wider is by how many pixels a page is wider than the screen.
const wider = `document.documentElement.scrollWidth - window.innerWidth`

// violations asks axe.
func violations(t *testing.T, ctx context.Context) []string {
	t.Helper()
	value[int](t, ctx, axe+`;0`)
	return value[[]string](t, ctx, `axe.run(document).then(r => r.violations.map(
		v => v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + " " + n.failureSummary).join("; ")))`)
}

// The report in a browser: from disk, on a phone and a desktop, light and dark, it has no
// error, fetches nothing, needs no scrolling aside, and shuts nobody out.
func TestInABrowser(t *testing.T) {
	dir, _ := made(t, t.TempDir(), "run", 3)
	path, err := Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, said := browser(t, path)
	if err := chromedp.Do(ctx, chromedp.Navigate("file://"+path)); err != nil {
		t.Fatal(err)
	}
	t.Run("keyboard", func(t *testing.T) {
		if err := chromedp.Do(ctx, screen{"", 1280, 900, "light"}.set(), chromedp.KeyEvent(kb.Tab)); err != nil {
			t.Fatal(err)
		}
		if first := value[string](t, ctx, `document.activeElement.className`); first != "skip" {
			t.Errorf("the first stop is %q", first)
		}
		const isOpen = `document.activeElement.parentElement.open`
		before := value[bool](t, ctx, `document.querySelector("section > details summary").focus(); `+isOpen)
		if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Enter)); err != nil {
			t.Fatal(err)
		}
		if after := value[bool](t, ctx, isOpen); after == before {
			t.Errorf("a detail is open: %v, and after Enter still: %v", before, after)
		}
	})
	for _, s := range []screen{{"phone-light", 360, 740, "light"}, {"phone-dark", 360, 740, "dark"}, {"desktop-light", 1280, 900, "light"}, {"desktop-dark", 1280, 900, "dark"}} {
		t.Run(s.name, func(t *testing.T) {
			if err := chromedp.Do(ctx, s.set()); err != nil {
				t.Fatal(err)
			}
			value[chromedp.Void](t, ctx, openAll)
			excess, background := value[int](t, ctx, wider), value[string](t, ctx, `getComputedStyle(document.body).backgroundColor`)
			shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			if excess > 0 {
				t.Errorf("it is %d pixels wider than the screen", excess)
			}
			if light := background == "rgb(255, 255, 255)"; light != (s.scheme == "light") {
				t.Errorf("its background is %s in the scheme %s", background, s.scheme)
			}
			keep(t, s.name+".png", shot)
			for _, v := range violations(t, ctx) {
				t.Error(v)
			}
		})
	}
	for _, s := range said() {
		t.Error(s)
	}
}

// The test above would see what it is to see.
func TestTheBrowserComplains(t *testing.T) {
	h := httptest.NewServer(http.NotFoundHandler())
	defer h.Close()
	path := filepath.Join(t.TempDir(), "bad.html")
	bad := `<html><body style="margin:0"><img src="` + h.URL + `/x.png"><img src="beside.png"><div style="width:500px">x</div><script>throw new Error("bad")</script></body></html>`
	if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, said := browser(t, path)
	if err := chromedp.Do(ctx, screen{"", 360, 740, "light"}.set(), chromedp.Navigate("file://"+path)); err != nil {
		t.Fatal(err)
	}
	excess, found := value[int](t, ctx, wider), violations(t, ctx)
	all := strings.Join(append(said(), found...), "\n")
	for _, want := range []string{"exception: ", "fetched: " + h.URL, "fetched: file://" + filepath.Dir(path) + "/beside.png", "html-has-lang", "image-alt"} {
		if !strings.Contains(all, want) {
			t.Errorf("nobody noticed %q: %s", want, all)
		}
	}
	if excess <= 0 {
		t.Errorf("a page that is too wide is %d pixels wider than the screen", excess)
	}
}

// keep keeps a screenshot where make test-report wants it.
func keep(t *testing.T, name string, png []byte) {
	t.Helper()
	dir := os.Getenv("REPORT_SCREENSHOTS")
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
