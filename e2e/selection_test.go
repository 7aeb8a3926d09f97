package e2e

import (
	"flag"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

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
	specs := previewed()
	for _, s := range specs {
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
	if err := registered(specs); err != nil {
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

// previewed returns every spec that Ginkgo knows; those that the filters leave out are
// skipped in it. To see them builds their tree, and so the registry's criteria.
func previewed() []types.SpecReport {
	specs := PreviewSpecs(suiteName).SpecReports
	return slices.DeleteFunc(specs, func(s types.SpecReport) bool { return !s.LeafNodeType.Is(types.NodeTypeIt) })
}

// registered checks that every spec is a criterion of a scenario, and each a criterion of
// its own: what is not in the registry would be judged by nobody.
func registered(specs []types.SpecReport) error {
	taken := map[[2]string]bool{}
	for _, s := range specs {
		name, id := report.ScenarioOf(s), report.ID(s)
		i := slices.IndexFunc(scenarios, func(sc *scenario.Scenario) bool { return sc.Name == name })
		if i < 0 || taken[[2]string{name, id}] || !slices.ContainsFunc(scenarios[i].Criteria, func(c scenario.Criterion) bool { return c.ID == id }) {
			return fmt.Errorf("%s:%d: spec %q is no criterion of a scenario: write it with criterion in a describe",
				s.LeafNodeLocation.FileName, s.LeafNodeLocation.LineNumber, s.FullText())
		}
		taken[[2]string{name, id}] = true
	}
	return nil
}
