// Command render writes Chaos Mesh's manifests from the pinned modules: its own chart,
// and the CRDs that match the API module. Run it with go generate in the directory above.
//
// The chart of the pinned version lags behind its API: its CRDs prune fields that
// the webhooks set, after which the controller refuses every status update. Hence the CRDs are generated from
// the API's types.
//
// Keys and certificates that the chart makes up at render time are removed: the suite
// makes its own when it deploys.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	_ "github.com/chaos-mesh/chaos-mesh/api/v1alpha1" // the types of the CRDs
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

const chartModule = "github.com/chaos-mesh/chaos-mesh"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func run() error {
	// the version that the images are built from
	chart, err := output("go", "-C", "../../images", "list", "-m", "-f", "{{.Dir}}", chartModule)
	if err != nil {
		return err
	}
	rendered, err := output("go", "tool", "helm", "template", "chaos-mesh", filepath.Join(strings.TrimSpace(chart), "helm/chaos-mesh"),
		"--namespace", "chaos-mesh", "--no-hooks", "--kube-version", "1.34.3", "--values", "values.yaml")
	if err != nil {
		return err
	}
	clean, err := filter(rendered)
	if err != nil {
		return err
	}
	if err := os.WriteFile("../chaos-mesh.yaml", clean, 0o644); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "crds")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := output("go", "tool", "controller-gen", "crd:maxDescLen=0", "paths=github.com/chaos-mesh/chaos-mesh/api/v1alpha1", "output:dir="+dir); err != nil {
		return err
	}
	crds, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	sort.Strings(crds)
	var all bytes.Buffer
	all.WriteString(header)
	for _, c := range crds {
		b, err := os.ReadFile(c)
		if err != nil {
			return err
		}
		all.Write(b)
	}
	return os.WriteFile("../crds.yaml", all.Bytes(), 0o644)
}

const header = "# Written by manifests/chaos-mesh/render; do not edit.\n"

// filter drops what is not deployed and every value that must not be committed.
func filter(rendered string) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(header)
	for docs := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(rendered))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		var object map[string]any
		if err := sigsyaml.Unmarshal(doc, &object); err != nil {
			return nil, err
		}
		metadata, _ := object["metadata"].(map[string]any)
		name, _ := metadata["name"].(string)
		if len(object) == 0 || strings.Contains(name, "dashboard") {
			continue
		}
		delete(object, "data")
		strip(object)
		b, err := sigsyaml.Marshal(object)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "---\n%s", b)
	}
}

// strip removes certificate bundles and the chart's random restart marker.
func strip(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "caBundle")
		delete(v, "rollme")
		for _, child := range v {
			strip(child)
		}
	case []any:
		for _, child := range v {
			strip(child)
		}
	}
}

func output(command string, args ...string) (string, error) {
	cmd := exec.Command(command, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", command, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}
