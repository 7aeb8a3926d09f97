package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
)

var _ = describe(scenario.Scenario{
	Name: "fault-free", Title: "Without a fault", Takes: 80 * time.Second, Quiet: true,
}, func(sc *scenario.Scenario) {
	var s *scenario.Run

	BeforeAll(func(ctx SpecContext) { s = begin(ctx, sc) })

	criterion(sc, "V1", "every node runs with what the verifier needs and nothing more", "0 wrong", scenario.Holds(), func(ctx SpecContext) {
		pods := ask(ctx, scenario.WaitAnswer, s.Mesh.Nodes)
		var wrong []string
		for _, p := range pods {
			found := ask(ctx, scenario.WaitAnswer, func(ctx context.Context) ([]string, error) { return inspect(ctx, p) })
			AddReportEntry(p.Name, found, ReportEntryVisibilityFailureOrVerbose)
			for _, w := range leastPrivilege {
				if !slices.Contains(found, w) {
					wrong = append(wrong, fmt.Sprintf("%s: want %s, is %s", p.Name, w, strings.Join(found, ", ")))
				}
			}
		}
		verdict.None("wrong privileges", len(wrong), 0, "privileges", wrong)
	})

	criterion(sc, "A0", "no alert fires or is pending for 60 s, and every rule could", "0", scenario.Holds(), func(ctx SpecContext) {
		silent := alert.New(s.Prom).Silent(s.Baseline)
		ask(ctx, scenario.WaitScraped, silent) // every rule has been evaluated since the mesh was well
		verdict.Consistently(ctx, scenario.WaitAnswer, silent).WithTimeout(scenario.Silence).Should(BeEmpty(), "alerts without a fault")
		active := ask(ctx, scenario.WaitAnswer, silent)
		ask(ctx, scenario.WaitAnswer, alert.New(s.Prom).Covered(s.Baseline))
		verdict.None("alerts", len(active), 0, "alerts", active)
	})
})

// leastPrivilege is what privileges must say of each node: its capabilities,
// that it cannot get more, the seccomp mode SECCOMP_MODE_FILTER (proc(5)), and
// what it does not share with the host.
var leastPrivilege = []string{
	"CapInh: " + capabilities(), "CapPrm: " + verifierNeeds, "CapEff: " + verifierNeeds, "CapBnd: " + verifierNeeds,
	"NoNewPrivs: 1", "Seccomp: 2", "Network: its own", "Root: ro",
}

var verifierNeeds = capabilities(unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON)

// capabilities writes a set as /proc/PID/status does.
func capabilities(set ...uint) string {
	var bits uint64
	for _, c := range set {
		bits |= 1 << c
	}
	return fmt.Sprintf("%016x", bits)
}

// privileges prints what the kernel says of each process of a container, a line
// per fact. It runs in the Chaos Mesh daemon, which sees the processes of its
// machine: a node's image holds nothing that could run there.
const privileges = `set -e
host=$(readlink /proc/1/ns/net) || { echo "cannot see the network namespace of the machine" >&2; exit 1; }
for f in $(grep -ls -e "$1" /proc/[0-9]*/cgroup); do
  d=${f%/cgroup}
  echo "Process: $(cat "$d/comm")"
  grep -E '^(Cap(Inh|Prm|Eff|Bnd)|NoNewPrivs|Seccomp):' "$d/status"
  net=$(readlink "$d/ns/net")
  if [ "$net" = "$host" ]; then echo "Network: the host's"; else echo "Network: its own"; fi
  while read -r _ _ _ _ at options _; do [ "$at" != / ] || root=${options%%,*}; done <"$d/mountinfo"
  echo "Root: $root"
done
`

// inspect returns what privileges says of a pod's only process.
func inspect(ctx context.Context, p corev1.Pod) ([]string, error) {
	_, id, ok := strings.Cut(p.Status.ContainerStatuses[0].ContainerID, "://")
	if !ok {
		return nil, errors.New("its container has no id: it does not run")
	}
	daemons, err := suite.env.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/component=chaos-daemon", FieldSelector: "spec.nodeName=" + p.Spec.NodeName,
	})
	if err != nil {
		return nil, err
	}
	if len(daemons.Items) == 0 {
		return nil, fmt.Errorf("no Chaos Mesh daemon on its machine %s", p.Spec.NodeName)
	}
	d := daemons.Items[0]
	var out, errOut bytes.Buffer
	err = suite.env.Client.Resources().ExecInPod(ctx, d.Namespace, d.Name, d.Spec.Containers[0].Name,
		[]string{"sh", "-c", privileges, "privileges", id}, &out, &errOut)
	if err != nil {
		return nil, fmt.Errorf("look from %s/%s: %w: %s", d.Namespace, d.Name, err, bytes.TrimSpace(errOut.Bytes()))
	}
	var found []string
	for line := range strings.Lines(out.String()) {
		found = append(found, strings.Join(strings.Fields(line), " "))
	}
	if n := strings.Count(out.String(), "Process: "); n != 1 {
		return nil, fmt.Errorf("%d processes seen from %s/%s, want 1: %s", n, d.Namespace, d.Name, strings.Join(found, ", "))
	}
	return found, nil
}
