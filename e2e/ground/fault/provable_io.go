package fault

import (
	"slices"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

const (
	// LeastDiskDelay is how long each write and flush must take at least: a commit is at least four of
	// them, and calls for an answer from a second on.
	LeastDiskDelay = 300 * time.Millisecond
	// MostDiskDelay is how long none may take: a commit under way would outlast the fault.
	MostDiskDelay = 2 * time.Second
	// LeastErrors is the share of writes that must fail, in percent: fewer may miss every commit
	// of a short fault.
	LeastErrors = 20

	// LeastSkew is by how much a clock must be wrong: less is no skew to the nodes' policy.
	LeastSkew = 5 * time.Second
	// MostSkew is by how much none may be: more than the certificates' tolerance, and the mesh
	// would be right to refuse.
	MostSkew = 55 * time.Minute

	// StoreVolume is where a node's store is mounted; a test holds it against the manifests.
	StoreVolume = "/data"
	// triedFile is what TryDisk writes on a volume.
	triedFile = ".tried-from-outside"
	storeFile = "records.db"
)

// provableIO wants the disk of one node's store to be slow, or to fail, when it is written to.
func provableIO(s *v1alpha1.IOChaosSpec, at string, fail failure) error {
	if err := one(s.PodSelector, at, fail); err != nil {
		return err
	}
	if err := inCluster(s.RemoteCluster, at, fail); err != nil {
		return err
	}
	if err := lasting(s.Duration, Shortest, at+".duration", fail); err != nil {
		return err
	}
	if s.VolumePath != StoreVolume {
		return fail(at+".volumePath", "%q: a node's store is on %s", s.VolumePath, StoreVolume)
	}
	for _, file := range []string{storeFile, triedFile} {
		if ok, err := doublestar.Match(s.Path, StoreVolume+"/"+file); s.Path != "" && (err != nil || !ok) {
			return fail(at+".path", "%q is not true of %s/%s, which the proof or the store writes: take it away", s.Path, StoreVolume, file)
		}
	}
	if len(s.Methods) == 0 {
		return fail(at+".methods", "is missing: reading, listing and moving the files would fail, too, and nothing could be told of writing")
	}
	for _, m := range s.Methods {
		if m != v1alpha1.Write && m != v1alpha1.Fsync && m != v1alpha1.Flush {
			return fail(at+".methods", "%s is judged by no scenario (write, fsync and flush are)", m)
		}
	}
	if !slices.Contains(s.Methods, v1alpha1.Write) {
		return fail(at+".methods", "lacks write: the proof could not be told from a busy disk")
	}
	switch s.Action {
	case v1alpha1.IoLatency:
		delay, err := time.ParseDuration(s.Delay)
		if err != nil {
			return fail(at+".delay", "%q is no time, like 500ms", s.Delay)
		}
		if delay < LeastDiskDelay || delay > MostDiskDelay {
			return fail(at+".delay", "is %v: less than %v is a busy disk, and more than %v outlasts the fault", delay, LeastDiskDelay, MostDiskDelay)
		}
		if s.Percent != 100 {
			return fail(at+".percent", "is %d: what is slow at times only cannot be told from a busy disk", s.Percent)
		}
	case v1alpha1.IoFaults:
		if e := syscall.Errno(s.Errno); e != syscall.EIO && e != syscall.ENOSPC {
			return fail(at+".errno", "%d (%v) is judged by no scenario (5, EIO, and 28, ENOSPC, are)", s.Errno, e)
		}
		if s.Percent < LeastErrors {
			return fail(at+".percent", "is %d: less than %d may miss every commit", s.Percent, LeastErrors)
		}
	default:
		return fail(at+".action", "%s is judged by no scenario (latency and fault are)", s.Action)
	}
	return nil
}

// provableTime wants clocks to be wrong by so much that it is one.
func provableTime(s *v1alpha1.TimeChaosSpec, at string, fail failure) error {
	if err := inCluster(s.RemoteCluster, at, fail); err != nil {
		return err
	}
	if err := lasting(s.Duration, Shortest, at+".duration", fail); err != nil {
		return err
	}
	offset, err := time.ParseDuration(s.TimeOffset)
	if err != nil {
		return fail(at+".timeOffset", "%q is no time, like -10s", s.TimeOffset)
	}
	if offset.Abs() < LeastSkew || offset.Abs() > MostSkew {
		return fail(at+".timeOffset", "is %v: less than %v is no wrong clock, and with more than %v certificates are rightly refused", offset, LeastSkew, MostSkew)
	}
	for _, id := range s.ClockIds {
		if id != "CLOCK_REALTIME" {
			return fail(at+".clockIds", "%s: no scenario judges any but CLOCK_REALTIME", id)
		}
	}
	return nil
}
