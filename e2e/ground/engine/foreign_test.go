package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeDocker puts a docker command in PATH that answers the client's questions as the given one would, and
// says so where a question is not for it.
func fakeDocker(t *testing.T, cases string) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\ncase \"$*\" in\n" + cases + "\n*) echo \"not expected: $*\" >&2; exit 1;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("DOCKER_HOST", "")
}

func TestEnginesThatCannotServeAreRefused(t *testing.T) {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		host, client, components, info string
		want                           string // part of the refusal; empty: it serves
	}{
		"Docker":            {info: `"SecurityOptions":["name=seccomp,profile=default","name=cgroupns"],"DriverStatus":[["Backing Filesystem","extfs"]]`},
		"rootless":          {info: `"SecurityOptions":["name=seccomp,profile=default","name=rootless"]`, want: "rootless"},
		"remapped users":    {info: `"SecurityOptions":["name=userns"]`, want: "userns-remap"},
		"containerd images": {info: `"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]`, want: "containerd-snapshotter"},
		"podman's service":  {components: `{"Name":"Podman Engine"}`, want: "podman"},
		"podman's command":  {client: "podman version 4.3.1", want: "podman"},
		"by TCP":            {host: "tcp://192.0.2.1:2376", want: "remote (tcp://192.0.2.1:2376)"},
		"by SSH":            {host: "ssh://build@192.0.2.1", want: "remote"},
		"another machine's": {info: `"KernelVersion":"6.6.0-linuxkit"`, want: "6.6.0-linuxkit"},
		"no information":    {info: `"SecurityOptions":`, want: "does not say"},
	} {
		t.Run(name, func(t *testing.T) {
			ownDirs(t)
			client, host, info := tc.client, tc.host, tc.info
			if client == "" {
				client = "Docker version 28.2.2"
			}
			if host == "" {
				host = "unix:///run/user/1000/docker.sock"
			}
			if !strings.Contains(info, "KernelVersion") {
				info = strings.TrimSuffix(`"KernelVersion":"`+strings.TrimSpace(string(kernel))+`",`+info, ",")
			}
			fakeDocker(t, `--version) echo '`+client+`';;
context\ inspect*) echo '`+host+`';;
version*Components*) echo '{"Components": [`+tc.components+`]}';;
version*) echo 28.2.2;;
info*) echo '{`+info+`}';;`)
			e, err := Find(t.Context())
			if tc.want == "" {
				if err != nil || e.Host != host {
					t.Errorf("%+v, %v, want an engine at %s", e, err, host)
				}
				return
			}
			if !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want ErrUnfit with %q in one line", err, tc.want)
			}
			if _, err := Ensure(t.Context(), "../../.."); !errors.Is(err, ErrUnfit) {
				t.Errorf("Ensure: %v, want ErrUnfit: it must not start another beside it unasked", err)
			}
		})
	}
}

func TestEnvHoldsNothingPersonal(t *testing.T) {
	for _, v := range []string{"http_proxy", "HTTPS_PROXY", "NO_PROXY", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_HOST", "DOCKER_CONFIG", "KIND_EXPERIMENTAL_PROVIDER"} {
		t.Setenv(v, "person")
	}
	t.Setenv("ENGINE_TEST_OTHER", "kept")
	e := &Engine{Host: "unix:///engine.sock"}
	env := strings.Join(e.Env(), "\n")
	if strings.Contains(env, "person") || !strings.Contains(env, "DOCKER_HOST=unix:///engine.sock") || !strings.Contains(env, "ENGINE_TEST_OTHER=kept") {
		t.Errorf("environment\n%s", env)
	}
	restore, err := e.Setenv()
	if err != nil {
		t.Fatal(err)
	}
	if _, there := os.LookupEnv("HTTPS_PROXY"); there || os.Getenv("DOCKER_HOST") != e.Host {
		t.Error("Setenv left a person's variables")
	}
	restore()
	if os.Getenv("HTTPS_PROXY") != "person" || os.Getenv("DOCKER_HOST") != "person" {
		t.Error("they are not put back")
	}
}
