package client

import (
	"context"
	"net/http"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// keep makes a session and updates and reads it. A session that is gone is
// replaced: that it was lost is in the history.
func (c *Client) keep(ctx context.Context, at *target) {
	l := &caller{c: c, at: at}
	defer l.close()
	id, version := "", uint64(0)
	c.every(ctx, func(n int) {
		switch {
		case id == "":
			if op := l.do(ctx, create()); op.Result == api.OK {
				id, version = op.ID, op.Version
			}
			return
		case n%4 == 3:
			// An update without an answer may have taken place: its version is
			// settled by asking for it again, not by reading.
			if !l.unsure {
				if op := l.do(ctx, look(id, version)); op.Status == http.StatusNotFound {
					id = ""
				}
				return
			}
		}
		op := l.do(ctx, update(id, version))
		l.unsure = op.Result == api.Unknown
		switch {
		case op.Result == api.OK:
			version = op.Version
		case op.Status == http.StatusNotFound, op.Status == http.StatusPreconditionFailed:
			id = ""
		}
	})
}
