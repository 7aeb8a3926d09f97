package e2e

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/fixtures"
)

const (
	flagKubeconfig = "kubeconfig"

	// reachWithin is how long an existing cluster may take to answer.
	reachWithin = 10 * time.Second
)

// options are the suite's flags and what becomes of them.
type options struct {
	kubeconfig  string
	keep        bool
	profileName string
	artifacts   string
	prefix      string
	fixtureDir  string
	checkOnly   bool
	mapek       string

	profile   scenario.Profile
	fixtures  fs.FS
	manifests fs.FS
}

func (o *options) register(f *flag.FlagSet) {
	// controller-runtime may have registered this one already, with the same
	// meaning but for its default, which check does not take over.
	if f.Lookup(flagKubeconfig) == nil {
		f.String(flagKubeconfig, "", "use the cluster of this kubeconfig; without it the suite makes one of its own")
	}
	f.BoolVar(&o.keep, "keep", false, "leave the cluster, and the namespaces of failed scenarios")
	f.StringVar(&o.profileName, "profile", "quick", "`quick` shortens the faults, full takes the design document's durations")
	f.StringVar(&o.artifacts, "artifacts", "", "write artefacts below this `directory` (default: artifacts in the repository)")
	f.StringVar(&o.prefix, "namespace", mesh.Documented, "begin the scenarios' namespaces with this `prefix`")
	f.BoolVar(&o.checkOnly, "check", false, "check the other flags, the fixtures and the kubeconfig, and run nothing")
	f.StringVar(&o.mapek, "mapek", "on", "`off` runs the nodes without their loop: the control, in which what healing brings about has to fail")
	f.StringVar(&o.fixtureDir, "fixtures", "", "read the faults from this `directory` instead of the built-in ones")
}

// check finds everything that can be wrong with the flags before anything is
// built on them. Its errors are one line each.
func (o *options) check() error {
	if flag.NArg() > 0 { // and what follows it would be ignored
		return fmt.Errorf("unexpected argument %q (go test has a flag -artifacts of its own: write -args -artifacts DIR)", flag.Arg(0))
	}
	o.kubeconfig = flag.Lookup(flagKubeconfig).Value.String()
	var err error
	if o.profile, err = scenario.FindProfile(o.profileName); err != nil {
		return fmt.Errorf("-profile: %w", err)
	}
	if o.mapek != "on" && o.mapek != "off" {
		return fmt.Errorf("-mapek %q: on or off", o.mapek)
	}
	root, err := cluster.Project()
	if err != nil {
		return err
	}
	if err := o.checkFiles(root); err != nil {
		return err
	}
	if err := o.checkSpecs(); err != nil {
		return err
	}
	return o.checkCluster()
}

func (o *options) checkFiles(root string) error {
	if o.kubeconfig != "" {
		o.kubeconfig = asTyped(root, o.kubeconfig)
	}
	o.artifacts = asTyped(root, cmp.Or(o.artifacts, "artifacts"))
	o.manifests = os.DirFS(filepath.Join(root, "manifests", "mesh"))
	o.fixtures = fixtures.FS
	if o.fixtureDir != "" {
		o.fixtureDir = asTyped(root, o.fixtureDir)
		if _, err := os.ReadDir(o.fixtureDir); err != nil {
			return fmt.Errorf("-fixtures: %w", err)
		}
		o.fixtures = os.DirFS(o.fixtureDir)
	}
	notes, err := fault.Check(o.fixtures)
	for _, n := range notes {
		fmt.Fprintln(os.Stderr, "e2e: note:", n)
	}
	return err
}

// asTyped returns the file that a person means by a path: go test starts tests
// in their package's directory, and people type paths in the project's.
func asTyped(root, path string) string {
	if _, err := os.Stat(path); err == nil || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(root, path)
}

// checkSpecs notes which specs the filters select; there must be some, and
// their fixtures must be there.
func (o *options) checkSpecs() error {
	config, _ := GinkgoConfiguration()
	if config.LabelFilter == "" {
		// What takes too long for every run has to be asked for.
		if err := flag.Set("ginkgo.label-filter", "!"+scenario.Nightly); err != nil {
			return err
		}
		config, _ = GinkgoConfiguration()
	}
	if _, err := types.ParseLabelFilter(config.LabelFilter); err != nil {
		return fmt.Errorf("-ginkgo.label-filter %q: is no label filter", config.LabelFilter)
	}
	var labels []string
	for _, s := range PreviewSpecs(suiteName).SpecReports {
		if !s.LeafNodeType.Is(types.NodeTypeIt) {
			continue
		}
		labels = append(labels, s.Labels()...)
		if !s.State.Is(types.SpecStateSkipped) {
			suite.selected = append(suite.selected, s)
		}
	}
	if len(suite.selected) == 0 {
		slices.Sort(labels)
		return fmt.Errorf("no spec is selected (-ginkgo.label-filter %q): labels are %s",
			config.LabelFilter, strings.Join(slices.Compact(labels), ", "))
	}
	if err := scenario.Check(scenarios); err != nil {
		return err
	}
	if err := registered(suite.selected); err != nil {
		return err
	}
	for _, s := range scenarios {
		for _, name := range s.Fixtures {
			if _, err := fault.Load(o.fixtures, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// registered checks that every spec is a criterion of a scenario: what is not in the
// registry would be judged by nobody.
func registered(specs []types.SpecReport) error {
	for _, s := range specs {
		i := slices.IndexFunc(scenarios, func(sc *scenario.Scenario) bool { return sc.Name == report.ScenarioOf(s) })
		if i < 0 || !slices.ContainsFunc(scenarios[i].Criteria, func(c scenario.Criterion) bool { return c.ID == report.ID(s) }) {
			return fmt.Errorf("%s:%d: spec %q is no criterion of a scenario: write it with criterion in a describe",
				s.LeafNodeLocation.FileName, s.LeafNodeLocation.LineNumber, s.FullText())
		}
	}
	return nil
}

// checkCluster sees whether an existing cluster answers.
func (o *options) checkCluster() error {
	if o.kubeconfig == "" {
		if config, _ := GinkgoConfiguration(); config.ParallelTotal > 1 {
			return errors.New("several processes need a cluster to share: make one with `make cluster-up` and give -kubeconfig")
		}
		return nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("-kubeconfig %s: %w", o.kubeconfig, err)
	}
	config.Timeout = reachWithin
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("-kubeconfig %s: %w", o.kubeconfig, err)
	}
	if _, err := d.ServerVersion(); err != nil {
		return fmt.Errorf("-kubeconfig %s: %s does not answer: %w", o.kubeconfig, config.Host, err)
	}
	return nil
}
