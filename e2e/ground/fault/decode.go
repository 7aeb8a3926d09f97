package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// FixtureError tells what is wrong with a fixture and where.
type FixtureError struct {
	File   string
	Line   int    // 0 where unknown
	Field  string // empty where unknown
	Reason string
}

func (e *FixtureError) Error() string {
	s := e.File
	if e.Line > 0 {
		s += ":" + strconv.Itoa(e.Line)
	}
	if e.Field != "" {
		s += ": " + e.Field
	}
	return s + ": " + e.Reason
}

// Load decodes the fixture of that name. A missing one is a *FixtureError that
// lists what there is.
func Load(fsys fs.FS, name string) (Object, error) {
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		names, globErr := fs.Glob(fsys, "*.yaml")
		if globErr != nil {
			return nil, globErr
		}
		return nil, &FixtureError{File: name, Reason: "unknown fixture, there are: " + strings.Join(names, ", ")}
	}
	if err != nil {
		return nil, &FixtureError{File: name, Reason: err.Error()}
	}
	return Decode(name, data)
}

// Check decodes every fixture, so that a broken one is found before anything
// is built on it.
func Check(fsys fs.FS) error {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		_, err := Load(fsys, path.Clean(name))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Decode decodes one object from YAML as strictly as
// `kubectl apply --validate=strict` would: unknown and duplicate fields, wrong
// types and values that the server would refuse are errors of type
// *FixtureError.
func Decode(file string, data []byte) (Object, error) {
	root, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	fail := func(field, format string, args ...any) error {
		return &FixtureError{File: file, Line: lineOf(root, field), Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, &FixtureError{File: file, Reason: err.Error()}
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(asJSON, &head); err != nil {
		return nil, fail("", "is not a Kubernetes object: %v", err)
	}
	object, api, ok := newObject(head.Kind)
	if !ok {
		return nil, fail("kind", "%q is not a kind that can be injected here (%s)", head.Kind, strings.Join(kinds(), ", "))
	}
	if head.APIVersion != api {
		return nil, fail("apiVersion", "is %q, must be %s", head.APIVersion, api)
	}
	strict, err := strictjson.UnmarshalStrict(asJSON, object)
	if err != nil {
		var typeErr *json.UnmarshalTypeError
		if errors.As(err, &typeErr) {
			return nil, fail(typeErr.Field, "is a %s, must be a %s", typeErr.Value, typeErr.Type)
		}
		field, reason := splitJSONError(err.Error())
		return nil, fail(field, "%s", reason)
	}
	var errs []error
	for _, err := range strict {
		field, reason := splitJSONError(err.Error())
		errs = append(errs, fail(field, "%s", reason))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if err := validate(object, asJSON, fail); err != nil {
		return nil, err
	}
	object.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(head.APIVersion, head.Kind))
	return object, nil
}
