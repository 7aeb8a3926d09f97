package e2e

import (
	"flag"
	"slices"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

// TestArgumentsOfLanes: a lane's process gets the flags of the whole run, but for those of the
// cluster, which is there.
func TestArgumentsOfLanes(t *testing.T) {
	parsed := func(args ...string) *options {
		t.Helper()
		var o options
		f := flag.NewFlagSet(t.Name(), flag.ContinueOnError)
		f.String("ginkgo.label-filter", "", "")
		f.String("test.timeout", "", "")
		o.register(f)
		if err := f.Parse(args); err != nil {
			t.Fatal(err)
		}
		o.kubeconfig = f.Lookup(flagKubeconfig).Value.String()
		return &o
	}
	f := flag.NewFlagSet(t.Name(), flag.ContinueOnError)
	var whole options
	whole.register(f)
	if err := f.Parse([]string{"-profile=full", "-mapek=off", "-family=dual", "-mtu=1450", "-lanes=7", "-images=r.example"}); err != nil {
		t.Fatal(err)
	}
	published := image.Published{image.Mesh: "r.example/meshnode@sha256:0"}
	args := laneArgs(f, &scenario.Scenario{Name: "latency"}, "there", published)
	o := parsed(args...)
	if o.profileName != "full" || o.mapek != "off" || o.kubeconfig != "there" || !slices.Contains(args, "-test.timeout=0") {
		t.Errorf("a lane gets %q", args)
	}
	if o.images != published.String() {
		t.Errorf("a lane asks for images at %q, want those by digest", o.images)
	}
	if o.network != (cluster.Network{}) {
		t.Errorf("a lane is told of the network of a cluster that is there: %q", args)
	}
}
