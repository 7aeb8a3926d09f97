package metric_test

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// What is read is there from the start, at 0: a series that is born at 1 has no increase.
func ExampleNew() {
	set := metric.New(prometheus.NewPedanticRegistry())
	set.AddPeer("b-0")
	fmt.Println(testutil.ToFloat64(set.PeerUnreachable.WithLabelValues("b-0")))

	set.PeerUnreachable.WithLabelValues("b-0").Inc()
	set.Detected.WithLabelValues(metric.NodeCrash).Inc()
	fmt.Println(testutil.ToFloat64(set.PeerUnreachable), testutil.ToFloat64(set.Detected.WithLabelValues(metric.NodeCrash)))
	fmt.Println(metric.AnomaliesDetected)
	// Output:
	// 0
	// 1 1
	// x0tta6bl4_mapek_anomalies_detected
}
