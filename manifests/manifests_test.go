package manifests

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// TestObjectsAreKnown decodes every object as an API server that is strict does: a kind or a
// field that there is not is an error.
func TestObjectsAreKnown(t *testing.T) {
	known := known(t)
	for _, files := range []fs.FS{System, Mesh} {
		names, err := fs.Glob(files, "*/*.yaml")
		if err != nil || len(names) == 0 {
			t.Fatalf("no manifests: %v", err)
		}
		for _, name := range names {
			b, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			for i, doc := range bytes.Split(b, []byte("\n---\n")) {
				if len(bytes.Split(bytes.TrimSpace(doc), []byte("\n"))) == 1 && doc[0] == '#' {
					continue // a file's first line, who wrote it
				}
				if err := known(doc); err != nil {
					t.Errorf("%s, object %d: %v", name, i+1, err)
				}
			}
		}
	}
}

func TestUnknownFieldsAreSeen(t *testing.T) {
	known := known(t)
	for doc, ok := range map[string]bool{
		"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 1}]}": true,
		"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {prots: [{port: 1}]}": false,
		"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nmetadata: {name: y}":        false,
		"apiVersion: v1\nkind: Servant\nmetadata: {name: x}":                             false,
		"apiVersion: v2\nkind: Service\nmetadata: {name: x}":                             false,
	} {
		if err := known([]byte(doc)); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", doc, err, ok)
		}
	}
}

// known returns what decodes an object by the schemas of the client library, which are
// those of the API.
func known(t *testing.T) func(doc []byte) error {
	t.Helper()
	all := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensions.AddToScheme} {
		if err := add(all); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(all, serializer.EnableStrict).UniversalDeserializer()
	return func(doc []byte) error {
		var head unstructured.Unstructured
		if err := yaml.UnmarshalStrict(doc, &head.Object); err != nil {
			return err
		}
		if strings.HasPrefix(head.GetAPIVersion(), "apiregistration.k8s.io/") {
			return nil // its types are the aggregator's, which nothing else here needs
		}
		_, _, err := decoder.Decode(doc, nil, nil)
		return err
	}
}
