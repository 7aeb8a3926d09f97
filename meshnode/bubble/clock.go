package bubble

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Clock is a machine's clock that goes wrong: it is set to anything within a day of the true
// time, and runs up to 5 % fast or slow. The zero value is right.
type Clock struct {
	mu      sync.Mutex
	since   time.Time // the true time of the latest fault
	off     time.Duration
	rate    float64
	counted time.Duration // too much, until the latest fault, by running fast
}

// Now returns what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	return now.Add(c.off + c.gained(now))
}

// Since returns how much time the machine counts since a true time, as CLOCK_MONOTONIC does: it
// runs as fast or slow as the clock, and nothing sets it.
func (c *Clock) Since(start time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	return now.Sub(start) + c.counted + c.gained(now)
}

// gained is by how much the clock has run ahead since the latest fault. It needs the lock.
func (c *Clock) gained(now time.Time) time.Duration {
	return time.Duration(c.rate * float64(now.Sub(c.since)))
}

// change makes the clock show another time and run at another rate from now on. It needs the lock.
func (c *Clock) change(now time.Time, off time.Duration, rate float64) {
	c.counted += c.gained(now)
	c.since, c.off, c.rate = now, off, rate
}

// Step sets the clock at random and returns by how much it is off then: by a day at most.
func (c *Clock) Step(rng *rand.Rand) time.Duration {
	const day = 24 * time.Hour
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(time.Now(), time.Duration(rng.Int64N(int64(2*day+1)))-day, c.rate)
	return c.off
}

// Drift lets the clock run at a random rate and returns by what share that is wrong: by 5 % at most.
func (c *Clock) Drift(rng *rand.Rand) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.change(now, c.off+c.gained(now), 0.1*rng.Float64()-0.05)
	return c.rate
}

// Correct sets the clock to the true time and lets it run at the true rate.
func (c *Clock) Correct() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(time.Now(), 0, 0)
}
