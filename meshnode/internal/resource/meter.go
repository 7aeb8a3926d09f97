package resource

import (
	"slices"
	"time"
)

// Load is how much of what it may use the process' container used of late. Shares
// are 0 to 1; one that cannot be measured is 0.
type Load struct {
	CPU       float64 // of the CPU limit
	Throttled float64 // of the limit's periods, those in which the container had to wait
	Memory    float64 // of the memory limit, now
}

// Window is the time over which CPU is averaged: a limit's periods are a tenth of a
// second, and a container that competes for a busy machine reaches its limit in some
// of them only.
const Window = 2 * time.Second

// Meter turns readings of a group into loads.
type Meter struct {
	group    *Group
	readings []reading // of Window, and one before it
}

type reading struct {
	at time.Time
	Usage
}

// NewMeter returns a Meter that has read nothing.
func NewMeter(g *Group) *Meter { return &Meter{group: g} }

// Read returns the load over Window, as far as there were readings; the first one
// has no CPU. The error is that of Group.Read.
func (m *Meter) Read(now time.Time) (Load, error) {
	u, err := m.group.Read()
	if err != nil {
		return Load{}, err
	}
	m.readings = append(m.readings, reading{now, u})
	for len(m.readings) > 2 && now.Sub(m.readings[1].at) >= Window {
		m.readings = slices.Delete(m.readings, 0, 1)
	}
	var l Load
	if limit := m.group.MemoryLimit(); limit > 0 {
		l.Memory = float64(u.Memory) / float64(limit)
	}
	last := m.readings[0]
	elapsed := now.Sub(last.at)
	if elapsed <= 0 || m.group.CPULimit() == 0 {
		return l, nil
	}
	l.CPU = (u.CPU - last.CPU).Seconds() / elapsed.Seconds() / m.group.CPULimit()
	if periods := u.Periods - last.Periods; periods > 0 {
		l.Throttled = float64(u.Throttled-last.Throttled) / float64(periods)
	}
	return l, nil
}
