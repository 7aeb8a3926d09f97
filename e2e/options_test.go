package e2e

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/guard"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/trial"
	"github.com/x0tta6bl4/mesh/fixtures"
)

const flagKubeconfig = "kubeconfig"

// Flags of the network of a cluster that is made here.
const flagFamily, flagMTU = "family", "mtu"

const flagImages = "images"

// options are the suite's flags and what becomes of them.
type options struct {
	kubeconfig  string
	keep        bool
	profileName string
	artifacts   string
	prefix      string
	fixtureDir  string
	checkOnly   bool
	list        bool
	judge       string
	mapek       string
	control     string
	lanes       int
	fault       string
	byHand      bool // -fault was given
	lasts       time.Duration
	abortOn     string
	verbose     bool
	network     cluster.Network
	images      string

	trial     trial.Fault
	profile   scenario.Profile
	fixtures  fs.FS
	manifests fs.FS
	published image.Published
}

func (o *options) register(f *flag.FlagSet) {
	// controller-runtime may have registered this one already, with the same
	// meaning but for its default, which check does not take over.
	if f.Lookup(flagKubeconfig) == nil {
		f.String(flagKubeconfig, "", "use the cluster of this kubeconfig; without it the suite makes one of its own")
	}
	f.BoolVar(&o.keep, "keep", false, "leave the cluster, and the namespaces of failed scenarios")
	f.StringVar(&o.profileName, "profile", "quick", "`quick` shortens the faults, full takes the design document's durations, nightly also waits for what takes minutes")
	f.StringVar(&o.artifacts, "artifacts", "", "write artefacts below this `directory` (default: artifacts in the repository)")
	f.StringVar(&o.prefix, "namespace", mesh.Documented, "begin the scenarios' namespaces with this `prefix`")
	f.BoolVar(&o.checkOnly, "check", false, "check the other flags, the fixtures and the kubeconfig, and run nothing")
	f.StringVar(&o.judge, "judge", "", "judge the finished run in this `directory` again, from its artefacts and by the bars as they are, and run nothing")
	f.Func("fault", "inject the fault of this `name`, a fixture's or a scenario's, in the mesh that is there, tell what happens, and run nothing", func(name string) error {
		o.fault, o.byHand = name, true
		return nil
	})
	f.DurationVar(&o.lasts, "for", 0, "with -fault: take it back after this time, if its fixture lasts longer")
	f.BoolVar(&o.list, "scenarios", false, "print every scenario with its criteria as JSON, after the checks, and run nothing")
	f.StringVar(&o.mapek, "mapek", "on", "`off` runs the nodes without their loop: the control, in which what healing brings about has to fail")
	f.StringVar(&o.control, "control", "", "`absent` injects no fault and judges as if it had: the control, in which what claims a reaction has to fail; it never ends with 0")
	f.IntVar(&o.lanes, "lanes", runtime.NumCPU(), "run so many scenarios at a time")
	f.StringVar(&o.abortOn, "abort-on", "", "take a scenario's fault back and end it when this PromQL `expression` returns anything ("+guard.Namespace+" is its mesh's namespace), besides when clients are not served for "+guard.Unserved.String()+" without a fault; "+guard.Off+": never")
	f.BoolVar(&o.verbose, "v", false, "print Ginkgo's own output instead of showing the run live")
	f.StringVar(&o.network.Family, flagFamily, "", "make the cluster with pods of this IP `family`: ipv4 (the default), ipv6 or dual")
	f.IntVar(&o.network.MTU, flagMTU, 0, "give the pods' interfaces in the cluster an MTU of so many `bytes`, from 1280 on; 0: the nodes'")
	f.StringVar(&o.images, flagImages, "", "with -"+flagKubeconfig+": the cluster pulls the project's images from below this `host/prefix`, to which make push has brought them")
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
	if o.control != "" && o.control != report.ControlAbsent {
		return fmt.Errorf("-control %q: %s, or nothing", o.control, report.ControlAbsent)
	}
	if o.lanes < 1 {
		return fmt.Errorf("-lanes %d: at least 1", o.lanes)
	}
	if err := o.network.Check(); err != nil {
		return err
	}
	if o.kubeconfig != "" && o.network != (cluster.Network{}) {
		return errors.New("-family and -mtu are for a cluster that is made here: leave them out with -kubeconfig")
	}
	if o.images != "" && o.kubeconfig == "" {
		return errors.New("-images is for a cluster that is there: name it with -kubeconfig (one that is made here has the images)")
	}
	if o.mapek == "off" && o.abortOn == "" { // what has to fail there must not end it
		o.abortOn = guard.Off
	}
	if o.verbose {
		if err := flag.Set("ginkgo.v", "true"); err != nil {
			return err
		}
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
	if err := o.checkFault(); err != nil {
		return err
	}
	return o.checkCluster()
}

func (o *options) checkFiles(root string) error {
	if o.kubeconfig != "" {
		o.kubeconfig = asTyped(root, o.kubeconfig)
	}
	var err error
	if o.published, err = image.Find(context.Background(), o.images); err != nil {
		return fmt.Errorf("-images: %w", err)
	}
	o.artifacts = asTyped(root, cmp.Or(o.artifacts, "artifacts"))
	o.manifests = o.published.FS(os.DirFS(filepath.Join(root, "manifests", "mesh")))
	o.fixtures = fixtures.FS
	if o.fixtureDir != "" {
		o.fixtureDir = asTyped(root, o.fixtureDir)
		if _, err := os.ReadDir(o.fixtureDir); err != nil {
			return fmt.Errorf("-fixtures: %w", err)
		}
		o.fixtures = os.DirFS(o.fixtureDir)
	}
	o.fixtures = o.published.FS(o.fixtures)
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
