package e2e

import (
	"context"
	"maps"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
)

// The faults of scenario 6, one after the other: of one disk each, in its own way.
var storageFixtures = []string{"io-latency.yaml", "io-error.yaml", "io-full.yaml"}

var _ = describe(scenario.Scenario{
	Name: "io-fault", Title: "Scenario 6: faulty storage", Takes: 150 * time.Second, Design: "6",
	Labels: []string{scenario.Nightly}, Fixtures: storageFixtures,
}, func(sc *scenario.Scenario) {
	var s *scenario.Run
	var slow *scenario.Storage
	var faults []*scenario.Storage

	// strike puts one fault into a disk and waits until it is over; its loop goes on after that.
	strike := func(ctx SpecContext, fixture string) *scenario.Storage {
		GinkgoHelper()
		f := disturb(ctx, s, s.Storage, fixture)
		faults = append(faults, f)
		heal(ctx, f.Episode)
		return f
	}

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		verdict.Must(s.AwaitHomes(ctx))
		slow = strike(ctx, storageFixtures[0])
		AddReportEntry("who injects", slow.Server)
	})

	loop(sc, func() *scenario.Loop { return slow.Loop() },
		cell{"the kind of the fault and the time of commits can be read", func(ctx context.Context) error { return slow.Measured(ctx) }},
		cell{"storage_fault names the kind", func(ctx context.Context) error { return slow.Named(ctx) }},
		cell{"stop_writes, yield_sessions and recover_store are planned", nil},
		cell{"they are done, the last when the disk is sound", nil},
		cell{"the fault is recorded, with its kind", func(ctx context.Context) error { return slow.Remembered(ctx) }})

	criterion(sc, "S6.1", "a disk that is slow, fails or is full is recognised, each as what it is", within(scenario.BarStorage), scenario.Reacts(), func(ctx SpecContext) {
		for _, fixture := range storageFixtures[1:] {
			verdict.Must(s.AwaitWell(ctx))
			strike(ctx, fixture)
		}
		const what = "from the first write that met the fault to its incident"
		took, slack := verdict.Times{}, time.Duration(0)
		for _, f := range faults {
			maps.Copy(took, verdict.Reacted(ctx, what, f.Left(scenario.WaitSettle), scenario.BarStorage, f.Recognised))
			slack = max(slack, ask(ctx, scenario.WaitAnswer, s.Apart(f.Victim, scenario.ClockOfClients)))
			verdict.EventuallyHolds(ctx, scenario.WaitSettle, f.Named)
			verdict.EventuallyHolds(ctx, scenario.WaitSettle, f.Measured)
		}
		verdict.Time(what, took, scenario.BarStorage, slack)
	})

	criterion(sc, "S6.4", "the node recovers by itself when its disk does, without a restart", within(scenario.BarStorageBack), scenario.Heals().Because("only the loop makes a new store of a disk that has failed"), func(ctx SpecContext) {
		const what = "from the end of the fault to that of its incident"
		took, slack := verdict.Times{}, time.Duration(0)
		for _, f := range faults {
			maps.Copy(took, verdict.Reacted(ctx, what, f.Left(scenario.WaitSettle), scenario.BarStorageBack, f.Recovered))
			slack = max(slack, ask(ctx, scenario.WaitAnswer, s.Skew(f.Victim)))
		}
		if len(faults) < len(storageFixtures) {
			verdict.Invalidf("%d of %d faults were there and are over", len(faults), len(storageFixtures))
		}
		casualties, err := s.Casualties(ctx)
		verdict.Must(err)
		if len(casualties) > 0 {
			verdict.Must(verdict.Shortf("not without a restart: %v", casualties))
		}
		verdict.Time(what, took, scenario.BarStorageBack, slack)
	})

	criterion(sc, "S6.2", "no acknowledged record is lost or changed, and none is doubled", "0", scenario.Holds(), func(ctx SpecContext) {
		judgeRecords(ctx, s)
	})

	criterion(sc, "S6.3", "no operation through the Service fails, hangs or goes back", "0", scenario.Holds(), func(ctx SpecContext) {
		last := faults[len(faults)-1]
		verdict.Must(last.AwaitTail(ctx))
		w := slow.Tailed()
		w.End = last.Tailed().End
		judgeOperations(ctx, s, w)
	})

	criterion(sc, "A4", "MeshStorageFault fires in the fault and resolves after it", "yes", scenario.Reacts(), func(ctx SpecContext) {
		judgeAlert(ctx, s, alert.StorageFault, slow.Episode, alert.Resolved)
	})

	diagnosis(sc)
})
