package fault

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"github.com/dustin/go-humanize"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/manifests"
)

// provableStress wants one pod's CPU used up, and some of its memory.
func provableStress(s *v1alpha1.StressChaosSpec, at string, fail failure) error {
	if err := one(s.PodSelector, at, fail); err != nil {
		return err
	}
	if err := inCluster(s.RemoteCluster, at, fail); err != nil {
		return err
	}
	if err := lasting(s.Duration, ShortestStress, at+".duration", fail); err != nil {
		return err
	}
	if s.StressngStressors != "" {
		return fail(at+".stressngStressors", "cannot be foreseen: use stressors")
	}
	at += ".stressors"
	cpu, memory := s.Stressors.CPUStressor, s.Stressors.MemoryStressor
	if cpu == nil {
		return fail(at+".cpu", "is missing: nothing would be exhausted")
	}
	if memory == nil {
		return fail(at+".memory", "is missing: the criteria are about both")
	}
	load := 100 // stress-ng's default
	if cpu.Load != nil {
		load = *cpu.Load
	}
	limits, err := nodeLimits()
	switch {
	case err != nil:
		return err
	case cpu.Workers < 1:
		return fail(at+".cpu.workers", "is %d, must be at least 1", cpu.Workers)
	case int64(cpu.Workers)*int64(load)*10 < limits.milliCPU:
		return fail(at+".cpu.load", "%d workers at %d %% leave some of the container's limit of %dm: nothing is exhausted", cpu.Workers, load, limits.milliCPU)
	case len(cpu.Options) > 0:
		return fail(at+".cpu.options", "cannot be foreseen: take them away")
	case memory.Workers < 1:
		return fail(at+".memory.workers", "is %d, must be at least 1", memory.Workers)
	case len(memory.Options) > 0:
		return fail(at+".memory.options", "cannot be foreseen: take them away")
	case memory.OOMScoreAdj != 0:
		return fail(at+".memory.oomScoreAdj", "changes who is killed when memory is short: take it away")
	}
	return fits(memory.Size, limits.free, at+".memory.size", fail)
}

// fits refuses a size that the injector cannot read, or that would have the node's
// container killed.
func fits(size string, free uint64, path string, fail failure) error {
	if size == "" || strings.HasSuffix(size, "%") {
		return fail(path, "%q: how much that is depends on the machine, name an amount like 512MB", size)
	}
	bytes, err := stressSize(size)
	if err != nil || bytes == 0 {
		return fail(path, "%q is no amount of memory, like 512MB", size)
	}
	if bytes > free {
		return fail(path, "%s is more than the %s that the container's limit leaves beside the node: it would be killed", size, humanize.Bytes(free))
	}
	return nil
}

// stressSize returns the bytes that a stressor of memory keeps, as the injector that Chaos Mesh
// releases reads them (memStress v0.3.1): MB and M are decimal, MiB is binary. Chaos Mesh's
// webhook only looks whether it can read them, and takes MiB as decimal.
func stressSize(size string) (uint64, error) { return humanize.ParseBytes(size) }

// plain takes the blanks out of the size of a memory stressor: the daemon splits the injector's
// command line at them, and the released injector would keep the bare number of bytes.
func plain(o Object) {
	s, ok := o.(*v1alpha1.StressChaos)
	if schedule, scheduled := o.(*v1alpha1.Schedule); scheduled && schedule.Spec.StressChaos != nil {
		s, ok = &v1alpha1.StressChaos{Spec: *schedule.Spec.StressChaos}, true
	}
	if ok && s.Spec.Stressors != nil && s.Spec.Stressors.MemoryStressor != nil {
		m := s.Spec.Stressors.MemoryStressor
		m.Size = strings.Join(strings.Fields(m.Size), "")
	}
}

// room is what a node's container has.
type room struct {
	milliCPU int64
	free     uint64 // bytes of memory that the node itself leaves free
}

// nodeLimits reads a node's limits from what is deployed. The node's own memory is what its
// runtime keeps itself to.
var nodeLimits = sync.OnceValues(func() (room, error) {
	const file = "mesh/40-nodes-a.yaml"
	b, err := fs.ReadFile(manifests.Mesh, file)
	if err != nil {
		return room{}, err
	}
	var set struct {
		Spec struct{ Template corev1.PodTemplateSpec }
	}
	if err := yaml.Unmarshal(b, &set); err != nil {
		return room{}, fmt.Errorf("%s: %w", file, err)
	}
	c := set.Spec.Template.Spec.Containers[0]
	memory := c.Resources.Limits.Memory().Value()
	for _, e := range c.Env {
		if e.Name != "GOMEMLIMIT" {
			continue
		}
		own, err := resource.ParseQuantity(strings.TrimSuffix(e.Value, "B")) // Go writes MiB what Kubernetes writes Mi
		if err != nil {
			return room{}, fmt.Errorf("%s: GOMEMLIMIT: %w", file, err)
		}
		memory -= own.Value()
	}
	return room{milliCPU: c.Resources.Limits.Cpu().MilliValue(), free: uint64(max(memory, 0))}, nil
})
