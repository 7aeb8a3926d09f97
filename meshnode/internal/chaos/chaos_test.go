package chaos

import (
	"bytes"
	"context"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/fixtures"
)

func TestExitCodesAndHelp(t *testing.T) {
	injectArgs := func(extra ...string) []string {
		return append([]string{"inject", "--name=a", "--peers=c=10.0.0.1:26970", "--ca=https://x", "--token-file=x", "--trust-dir=x"}, extra...)
	}
	forgeArgs := func(extra ...string) []string {
		return append([]string{"forge", "--peers=c=127.0.0.1:26970"}, extra...)
	}
	for _, c := range []struct {
		args []string
		code int
		want string // in the output or on the error line
	}{
		{nil, 2, "usage: meshchaos COMMAND"},
		{[]string{"--help"}, 0, "meshchaos COMMAND --help"},
		{[]string{"dance"}, 2, `unknown command "dance"`},
		{[]string{"run"}, 2, `unknown command "run"`},
		{[]string{"corrupt", "--help"}, 0, "example:\n  meshchaos corrupt"},
		{[]string{"inject", "--help"}, 0, "example:\n  meshchaos inject"},
		{[]string{"forge", "--help"}, 0, "example:\n  meshchaos forge"},
		{[]string{"replay", "--help"}, 0, "example:\n  meshchaos replay"},
		{[]string{"corrupt", "--rate=0"}, 2, "--rate"},
		{[]string{"corrupt", "--rate=2"}, 2, "--rate"},
		{[]string{"corrupt", "--duration=0s"}, 2, "--duration"},
		{[]string{"corrupt", "--mode=xdp"}, 2, "--mode"},
		{[]string{"corrupt", "--peers=10.0.0.1,"}, 2, "empty name"},
		{[]string{"corrupt", "--interface=nosuch0"}, 1, "nosuch0"},
		{[]string{"inject"}, 2, "--peers, --ca"},
		{injectArgs("--kinds=dances"), 2, "none of signatures, keys"},
		{injectArgs("--interval=1ms"), 2, "--interval"},
		{injectArgs("--targets=b"), 1, "only [] are peers"},
		{injectArgs("--peers=a=nowhere"), 2, "is not NAME=IP:PORT"},
		{injectArgs(), 1, "enrolment of a"},
		{[]string{"forge"}, 2, "--peers must be set"},
		{forgeArgs("--kinds=dances"), 2, `"dances" is none of [signatures control data handshakes]`},
		{forgeArgs("--sessions=12"), 2, "32 hexadecimal digits"},
		{forgeArgs("--sessions=" + strings.Repeat("x", 32)), 2, "32 hexadecimal digits"},
		{forgeArgs("--interval=0s"), 2, "--interval"},
		{forgeArgs("--targets=b"), 1, "only [] are peers"},
		{[]string{"replay", "--capture=0s"}, 2, "--capture"},
		{[]string{"replay", "--after=20s", "--duration=20s"}, 2, "--duration"},
		{[]string{"replay", "--peers=10.0.0.1,"}, 2, "empty name"},
		{[]string{"replay", "--interface=nosuch0"}, 1, "nosuch0"},
	} {
		var out, errOut bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // whatever gets as far as running stops at once
		code := Binary().Run(ctx, c.args, &out, &errOut)
		if code != c.code || !strings.Contains(out.String()+errOut.String(), c.want) {
			t.Errorf("%q: exit %d, want %d with %q:\n%s%s", c.args, code, c.code, c.want, out.String(), errOut.String())
		}
		if code != 0 && c.args != nil && strings.Count(errOut.String(), "\n") > 1 {
			t.Errorf("%q: more than one line:\n%s", c.args, errOut.String())
		}
	}
}

// TestFixturesFitTheBinary: every argument of the fixtures is one that the command
// takes.
func TestFixturesFitTheBinary(t *testing.T) {
	container := func(b []byte) (string, []string, error) {
		var p corev1.Pod
		err := yaml.UnmarshalStrict(b, &p)
		c := p.Spec.EphemeralContainers[0]
		return c.Image, c.Args, err
	}
	job := func(b []byte) (string, []string, error) {
		var j batchv1.Job
		err := yaml.UnmarshalStrict(b, &j)
		c := j.Spec.Template.Spec.Containers[0]
		return c.Image, c.Args, err
	}
	for file, read := range map[string]func([]byte) (string, []string, error){
		"pqc-corrupt.yaml": container, "pqc-inject.yaml": job, "pqc-forge.yaml": job, "pqc-replay.yaml": container,
	} {
		b, err := fixtures.FS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		image, args, err := read(b)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		// --help comes last: what precedes it is parsed first.
		var out bytes.Buffer
		if code := Binary().Run(t.Context(), append(args, "--help"), &out, &out); code != 0 || !strings.Contains(out.String(), "example:") {
			t.Errorf("%s: %v: exit %d\n%s", file, args, code, out.String())
		}
		if image != "x0tta6bl4/meshchaos:dev" {
			t.Errorf("%s: image %s", file, image)
		}
	}
}
