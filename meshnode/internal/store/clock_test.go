package store

import (
	"math/rand/v2"
	"sync"
	"time"
)

// wrongClock is a machine's clock: it is set to anything within a day of the true time and
// runs up to 5 % wrong. The zero value is right.
type wrongClock struct {
	mu    sync.Mutex
	since time.Time // the true time of the latest fault
	off   time.Duration
	rate  float64
}

func (c *wrongClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read(time.Now())
}

// read needs the lock.
func (c *wrongClock) read(now time.Time) time.Time {
	if c.since.IsZero() {
		return now
	}
	return now.Add(c.off + time.Duration(c.rate*float64(now.Sub(c.since))))
}

// step sets the clock and returns by how much it is off then.
func (c *wrongClock) step(rng *rand.Rand) time.Duration {
	const day = 24 * time.Hour
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since, c.off = time.Now(), time.Duration(rng.Int64N(int64(2*day+1)))-day
	return c.off
}

// drift changes the rate and returns by what share it is off.
func (c *wrongClock) drift(rng *rand.Rand) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.off, c.since = c.read(now).Sub(now), now
	c.rate = 0.1*rng.Float64() - 0.05
	return c.rate
}
