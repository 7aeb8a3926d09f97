package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/clock"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

var errHangs = fmt.Errorf("no answer within %v", askFor)

// reopenAfter is the pause before a way to a node that failed is opened again.
const reopenAfter = time.Second

// WatchStatus asks a node for its status every so often, over one way that stays open, until
// ctx ends. What goes wrong is told, too, and then the way is opened again.
func (m *Mesh) WatchStatus(ctx context.Context, node string, every time.Duration, tell func(*api.Status, error)) {
	m.attend(ctx, node, every, func(get getter) error {
		b, err := get(api.StatusPath)
		if err != nil {
			return err
		}
		s := &api.Status{}
		if err := json.Unmarshal(b, s); err != nil {
			return err
		}
		tell(s, nil)
		return nil
	}, func(err error) { tell(nil, fmt.Errorf("status of %s: %w", node, err)) })
}

// Follow tells the entries of a node's journal after a time as they come, those of a
// moment together, until ctx ends. While the node does not answer it tells nothing; after that
// it goes on, also with a successor's journal.
func (m *Mesh) Follow(ctx context.Context, node string, every time.Duration, since time.Time, tell func([]event.Entry)) {
	reader := tail{since: since}
	m.attend(ctx, node, every, func(get getter) error {
		entries, err := reader.read(get)
		if len(entries) > 0 {
			tell(entries)
		}
		return err
	}, func(error) { reader.after = 0 })
}

// tail reads what is new in a journal.
type tail struct {
	after uint64    // the last entry that was read of this journal
	since time.Time // the time of the last entry that was told
}

// read returns the entries that came since the last time. A journal that is read from its
// beginning again tells nothing twice.
func (t *tail) read(get getter) ([]event.Entry, error) {
	b, err := get(api.EventsPath + "?after=" + strconv.FormatUint(t.after, 10))
	if err != nil {
		return nil, err
	}
	entries, err := event.Read(bytes.NewReader(b))
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	t.after = entries[len(entries)-1].Seq
	var fresh []event.Entry
	for _, e := range entries {
		if e.Time.After(t.since) {
			fresh = append(fresh, e)
		}
	}
	if len(fresh) > 0 {
		t.since = fresh[len(fresh)-1].Time
	}
	return fresh, nil
}

// getter asks a node's API at a path.
type getter = func(path string) ([]byte, error)

// attend keeps a way to a node open and asks over it every so often, until ctx ends. Where that
// fails it says so, and opens the way again.
func (m *Mesh) attend(ctx context.Context, node string, every time.Duration, ask func(getter) error, failed func(error)) {
	for ctx.Err() == nil {
		err := m.attendOnce(ctx, node, every, ask)
		if ctx.Err() != nil {
			return
		}
		failed(err)
		_ = clock.Wait(ctx, reopenAfter) // the loop looks at ctx
	}
}

func (m *Mesh) attendOnce(ctx context.Context, node string, every time.Duration, ask func(getter) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	opening := time.AfterFunc(askFor, func() { cancel(errHangs) }) // then it is opened again
	defer opening.Stop()
	get, err := m.open(ctx, node)
	if err != nil {
		return err
	}
	for {
		opening.Reset(askFor)
		if err := ask(get); err != nil {
			return err
		}
		opening.Stop()
		if clock.Wait(ctx, every) != nil {
			return ctx.Err()
		}
	}
}
