package report

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2/types"
)

// secret is in every secret of the test; nothing else has it.
const secret = "S3cr3tS3cr3t"

func TestPackHasNoSecret(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "run")
	if err := os.MkdirAll(filepath.Join(dir, "latency", "pods"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := whole()
	s.Scenarios[0].Criteria[0].Observed = []Observation{{Name: "asked", Value: "Authorization: Bearer " + secret + "xyz"}}
	if err := Write(dir, s, types.Report{}); err != nil {
		t.Fatal(err)
	}
	pem := "-----BEGIN EC PRIVATE KEY-----\n" + secret + "\n" + secret + "\n-----END EC PRIVATE KEY-----"
	inJSON, err := json.Marshal(map[string]any{"key": pem, "password": secret, "passwd": `two words "` + secret + `" and ` + secret, "nested": `{"token":"` + secret + `"}`, "kept": 1})
	if err != nil {
		t.Fatal(err)
	}
	kept := []string{"secretName: mesh-ca-root", "--token-file=/var/run/secrets/mesh/token", "serviceAccountToken:\n      audience: mesh"}
	for name, text := range map[string]string{
		"latency/pods/a.yaml": strings.Join(kept, "\n") + "\n  - name: DB_PASSWORD\n    value: " + secret + " and more\n  client-key-data: " + secret + "==\n",
		"latency/pods/a.log":  pem + "\nproxy http://user:" + secret + "@proxy:3128/\nAPI_KEY=" + secret + "\nauthorization: Basic " + secret + "\n",
		"latency/a.jsonl":     string(inJSON) + "\n",
		"ginkgo2.json":        `{"token": "eyJhbGciOi.` + secret + `.` + secret + `"}`,
		"page.html":           "say eyJhbGciOiJSUzI1NiJ9.eyJ" + secret + "." + secret + " again",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{Prepared, PreparedBefore} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("built the node\npassword="+secret+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(root, "outside")
	for path, text := range map[string]string{outside: secret, filepath.Join(dir, "samples.om.gz"): secret, filepath.Join(dir, "binary"): "\xff\xfe" + secret} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Pack(&b, dir, epoch); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, &b)
	for name, text := range files {
		if strings.Contains(text, secret) {
			t.Errorf("a secret is in %s: %s", name, text)
		}
		if strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".jsonl") {
			if !json.Valid([]byte(text)) {
				t.Errorf("%s is no JSON any more: %s", name, text)
			}
		}
	}
	for _, want := range kept {
		if !strings.Contains(files["run/latency/pods/a.yaml"], want) {
			t.Errorf("%q is gone: %s", want, files["run/latency/pods/a.yaml"])
		}
	}
	for _, name := range []string{"run/summary.json", "run/junit.xml", "run/ginkgo.json", "run/latency/a.jsonl"} {
		if files[name] == "" {
			t.Errorf("%s is not in the archive", name)
		}
	}
	for _, name := range []string{Prepared, PreparedBefore} {
		if !strings.Contains(files[name], "built the node") {
			t.Errorf("%s in the archive has %q", name, files[name])
		}
	}
	for _, name := range []string{"outside", "run/link", "run/samples.om.gz", "run/binary"} {
		if _, ok := files[name]; ok {
			t.Errorf("%s is in the archive", name)
		}
	}
	if err := Pack(io.Discard, root, epoch); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is no run: %v", err)
	}
}

// TestPackOfAKilledRun packs what there is of a run that came to no summary.
func TestPackOfAKilledRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.MkdirAll(filepath.Join(dir, "latency"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Pack(io.Discard, dir, epoch); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run that came to nothing: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "latency", Output), []byte("password: "+secret+"\nlast words\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Pack(&b, dir, epoch); err != nil {
		t.Fatal(err)
	}
	if got := unpack(t, &b)["run/latency/"+Output]; !strings.Contains(got, "last words") || strings.Contains(got, secret) {
		t.Errorf("packed: %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "summary.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Pack(io.Discard, dir, epoch); err == nil {
		t.Error("half a summary is no error")
	}
}

func unpack(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}
