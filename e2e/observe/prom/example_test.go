package prom_test

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Growth counts from the last sample before the window on, and goes on over a restart.
func ExampleIncrease() {
	start := time.Unix(1_900_000_000, 0)
	var samples []model.SamplePair
	for second, value := range []model.SampleValue{4, 5, 7, 1} { // a restart before the last one
		at := model.TimeFromUnixNano(start.Add(time.Duration(second) * time.Second).UnixNano())
		samples = append(samples, model.SamplePair{Timestamp: at, Value: value})
	}
	fmt.Println(prom.Increase(samples, start))
	// Output: 4
}

func ExampleSelector() {
	fmt.Println(prom.Selector(metric.AnomaliesDetected, "x0tta6bl4", prom.Labels{metric.LabelType: metric.NodeCrash}))
	// Output: x0tta6bl4_mapek_anomalies_detected{namespace="x0tta6bl4",type="node_crash"}
}
